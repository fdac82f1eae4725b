"""What the protocol leans on in the database is there after all migrations; each piece that is dropped, weakened or
switched off is named. Constraints are compared by what they refuse, on both engines.
"""

from __future__ import annotations

import re
import subprocess

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import CheckConstraint, UniqueConstraint

from dashboard.audit import constraints
from dashboard.audit import guards as of_the_ledger
from dashboard.audit.constraints import Check, Constraint, Unique
from dashboard.audit.triggers import Guard
from dashboard.failovers import guards as of_failovers
from dashboard.failovers.constraints import CONSTRAINTS as OF_FAILOVERS
from tests.postgres import find_programs

pytestmark = pytest.mark.django_db

CONSTRAINTS = [*of_the_ledger.CONSTRAINTS, *OF_FAILOVERS]
TRIGGERS = [*of_the_ledger.GUARDS, *of_failovers.GUARDS]
KEYS = {"id", "seq", "number"}  # as single columns, these are primary keys; SQLite cannot lose one


def missing() -> list[str]:
    return [*of_the_ledger.missing(connection), *of_failovers.missing(connection)]


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)


def test_after_all_migrations_nothing_is_missing() -> None:
    assert missing() == []


def test_every_constraint_of_these_rooms_is_in_the_list() -> None:
    """Else one that a later model brings would be leaned on and never looked for."""
    listed = {each.name for each in CONSTRAINTS} | {
        (each.table, each.columns) for each in CONSTRAINTS if isinstance(each, Unique)
    }
    for room in ("audit", "failovers"):
        for model in apps.get_app_config(room).get_models():
            for each in model._meta.constraints:
                if isinstance(each, CheckConstraint | UniqueConstraint):
                    assert each.name in listed, f"{model.__name__}.{each.name}"
            for field in model._meta.local_concrete_fields:
                if field.unique and not field.primary_key:
                    assert (model._meta.db_table, (field.column,)) in listed, f"{model.__name__}.{field.name}"


@pytest.mark.parametrize("guard", TRIGGERS, ids=lambda guard: guard.name)
def test_a_trigger_that_is_dropped_is_named(guard: Guard) -> None:
    if connection.vendor == "sqlite" and guard.event == "TRUNCATE":
        pytest.skip("SQLite has no such event")
    run(f"DROP TRIGGER {guard.name}" + (f" ON {guard.table}" if connection.vendor == "postgresql" else ""))
    assert missing() == [guard.name]


@pytest.mark.postgres
@pytest.mark.parametrize("state", ["DISABLE", "ENABLE", "ENABLE REPLICA"])
def test_a_trigger_that_does_not_fire_always_is_named(state: str) -> None:
    run(f"ALTER TABLE failovers_failover {state} TRIGGER failovers_failover_moves_along")
    assert missing() == ["failovers_failover_moves_along"]


# ── Each one dropped ─────────────────────────────────────────────────────────


def _of(kind: type[Constraint]) -> list[Constraint]:
    return [each for each in CONSTRAINTS if isinstance(each, kind)]


@pytest.mark.parametrize("constraint", _of(Check), ids=lambda each: each.name)
def test_a_check_that_is_dropped_is_named(constraint: Check) -> None:
    if connection.vendor == "postgresql":
        run(f"ALTER TABLE {constraint.table} DROP CONSTRAINT {constraint.name}")
    else:
        rewritten(constraint.table, f'CONSTRAINT "{constraint.name}"', f'CONSTRAINT "was_{constraint.name}"')
    assert missing() == [constraint.name]


@pytest.mark.parametrize("constraint", _of(Unique), ids=lambda each: each.name)
def test_a_unique_index_that_is_dropped_is_named(constraint: Unique) -> None:
    if connection.vendor == "postgresql":
        run(*_without(constraint))
    elif constraint.where:
        run(f"DROP INDEX {constraint.name}")
    elif len(constraint.columns) == 1 and constraint.columns[0] in KEYS:
        pytest.skip("the table itself is this index")
    elif len(constraint.columns) == 1:
        rewritten(constraint.table, rf'("{constraint.columns[0]}" [^,]*?) UNIQUE', r"\1")
    else:
        columns = ", ".join(f'"{each}"' for each in constraint.columns)
        rewritten(constraint.table, rf', CONSTRAINT "\w+" UNIQUE \({columns}\)', "")
    assert missing() == [constraint.name]


def _without(constraint: Unique) -> list[str]:
    """PostgreSQL: dropping the index, whatever carries it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, o.conname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype IN ('p', 'u')"
            " WHERE i.indrelid = %s::regclass AND i.indisunique AND (SELECT array_agg(a.attname::text ORDER BY k.n)"
            " FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (att, n)"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att) = %s",
            [constraint.table, list(constraint.columns)],
        )
        [(index, carried_by)] = cursor.fetchall()
    if carried_by:
        return [f"ALTER TABLE {constraint.table} DROP CONSTRAINT {carried_by} CASCADE"]
    return [f"DROP INDEX {index}"]


def rewritten(table: str, pattern: str, by: str) -> None:
    """SQLite: the table as somebody would make it anew, with one thing changed. Empty, which is enough here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [table])
        (made,) = cursor.fetchone()
        cursor.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = %s AND type <> 'table' AND sql NOT NULL", [table]
        )
        beside = [sql for (sql,) in cursor.fetchall()]
    changed, count = re.subn(pattern, by, made)
    assert count == 1, made
    run("PRAGMA defer_foreign_keys = ON", f"DROP TABLE {table}", changed, *beside)


