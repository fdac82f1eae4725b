"""What the database refuses, tried with raw SQL by its owner, who on PostgreSQL here is a superuser."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.audit import chain, guards
from dashboard.audit.models import Entry
from dashboard.audit.triggers import Guard
from dashboard.audit.verifier import GENESIS
from tests.audit.ledger import COLUMNS, run, write

pytestmark = pytest.mark.django_db

sqlite_only = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's own statement")

VALUES = "VALUES (%s, '{}', %s, %s, CURRENT_TIMESTAMP, 't', 'a', 'o')"
INSERT = f"INSERT INTO audit_entry {COLUMNS} {VALUES}"


@pytest.fixture
def entries() -> list[Entry]:
    return write(3)


@pytest.fixture(autouse=True)
def _nothing_changed(entries: list[Entry]):
    before = list(Entry.objects.values_list())
    yield
    assert list(Entry.objects.values_list()) == before
    assert chain.verify().ok


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET payload = 'x'",
        "UPDATE audit_entry SET tag = 'x' WHERE seq = 3",
        "UPDATE audit_entry SET seq = 9 WHERE seq = 3",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_entry WHERE seq = 3",
        pytest.param("UPDATE OR REPLACE audit_entry SET seq = 1 WHERE seq = 3", marks=sqlite_only),
        pytest.param("TRUNCATE audit_entry", marks=pytest.mark.postgres),
        pytest.param("TRUNCATE audit_entry CASCADE", marks=pytest.mark.postgres),
        pytest.param(
            "SET LOCAL session_replication_role = replica; DELETE FROM audit_entry", marks=pytest.mark.postgres
        ),
        pytest.param("SET LOCAL session_replication_role = replica; TRUNCATE audit_entry", marks=pytest.mark.postgres),
    ],
)
def test_it_refuses_to_change_or_remove_entries(statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        run(statement)


@pytest.mark.parametrize("start", ["INSERT INTO", pytest.param("INSERT OR REPLACE INTO", marks=sqlite_only)])
def test_it_refuses_to_replace_an_entry(entries: list[Entry], start: str) -> None:
    """REPLACE fires no DELETE trigger on SQLite, so the guard of inserts must stop it."""
    statement = f"{start} audit_entry {COLUMNS} {VALUES}"
    with pytest.raises(IntegrityError, match="must follow the last one"):
        run(statement, (1, GENESIS, GENESIS))
    upsert = f"{INSERT} ON CONFLICT (seq) DO UPDATE SET payload = excluded.payload"
    with pytest.raises(IntegrityError, match="must follow the last one"):
        run(upsert, (2, bytes(entries[0].hash), GENESIS))


@sqlite_only
def test_there_is_no_hidden_rowid_to_replace_an_entry_by(entries: list[Entry]) -> None:
    """A key that is not an integer leaves a rowid beside it, and REPLACE by rowid would remove entry 1 in passing."""
    statement = f"INSERT OR REPLACE INTO audit_entry (rowid, {COLUMNS[1:]} {VALUES.replace('(', '(1, ', 1)}"
    with transaction.atomic():
        run(statement, (4, bytes(entries[-1].hash), GENESIS))
        assert list(Entry.objects.values_list("seq", flat=True)) == [1, 2, 3, 4]
        transaction.set_rollback(True)


def test_it_refuses_an_entry_that_skips_a_number(entries: list[Entry]) -> None:
    with pytest.raises(IntegrityError, match="must follow the last one"):
        run(INSERT, (5, bytes(entries[-1].hash), GENESIS))


@pytest.mark.parametrize("previous", [GENESIS, None])
def test_it_refuses_an_entry_that_does_not_carry_the_hash_before_it(previous: bytes | None) -> None:
    with pytest.raises(IntegrityError, match="must follow the last one"):
        run(INSERT, (4, previous, GENESIS))


def test_an_entry_that_does_follow_is_taken(entries: list[Entry]) -> None:
    """So the refusals above are for the reason they give."""
    with transaction.atomic():
        run(INSERT, (4, bytes(entries[-1].hash), GENESIS))
        assert Entry.objects.count() == 4
        transaction.set_rollback(True)


@pytest.mark.postgres
def test_a_temporary_table_in_front_of_the_ledger_does_not_mislead_the_guard() -> None:
    run("CREATE TEMPORARY TABLE audit_entry (LIKE public.audit_entry)")
    run(f"INSERT INTO pg_temp.audit_entry {COLUMNS} {VALUES}", (3, GENESIS, GENESIS))
    try:
        with pytest.raises(IntegrityError, match="must follow the last one"):
            run(INSERT.replace("audit_entry", "public.audit_entry"), (4, GENESIS, GENESIS))
    finally:
        run("DROP TABLE pg_temp.audit_entry")


def test_all_guards_stand_after_the_migrations() -> None:
    assert guards.missing(connection) == []


def test_a_dropped_guard_is_missed() -> None:
    for guard in guards.GUARDS:
        if guard.event == "TRUNCATE" and connection.vendor == "sqlite":
            continue
        on = "" if connection.vendor == "sqlite" else f" ON {guard.table}"
        run(f"DROP TRIGGER {guard.name}{on}")
        assert guards.missing(connection) == [guard.name]
        guards.install(connection)
        assert guards.missing(connection) == []


@sqlite_only
def test_a_guard_that_was_made_toothless_is_missed_on_sqlite() -> None:
    name = "audit_entry_never_changes"
    run(f"DROP TRIGGER {name}")
    run(f"CREATE TRIGGER {name} BEFORE UPDATE ON audit_entry BEGIN SELECT 1; END")
    assert guards.missing(connection) == [name]


@pytest.mark.postgres
@pytest.mark.parametrize("switch", ["DISABLE TRIGGER", "ENABLE TRIGGER", "ENABLE REPLICA TRIGGER"])
def test_a_guard_that_is_not_always_on_is_missed(switch: str) -> None:
    run(f"ALTER TABLE audit_entry {switch} audit_entry_never_changes")
    assert guards.missing(connection) == ["audit_entry_never_changes"]


@pytest.mark.postgres
def test_a_guard_that_was_made_toothless_is_missed_on_postgres() -> None:
    run(
        "CREATE OR REPLACE FUNCTION audit_entry_never_changes() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RETURN NEW; END $$"
    )
    assert guards.missing(connection) == ["audit_entry_never_changes"]


@pytest.mark.parametrize(("name", "words"), [("x" * 64, "No."), ("drop table", "No."), ("fine", "Don't.")])
def test_a_guard_that_could_not_be_written_as_sql_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        Guard(name=name, table="audit_entry", event="UPDATE", words=words)
