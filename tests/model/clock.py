"""One clock for everybody: the database's, the machine's and the clusters' move together, and only when the model says.

Nothing is rewritten and none of our code is replaced. What is replaced is what our code asks: SQLite's function
`strftime`; on PostgreSQL the functions of time, by a schema that stands before `pg_catalog`; `time.clock_gettime` for
CLOCK_BOOTTIME and `time.sleep` of the standard library.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from unittest import mock

from django.db import connection

from dashboard.simulator import ManualClock

START = datetime(2026, 3, 14, 3, 0, tzinfo=UTC).timestamp()
_BOOTED = START - 7_000  # the machine has been up for a while


class OneClock(ManualClock):
    """The clusters' clock, which the database and the machine read too."""

    def __init__(self) -> None:
        super().__init__(START)
        self._tell()

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        self._tell()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self(), UTC)

    @property
    def boottime(self) -> float:
        return self() - _BOOTED

    def _tell(self) -> None:
        """SQLite asks by itself. PostgreSQL is told, past whatever the model makes of the desk's own statements."""
        if connection.vendor == "postgresql":
            connection.ensure_connection()
            connection.connection.execute("SELECT set_config('model.now', %s, false)", [str(self.now)])


@contextmanager
def in_force(clock: OneClock, sleep: Callable[[float], None]) -> Iterator[None]:
    """Inside a transaction that is rolled back. On SQLite, a built-in function that was overridden cannot be had back:
    the connection must be closed before anybody else uses it."""
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        connection.connection.create_function("strftime", -1, _strftime(clock))
    else:
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL)
    real = time.clock_gettime

    def clock_gettime(which: int) -> float:
        return clock.boottime if which == time.CLOCK_BOOTTIME else real(which)

    try:
        with mock.patch.object(time, "clock_gettime", clock_gettime), mock.patch.object(time, "sleep", sleep):
            yield
    finally:
        if connection.vendor == "postgresql":
            connection.connection.execute("RESET search_path")


def _strftime(clock: OneClock) -> Callable[..., str]:
    def strftime(wanted: str, moment: str) -> str:
        assert (wanted, moment.lower()) == ("%Y-%m-%d %H:%M:%f", "now")  # the one question that is asked of it here
        return f"{clock.now:%Y-%m-%d %H:%M:%S.}{clock.now.microsecond // 1000:03d}"

    return strftime


_ANSWER = "RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT current_setting('model.now')::timestamptz $$;"
_POSTGRESQL = (
    "CREATE SCHEMA model_clock; "
    + " ".join(
        f"CREATE FUNCTION model_clock.{name}() {_ANSWER}"
        for name in ("now", "statement_timestamp", "transaction_timestamp", "clock_timestamp")
    )
    + " SET search_path = model_clock, public, pg_catalog"
)
