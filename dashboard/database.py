"""DATABASE_URL → Django's DATABASES entry, with the options that the safety of a failover rests on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"

FOR_PEOPLE, FOR_DRIVERS = 5.0, 20.0  # seconds
patience: float | None = None
"""For how many seconds this process waits for one answer of PostgreSQL. None: for ever, as a migration must."""


def wait_at_most(seconds: float) -> None:
    """From now on. For programs that serve or drive: whoever asks gets an answer, and goes on elsewhere or later."""
    global patience  # noqa: PLW0603 - one for each process
    patience = seconds


def parse_database_url(url: str) -> dict[str, Any]:
    """`sqlite:////path/file` or `postgresql://user:password@host:5432/name`; `?host=/socket/dir` is understood.
    `?timeout=` of SQLite: for how many seconds it waits for somebody else's lock."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "sqlite":
        path = Path(unquote(parts.path))
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            # IMMEDIATE: a transaction takes the write lock first, so none fails half way with "database is locked".
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": float(query.get("timeout", FOR_DRIVERS)),
                "init_command": SQLITE_PRAGMAS,
            },
            "TEST": {"NAME": path.with_name("test.sqlite3")},
        }
    if parts.scheme in ("postgres", "postgresql"):
        host = query.pop("host", "") or parts.hostname or ""
        return {
            "ENGINE": "dashboard.postgres",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": host,
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"connect_timeout": 5, **query},
        }
    raise ImproperlyConfigured("DATABASE_URL must begin with sqlite:/// or postgresql://.")


def database_now() -> datetime:
    """The one clock that decides: the database's. Pages, deadlines and the ledger all read this one."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            value: datetime = cursor.fetchone()[0]
            return value.astimezone(UTC)
        cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)
