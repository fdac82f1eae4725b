"""Django's engine for PostgreSQL, with an end to waiting.

A server that is frozen, or whose machine vanished, answers nothing and closes nothing: whoever asked would wait for
ever, and a page with them. So each wait ends after `database.patience`, as an OperationalError, and the connection is
closed, because what may still arrive on it belongs to nobody. A COMMIT whose answer was lost, so or otherwise, is
`CommitUnknown`.

Of a process that gives up so, nothing stays behind in the server, which ends a wait for a lock a little sooner, by a
clear answer, and rolls back what a frozen process, or one whose machine vanished, has begun. Else the wait would go on
without its asker, one connection for each try until none is left, and a lock of the dead would keep all from the
ledger.

While the server is known not to answer, others are told so at once, and every few seconds one of them asks it again:
so a process's threads do not all stand still together, and its pages stay quick.
"""

from __future__ import annotations

import threading
import time
from typing import Any, TypeVar

import psycopg
from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from dashboard import database
from dashboard.postgres import CommitUnknown

T = TypeVar("T")

AGAIN = 2.0  # seconds after which a silent server is asked again
LOCKED = 0.75  # of the patience, for a lock: whoever waits for one must not take the server for silent
_LIMITS = "SELECT set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false)"

_asking = threading.Lock()
_silent_until = 0.0


def _is_silent() -> None:
    global _silent_until  # noqa: PLW0603 - one server for each process
    _silent_until = time.monotonic() + AGAIN


class Connection(psycopg.Connection[Any]):
    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        if database.patience is not None:
            kwargs.setdefault("timeout", database.patience)
        try:
            return super().wait(gen, *args, **kwargs)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:  # it answered, or the connection is lost
                raise
            _is_silent()
            self.pgconn.finish()
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {database.patience} seconds.") from error


class DatabaseWrapper(base.DatabaseWrapper):
    isolation_level = IsolationLevel.READ_COMMITTED

    def init_connection_state(self) -> None:
        super().init_connection_state()
        if database.patience is not None:
            locked, begun = database.patience * LOCKED, database.FOR_DRIVERS
            with self.connection.cursor() as cursor:
                cursor.execute(_LIMITS, [f"{locked * 1000:.0f}ms", f"{begun * 1000:.0f}ms"])

    def _commit(self) -> None:
        asked = self.connection is not None and not self.connection.closed
        try:
            super()._commit()  # type: ignore[misc]  # absent from the stubs
        except OperationalError as error:
            if asked and self.connection.closed:
                raise CommitUnknown(*error.args) from error
            raise

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        if not _silent_until:
            return _connect(conn_params)
        if time.monotonic() < _silent_until or not _asking.acquire(blocking=False):
            raise psycopg.OperationalError("PostgreSQL does not answer. It is asked again in a moment.")
        try:
            return _connect(conn_params)
        finally:
            _asking.release()


def _connect(conn_params: dict[str, Any]) -> Connection:
    global _silent_until  # noqa: PLW0603
    try:
        connection = Connection.connect(**conn_params)
    except psycopg.errors.ConnectionTimeout:
        _is_silent()
        raise
    _silent_until = 0.0
    return connection
