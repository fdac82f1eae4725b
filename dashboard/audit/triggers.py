"""Guards of the database as data: "before EVENT on TABLE, refuse with WORDS when CONDITION".

A rule that must hold whatever code runs (ours, a shell, a forgotten script) is a trigger. The same list of
guards is installed by a migration, looked for at start-up, and taken away and put back by the tests around a
flush.

PostgreSQL: each guard is ENABLE ALWAYS, so `session_replication_role = replica` does not switch it off; only
an owner of the table or a superuser can. SQLite: whoever has the file can drop a trigger, so there a guard
stops accidents and shows intent, and it is the hash chain of the ledger that shows tampering.

A refusal arrives as `django.db.IntegrityError` on both engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One trigger, on both engines.

    `name` is the trigger's name (on PostgreSQL also its function's), at most 63 bytes. `sqlite` and
    `postgresql` are SQL conditions over NEW and OLD, sub-queries allowed; empty means: always refuse.
    TRUNCATE exists on PostgreSQL only.
    """

    name: str
    table: str
    event: Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
    words: str
    sqlite: str = ""
    postgresql: str = ""

    def __post_init__(self) -> None:
        # PostgreSQL would cut a longer name silently, and the guard would then be reported missing.
        if len(self.name.encode()) > 63 or not self.name.isidentifier() or "'" in self.words:
            raise ValueError(f"A guard needs a plain name of at most 63 bytes and words without quotes: {self.name!r}")


def append_only(table: str, words: str) -> list[Guard]:
    """Rows of `table` are never changed or deleted, nor is the table emptied.

    On SQLite this alone does not stop INSERT OR REPLACE, which removes the old row without firing a DELETE
    trigger: add an INSERT guard that refuses a key that exists, and give the table an integer key, so that no
    hidden rowid is left.
    """
    return [
        Guard(name=f"{table}_never_changes", table=table, event="UPDATE", words=words),
        Guard(name=f"{table}_never_shrinks", table=table, event="DELETE", words=words),
        Guard(name=f"{table}_is_never_emptied", table=table, event="TRUNCATE", words=words),
    ]


def install(connection: BaseDatabaseWrapper, guards: Sequence[Guard]) -> None:
    """Create the guards, replacing those of the same name. Needs the owner of the tables."""
    with connection.cursor() as cursor:
        for guard in guards:
            _drop(cursor, connection.vendor, guard)
            for statement in _statements(cursor, connection.vendor, guard):
                cursor.execute(statement)


def drop(connection: BaseDatabaseWrapper, guards: Sequence[Guard]) -> None:
    """Take the guards away; those that are not there are passed over."""
    with connection.cursor() as cursor:
        for guard in guards:
            _drop(cursor, connection.vendor, guard)


def missing(connection: BaseDatabaseWrapper, guards: Sequence[Guard]) -> list[str]:
    """Names of the guards that are absent, switched off, or not the ones defined here."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            found = dict(cursor.fetchall())
            return [g.name for g in guards if g.event != "TRUNCATE" and found.get(g.name) != _sqlite(g)]
        # tgenabled 'A' is ENABLE ALWAYS; the function carries the head of its trigger (see _function).
        cursor.execute(
            "SELECT t.tgname, c.relname, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
            "JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE t.tgenabled = 'A' AND p.proname = t.tgname AND pg_table_is_visible(c.oid)"
        )
        present = set(cursor.fetchall())
        return [g.name for g in guards if (g.name, g.table, _function(g)) not in present]


def _drop(cursor: CursorWrapper, vendor: str, guard: Guard) -> None:
    if vendor == "sqlite":
        cursor.execute(f"DROP TRIGGER IF EXISTS {guard.name}")
    else:
        cursor.execute(f"DROP TRIGGER IF EXISTS {guard.name} ON {guard.table}")
        cursor.execute(f"DROP FUNCTION IF EXISTS {guard.name}()")


def _statements(cursor: CursorWrapper, vendor: str, guard: Guard) -> list[str]:
    if vendor == "sqlite":
        return [] if guard.event == "TRUNCATE" else [_sqlite(guard)]
    # Without a fixed search_path somebody could put a temporary table of the same name in front of ours, and
    # the condition would look there.
    cursor.execute("SELECT quote_ident(current_schema())")
    (schema,) = cursor.fetchone()
    function = f"CREATE FUNCTION {guard.name}() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp"
    return [
        f"{function} AS $guard${_function(guard)}$guard$",
        f"CREATE TRIGGER {guard.name} {_head(guard)} EXECUTE FUNCTION {guard.name}()",
        f"ALTER TABLE {guard.table} ENABLE ALWAYS TRIGGER {guard.name}",
    ]


def _sqlite(guard: Guard) -> str:
    when = f" WHEN {guard.sqlite}" if guard.sqlite else ""
    refuse = f"SELECT RAISE(ABORT, '{guard.words}')"
    return f"CREATE TRIGGER {guard.name} BEFORE {guard.event} ON {guard.table}{when} BEGIN {refuse}; END"


def _head(guard: Guard) -> str:
    each = "STATEMENT" if guard.event == "TRUNCATE" else "ROW"
    return f"BEFORE {guard.event} ON {guard.table} FOR EACH {each}"


def _function(guard: Guard) -> str:
    """Body of the function. It carries the trigger's head as a comment, so that one comparison covers both."""
    row = {"DELETE": "OLD", "TRUNCATE": "NULL"}.get(guard.event, "NEW")
    return (
        f"\n-- {_head(guard)}\n"
        f"BEGIN\n"
        f"IF {guard.postgresql or 'TRUE'} THEN\n"
        f"  RAISE EXCEPTION USING MESSAGE = '{guard.words}', ERRCODE = 'restrict_violation';\n"
        f"END IF;\n"
        f"RETURN {row};\n"
        f"END\n"
    )
