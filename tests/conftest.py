"""The ground of all tests: settings from a sealed environment, SQLite or a throw-away PostgreSQL, no network, a cast.

`pytest --db postgres` runs the same tests on PostgreSQL; DATABASE_URL names a server of one's own. Both engines matter:
SQLite ignores SELECT … FOR UPDATE without a word, so mistakes in locking show on PostgreSQL only.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import django
import pytest
from cryptography.fernet import Fernet

from tests.postgres import PostgresMissing, running_postgres

if TYPE_CHECKING:
    from dashboard.accounts.models import User

pytest_plugins = ["tests.hostile.counted"]
ROOMS_WITH_GUARDS = ("dashboard.audit", "dashboard.failovers")
PASSWORD = "demo"

# A shell in which somebody runs the product for real must not change what the tests prove.
SETTINGS_THAT_WOULD_LEAK_IN = (
    *("SECRET_KEY_FILE", "READER_KEY_FILE", "EXECUTOR_KEY_FILE", "DATABASE_URL_FILE"),
    *("CHECKPOINT_KEY", "CHECKPOINT_KEY_FILE", "CHECKPOINT_FILE", "CHECKPOINT_SYSLOG", "CHECKPOINT_WEBHOOK"),
    *("CHECKPOINT_WEBHOOK_FILE", "FENCE_FILE"),
    *("DEMO", "HOST", "PORT", "TLS_CERT", "TLS_KEY", "BEHIND_PROXY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS"),
    *("REDIS_URL", "CELERY_BROKER_URL", "POLL_EVERY", "OBJECTIVE_DEFAULT", "CRITICAL_AT", "STALLED_AFTER"),
    *("SECOND_FACTOR", "SESSION_IDLE", "SESSION_ABSOLUTE", "EMERGENCY_SIGN_IN"),
    *("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_CLIENT_SECRET_FILE", "OIDC_NAME", "OIDC_CA_FILE"),
    *("FAILED_JOBS_CRITICAL", "UNKNOWN_AFTER", "HISTORY_DAYS", "STATIC_ROOT", "TIME_SCALE"),
    *("DESK_URL", "NOTIFY_URLS", "NOTIFY_URLS_FILE", "NOTIFY_MAIL", "NOTIFY_MAIL_FILE", "NOTIFY_FROM"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db", choices=("sqlite", "postgres"), help="engine to test on (default: DATABASE_URL, or else sqlite)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Decide the environment before anything reads the settings.

    That is why pytest's own configuration does not name the settings: pytest-django would read them before this file.
    """
    if config.option.help or config.option.version:
        return
    # Read by pytest-socket: whatever a test reaches for, it stays on this machine.
    config.option.allow_hosts = "127.0.0.1,::1"
    config.option.allow_unix_socket = True
    if hasattr(config, "workerinput"):  # pytest -n: a worker inherits the environment that was decided for all
        return
    if "DJANGO_SETTINGS_MODULE" in os.environ or "dashboard.settings" in sys.modules:
        raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests choose the settings' environment themselves.")
    stack = ExitStack()
    config.add_cleanup(stack.close)
    data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="desk-tests-")))
    url = _database_url(config.option.db, data, stack)
    for name in SETTINGS_THAT_WOULD_LEAK_IN:
        os.environ.pop(name, None)
    os.environ |= {
        "TESTING": "1",
        "SECRET_KEY": "only-for-tests-" + "x" * 40,
        "READER_KEY": Fernet.generate_key().decode(),
        "EXECUTOR_KEY": Fernet.generate_key().decode(),
        "FAILOVER_DESK_DATA": str(data),
        "CLUSTER_ALLOWED_CIDRS": "127.0.0.0/8",
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    django.setup()


def _database_url(engine: str | None, data: Path, stack: ExitStack) -> str:
    given = os.environ.get("DATABASE_URL", "")
    if given and engine is None:
        return given
    if engine != "postgres":
        return f"sqlite:///{data / 'desk.sqlite3'}"  # a file, as in real life: in memory there is no WAL and no lock
    try:
        return stack.enter_context(running_postgres())
    except PostgresMissing as missing:
        required = os.environ.get("REQUIRE_POSTGRES") == "1"
        pytest.exit(f"*** NOT TESTED ON POSTGRESQL *** {missing}", returncode=1 if required else 0)


def pytest_report_header() -> str:
    return f"database: {os.environ['DATABASE_URL'].partition(':')[0]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ["DATABASE_URL"].startswith("sqlite"):
        return
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="proves something about PostgreSQL; run with --db postgres"))


@pytest.fixture(scope="session", autouse=True)
def _flush_gets_past_the_guards() -> Iterator[None]:
    """After a test with real transactions Django empties every table, which is what our triggers refuse. So around
    that, and only there, they are taken away; and the ledger gets its head row again, which a migration made.
    """
    from django.db import connection
    from django.test import TransactionTestCase

    from dashboard.audit.models import Head

    guards = [importlib.import_module(f"{room}.guards") for room in ROOMS_WITH_GUARDS]
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]  # absent from the stubs

    def teardown(case: Any) -> None:
        connection.rollback()  # a test that was stopped in the middle of a transaction must not spoil those after it
        try:
            for room in guards:
                room.drop(connection)
            flush(case)
        finally:
            Head.objects.get_or_create(pk=1)
            for room in guards:
                room.install(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield


@pytest.fixture(autouse=True)
def _browser_tests_may_use_the_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser's driver leaves an event loop running in the main thread, where Django then refuses every query."""
    if "journeys" in request.path.parts:
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture(autouse=True)
def _every_test_has_a_ledger_of_its_own(settings: Any) -> None:
    """The file that knows how far a ledger had come would see it go back from test to test."""
    settings.FENCE_FILE = f"{settings.DATA}/fence-{uuid4()}"


@dataclass(frozen=True)
class Cast:
    """Accounts by role; each has a person of its own, and the password `demo`."""

    rivera: User  # operator
    tanaka: User  # operator
    lind: User  # approver
    osei: User  # approver
    okafor: User  # auditor
    admin: User
    viewer: User


@pytest.fixture
def cast(db: None) -> Cast:
    """Made by the same verb as `manage.py person add`, so that the ledger knows them."""
    from dashboard.accounts import people
    from dashboard.audit.chain import SYSTEM

    def add(name: str, role: str) -> User:
        return people.add(name, roles=[role], password=PASSWORD, actor=SYSTEM)

    return Cast(
        rivera=add("a.rivera", "operator"),
        tanaka=add("s.tanaka", "operator"),
        lind=add("j.lind", "approver"),
        osei=add("k.osei", "approver"),
        okafor=add("m.okafor", "auditor"),
        admin=add("admin", "admin"),
        viewer=add("viewer", "viewer"),
    )