# ── Each one with another meaning ────────────────────────────────────────────


@pytest.mark.parametrize(
    "where",
    [
        "",
        "state IN ('requested', 'approved', 'sent')",
        "state IN ('requested', 'approved', 'sent', 'reverting') AND relationship_id < 0",
    ],
)
def test_an_index_of_the_right_name_and_another_condition_is_named(where: str) -> None:
    run(
        "DROP INDEX one_open_failover_per_relationship",
        "CREATE UNIQUE INDEX one_open_failover_per_relationship ON failovers_failover (relationship_id)"
        + (f" WHERE {where}" if where else ""),
    )
    assert missing() == ["one_open_failover_per_relationship"]


@pytest.mark.parametrize("kind", ["INDEX", "UNIQUE INDEX"])
def test_an_index_of_the_right_name_that_refuses_nothing_is_named(kind: str) -> None:
    columns = "relationship_id" if kind == "INDEX" else "relationship_id, request_id"
    run(
        "DROP INDEX one_open_failover_per_relationship",
        f"CREATE {kind} one_open_failover_per_relationship ON failovers_failover ({columns})"
        " WHERE state IN ('requested', 'approved', 'sent', 'reverting')",
    )
    assert missing() == ["one_open_failover_per_relationship"]


def test_a_check_of_the_right_name_that_says_something_else_is_named() -> None:
    if connection.vendor == "postgresql":
        run(
            "ALTER TABLE failovers_decision DROP CONSTRAINT nobody_approves_their_own",
            "ALTER TABLE failovers_decision ADD CONSTRAINT nobody_approves_their_own CHECK (person_id = person_id)",
        )
    else:
        rewritten("failovers_decision", r'NOT \("person_id" = \("requester_id"\)\)', '"person_id" = "person_id"')
    assert missing() == ["nobody_approves_their_own"]


@pytest.mark.postgres
def test_a_check_that_old_rows_need_not_fulfil_is_named() -> None:
    run(
        "ALTER TABLE failovers_decision DROP CONSTRAINT nobody_approves_their_own",
        "ALTER TABLE failovers_decision ADD CONSTRAINT nobody_approves_their_own"
        " CHECK (NOT (person_id = requester_id)) NOT VALID",
    )
    assert missing() == ["nobody_approves_their_own"]


@pytest.mark.postgres
def test_an_index_that_is_not_valid_is_named() -> None:
    """As CREATE UNIQUE INDEX CONCURRENTLY leaves it behind when it fails."""
    run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_open_failover_per_relationship'::regclass")
    assert missing() == ["one_open_failover_per_relationship"]


@pytest.mark.postgres
def test_one_that_is_kept_only_at_the_end_of_a_transaction_is_named() -> None:
    run(
        "ALTER TABLE failovers_decision DROP CONSTRAINT one_person_one_vote",
        "ALTER TABLE failovers_decision ADD CONSTRAINT one_person_one_vote UNIQUE (request_id, person_id)"
        " DEFERRABLE INITIALLY DEFERRED",
    )
    assert missing() == ["one_person_one_vote"]


# ── How engines spell ────────────────────────────────────────────────────────


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_dump_that_was_restored_spells_conditions_in_another_way_and_nothing_is_missing(tmp_path: object) -> None:
    settings = connection.settings_dict
    to = ["-h", str(settings["HOST"]), "-U", str(settings["USER"])]
    programs = find_programs()

    def do(program: str, *arguments: str, text: str | None = None) -> str:
        command = [str(programs / program), *to, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout

    dumped = do("pg_dump", "-d", str(settings["NAME"]))
    run("CREATE DATABASE restored")
    try:
        do("psql", "-d", "restored", "-q", "-v", "ON_ERROR_STOP=1", text=dumped)
        other = connection.copy("restored")
        other.settings_dict["NAME"] = "restored"
        try:
            assert [*of_the_ledger.missing(other), *of_failovers.missing(other)] == []
        finally:
            other.close()
    finally:
        run("DROP DATABASE restored WITH (FORCE)")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a IN ('x', 'y')", "((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[]))"),
        (
            "a IN ('x', 'y')",
            "((a)::text = ANY (ARRAY[('x'::character varying)::text, ('y'::character varying)::text]))",
        ),
        ("NOT a AND b >= 1", '((NOT "a") AND (b >= 1))'),
        ("a OR b AND c", "a OR (b AND c)"),
        ("a IS NOT NULL", '("a" IS NOT NULL)'),
    ],
)
def test_the_same_in_another_spelling_is_the_same(one: str, other: str) -> None:
    assert constraints._tree(one) == constraints._tree(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(a OR b) AND c", "a OR b AND c"),
        ("a IN ('x', 'y')", "a IN ('x')"),
        ("a = 'x'", "a = x"),
        ("NOT a = b", "a = b"),
        ("a >= 1", "a > 1"),
        ("a IS NULL", "a IS NOT NULL"),
        ("a = 1", "a = 1 OR random() < 2"),
    ],
)
def test_what_means_something_else_is_something_else(one: str, other: str) -> None:
    assert constraints._tree(one) != constraints._tree(other)
