"""Whether what the database calls committed outlasts a power cut. A committed intent that one takes back would be a
second make-writable, so a desk whose database forgets sends nothing (`failovers.selfcheck`).

Asked is the connection as it was really opened, not what the settings wish for.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# What each PRAGMA must answer, and what it means when it does not.
_SQLITE: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("journal_mode", ("wal",), "SQLite does not write ahead: journal_mode is {found}, not wal."),
    ("synchronous", (2, 3), "SQLite does not wait for the disk: synchronous is {found}, not FULL (2)."),
    ("ignore_check_constraints", (0,), "SQLite ignores CHECK constraints."),
)
_ON = ("fsync", "full_page_writes")
_COMMIT = ("synchronous_commit", "synchronous_standby_names")


def faults(connection: BaseDatabaseWrapper) -> list[str]:
    """What is wrong, a sentence each; nothing when a commit lasts."""
    with connection.cursor() as cursor:
        return list(_of_sqlite(connection, cursor) if connection.vendor == "sqlite" else _of_postgresql(cursor))


def _of_sqlite(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> list[str]:
    found = []
    for pragma, good, words in _SQLITE:
        cursor.execute(f"PRAGMA {pragma}")
        (value,) = cursor.fetchone()
        if value not in good:
            found.append(words.format(found=value))
    mode = getattr(connection, "transaction_mode", None)
    if mode != "IMMEDIATE":
        found.append(f"SQLite transactions begin {mode or 'DEFERRED'}, not IMMEDIATE: they can fail half way.")
    return found


def _of_postgresql(cursor: CursorWrapper) -> list[str]:
    """As this role in this database has them. `local` and `remote_write` are enough where no standby has to confirm;
    where one has to, `local` forgets what only the primary had."""
    cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [[*_ON, *_COMMIT]])
    settings = dict(cursor.fetchall())
    found = [f"PostgreSQL runs with {name} = off." for name in _ON if settings[name] != "on"]
    commit, standbys = (settings[name] for name in _COMMIT)
    if commit == "off" or (commit == "local" and standbys):
        found.append(f"PostgreSQL runs with synchronous_commit = {commit} for this account.")
    return found
