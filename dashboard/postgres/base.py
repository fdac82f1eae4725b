"""Django's engine for PostgreSQL, with an end to waiting.

A server that is frozen, or whose machine vanished, answers nothing and closes nothing: whoever asked would wait for
ever, and a page with them. So each wait ends after `database.patience`, as an OperationalError, and the connection is
closed, because what may still arrive on it belongs to nobody. Whether a COMMIT that ended so has happened is unknown.

While the server is known not to answer, one thread at a time asks it again; the others are told at once, so that they
do not all stand still together.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from dashboard import database

T = TypeVar("T")

_silent = threading.Event()
_asking = threading.Lock()


class Connection(psycopg.Connection[Any]):
    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        if database.patience is not None:
            kwargs.setdefault("timeout", database.patience)
        try:
            return super().wait(gen, *args, **kwargs)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:  # it answered, or the connection is lost
                raise
            _silent.set()
            self.pgconn.finish()
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {database.patience} seconds.") from error


class DatabaseWrapper(base.DatabaseWrapper):
    isolation_level = IsolationLevel.READ_COMMITTED

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        if not _silent.is_set():
            return _connect(conn_params)
        if not _asking.acquire(blocking=False):
            raise psycopg.OperationalError("PostgreSQL does not answer. It is being asked again.")
        try:
            connection = _connect(conn_params)
            _silent.clear()
            return connection
        finally:
            _asking.release()


def _connect(conn_params: dict[str, Any]) -> Connection:
    try:
        return Connection.connect(**conn_params)
    except psycopg.errors.ConnectionTimeout:
        _silent.set()
        raise
