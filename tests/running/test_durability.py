"""What a database must be to be trusted with an intent, asked of the connection as it is open."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from dashboard import durability
from dashboard.database import parse_database_url

pytestmark = pytest.mark.django_db(transaction=True)  # inside a transaction SQLite does not change its mind


def ask(*statements: str) -> list[str]:
    try:
        with connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)
        return durability.faults(connection)
    finally:
        connection.close()


@pytest.fixture
def sqlite() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("proves something about SQLite")


@pytest.mark.usefixtures("sqlite")
def test_sqlite_as_the_settings_open_it_lasts() -> None:
    assert ask() == []
    assert parse_database_url("sqlite:////x/desk.sqlite3")["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.usefixtures("sqlite")
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA synchronous = NORMAL", "synchronous is 1, not FULL"),
        ("PRAGMA synchronous = OFF", "synchronous is 0, not FULL"),
        ("PRAGMA journal_mode = DELETE", "journal_mode is delete, not wal"),
        ("PRAGMA ignore_check_constraints = ON", "SQLite ignores CHECK constraints"),
    ],
)
def test_a_sqlite_that_forgets_is_found(statement: str, says: str) -> None:
    [fault] = ask(statement)
    assert says in fault


@pytest.mark.usefixtures("sqlite")
@pytest.mark.parametrize("mode", [None, "DEFERRED", "EXCLUSIVE"])
def test_a_sqlite_that_does_not_begin_with_its_lock_is_found(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", mode)
    connection.close()
    [fault] = ask()
    assert f"begin {mode or 'DEFERRED'}, not IMMEDIATE" in fault


@pytest.mark.postgres
def test_a_postgresql_that_forgets_is_found() -> None:
    """The tests' server does: its data is thrown away."""
    assert [fault.partition(" = ")[0] for fault in ask()] == [
        "PostgreSQL runs with fsync",
        "PostgreSQL runs with full_page_writes",
        "PostgreSQL runs with synchronous_commit",
    ]


@pytest.mark.postgres
@pytest.mark.parametrize(("value", "fault"), [("on", False), ("remote_apply", False), ("local", False), ("off", True)])
def test_what_postgresql_promises_of_a_commit_is_asked_for_this_account(value: str, fault: bool) -> None:
    """`local` is as good as `on` where no standby has to confirm; none has here."""
    account = '"{USER}" IN DATABASE "{NAME}"'.format_map(connection.settings_dict)  # others use the server, too
    try:
        found = ask(f"ALTER ROLE {account} SET synchronous_commit = {value}")
        found = durability.faults(connection)  # on a connection that was opened with it
        assert any("synchronous_commit" in each for each in found) is fault
    finally:
        ask(f"ALTER ROLE {account} RESET synchronous_commit")
