"""Stopped after every single step: each SQL statement and each request of one turn is, once, the last thing that the
driver did. Whatever it was, the cluster receives at most one make-writable, and the record ends true.

Stopping is an exception that nothing handles (a BaseException), so an open transaction is rolled back and everything
committed stays: what a kill leaves. The kills of real processes are in tests/faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from django.db import connection

from dashboard.audit import chain
from dashboard.failovers.lifecycle import State
from dashboard.fleet import access
from dashboard.simulator import transport
from tests.failovers.desk import Desk, pass_time

LONGEST = 60  # more steps than a turn has; test_a_turn_is_shorter_than_what_is_tried holds it to that


class Stopped(BaseException):
    """The driver is gone."""


class Fuse:
    """Counts steps, and stops the driver at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def __call__(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Stopped

    def sql(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self()  # before it: what came before is done, committed or not, and this never happens
        return execute(sql, params, many, context)


class Wire(httpx.BaseTransport):
    """The way to the cluster: stopped before a request leaves, or after it was answered and before anybody heard."""

    def __init__(self, inner: httpx.BaseTransport, fuse: Fuse) -> None:
        self.inner, self.fuse = inner, fuse

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.fuse()
        answer = self.inner.handle_request(request)
        self.fuse()
        return answer


@contextmanager
def stopped_at(desk: Desk, at: int) -> Iterator[Fuse]:
    fuse = Fuse(at)
    access.through(desk.cluster.url, Wire(transport(desk.target), fuse))
    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(fuse.sql))
        with suppress(Stopped):
            yield fuse
    access.through(desk.cluster.url, transport(desk.target))


def _heal(desk: Desk, failover: Any) -> None:
    """Everybody is back, and the sweep comes round as often as it needs."""
    for _ in range(4):
        desk.clock.pass_time(60)
        pass_time(3)
        desk.step(failover)


@pytest.fixture
def committed(transactional_db, cast):
    """Real commits: what was committed before the stop must survive it."""
    desk = Desk(cast)
    yield desk
    access.forget_transports()


@pytest.mark.parametrize("at", range(1, LONGEST))
def test_a_sender_that_is_stopped_anywhere(committed, at):
    desk = committed
    failover = desk.approved()
    with stopped_at(desk, at):
        desk.step(failover)
    _heal(desk, failover)
    assert desk.posts <= 1
    if desk.posts:
        assert failover.state == State.SUCCEEDED
        assert desk.sim.state == "DISCONNECTED"
    else:  # nobody can know that nothing left: it waits for a person, and is never sent again
        assert failover.state == State.SENT
        pass_time(181)
        desk.step(failover)
        desk.close(failover)
        assert desk.sim.state == "ESTABLISHED"
    assert chain.verify().ok


@pytest.mark.parametrize("at", range(1, 25))
def test_a_watcher_that_is_stopped_anywhere(committed, at):
    desk = committed
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    pass_time(3)
    with stopped_at(desk, at):
        desk.step(failover)
    _heal(desk, failover)
    assert (failover.state, desk.posts) == (State.SUCCEEDED, 1)
    assert chain.verify().ok


@pytest.mark.parametrize("at", range(1, 40))
def test_an_approval_that_is_stopped_anywhere_is_whole_or_not_there(committed, at):
    desk = committed
    asked = desk.request()
    with stopped_at(desk, at):
        desk.approve(asked)
    state = asked.failovers.get().state
    assert (state == State.APPROVED) == asked.decisions.exists()
    assert chain.verify().ok


def test_a_turn_is_shorter_than_what_is_tried(committed):
    failover = committed.approved()
    with stopped_at(committed, 10_000) as fuse:
        committed.step(failover)
    assert failover.state == State.REVERTING
    assert 20 < fuse.steps < LONGEST
