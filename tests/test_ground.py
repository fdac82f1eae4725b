"""The ground that `conftest` lays, proved once: a test that believes in it wrongly proves nothing."""

from __future__ import annotations

import importlib
import os
import socket
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from dashboard.audit.models import Entry, Head
from tests.conftest import PASSWORD, ROOMS_WITH_GUARDS, Cast


def test_no_test_reaches_beyond_this_machine() -> None:
    with (
        socket.socket() as outside,
        pytest.raises((RuntimeError, UserWarning), match=r"192\.0\.2\.1"),
    ):
        outside.connect(("192.0.2.1", 443))


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_the_settings_come_from_the_sealed_environment() -> None:
    assert settings.TESTING
    assert str(settings.DATA) == os.environ["FAILOVER_DESK_DATA"]
    assert settings.READER_KEY != settings.EXECUTOR_KEY
    assert settings.REDIS_URL == ""
    assert "DJANGO_ALLOW_ASYNC_UNSAFE" not in os.environ


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's own settings")
def test_sqlite_is_a_durable_file() -> None:
    with connection.cursor() as cursor:
        found = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        file = cursor.execute("PRAGMA database_list").fetchone()[2]
    assert found == ["wal", 2, 1]
    assert Path(file).is_file()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("again", [1, 2])
def test_after_a_flush_the_ledger_starts_anew_and_the_guards_stand(cast: Cast, again: int) -> None:
    """Twice, because it is the second time that finds what the first one left."""
    for room in ROOMS_WITH_GUARDS:
        assert importlib.import_module(f"{room}.guards").missing(connection) == []
    assert Head.objects.get().seq == Entry.objects.count() == 7


@pytest.mark.django_db
def test_the_cast_can_sign_in_and_has_one_role_each(cast: Cast) -> None:
    roles = {name: getattr(cast, name).roles for name in Cast.__dataclass_fields__}
    assert roles == {
        "rivera": ["operator"],
        "tanaka": ["operator"],
        "lind": ["approver"],
        "osei": ["approver"],
        "okafor": ["auditor"],
        "admin": ["admin"],
        "viewer": ["viewer"],
    }
    assert cast.osei.check_password(PASSWORD)
    assert len({getattr(cast, name).person_id for name in roles}) == 7
