"""Several processes in one: each driver runs until a named place of the product, stands still there as long as the
model likes, goes on, or dies.

A driver is a greenlet. It can stand still only between transactions (all of them share one connection); inside of one
it can die, and then the transaction is rolled back, which is what a kill leaves. Dying is an exception that nothing
handles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import greenlet
from django.db import OperationalError, connection


class Killed(BaseException):
    """The process is gone."""


class Driver(greenlet.greenlet):  # type: ignore[misc]  # it has no types
    """One process with one thing to do. `at`: the place at which it stands; "" before and after."""

    def __init__(self, name: str, work: Callable[[], object], about: int = 0) -> None:
        super().__init__(self._run)
        self.name, self.about, self.at = name, about, ""
        self.dies_inside = False  # at the next place inside a transaction
        self.database: list[str] = []  # what becomes of its next transactions: "away"; COMMIT "lost" or "arrived"; ""
        self.cluster: Any = None  # what its one connection goes to
        self.read: Any = None  # the last status that it read
        self.ended = ""
        self._work, self._fate = work, ""
        self._base = len(connection.savepoint_ids)

    def _run(self) -> None:
        try:
            self._work()
            self.ended = "done"
        except Killed:
            self.ended = "killed"
        except Exception as error:  # noqa: BLE001  as a worker's: it ends the task, and the model looks at what is left
            self.ended = f"{type(error).__name__}: {error}"
        self.at = ""

    def stand_still(self, place: str) -> None:
        if len(connection.savepoint_ids) > self._base:
            if self.dies_inside:
                raise Killed
            return
        self.at = place
        assert self.parent is not None
        self.parent.switch()

    def go_on(self) -> None:
        """To its next place, or its end."""
        self.switch()

    def kill(self) -> None:
        if self:  # it has begun
            self.throw(Killed)
        self.ended, self.at = self.ended or "killed", ""

    def transaction(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """What becomes of its transactions, by `database`. Savepoints are the transactions here."""
        if len(connection.savepoint_ids) > self._base:
            return execute(sql, params, many, context)
        if sql.startswith("SAVEPOINT"):
            self._fate = self.database.pop(0) if self.database else ""
            if self._fate == "away":
                raise OperationalError("The database is away.")
        elif sql.startswith("ROLLBACK TO"):
            if self._fate == "answer lost":  # it has been committed; only whoever asked for it does not know
                return None
            self._fate = ""
        elif sql.startswith("RELEASE"):
            fate, self._fate = self._fate, ""
            if fate == "answer lost":
                return None
            if fate == "arrived":
                execute(sql, params, many, context)
                self._fate = "answer lost"
            if fate in ("arrived", "lost"):
                raise OperationalError("The database went away during the COMMIT.")
        return execute(sql, params, many, context)


def current() -> Driver | None:
    running = greenlet.getcurrent()
    return running if isinstance(running, Driver) else None


def statements(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """For `connection.execute_wrapper`."""
    driver = current()
    if driver is None:
        return execute(sql, params, many, context)
    return driver.transaction(execute, sql, params, many, context)


def reached(place: str) -> None:
    """For `crashpoints.listen`."""
    driver = current()
    if driver is not None:
        driver.stand_still(place)


def sleep(_seconds: float) -> None:
    """For the standard library's: nobody sleeps here, they stand still."""
    driver = current()
    assert driver is not None, "Only drivers wait."
    driver.stand_still("asleep")
