"""A failover at every stage of its life, walked there with the real verbs and drivers on a simulated cluster, so that
the record behind each page is true."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import httpx

from dashboard.accounts.people import actor_of
from dashboard.failovers import conduct
from dashboard.failovers.models import Failover
from dashboard.fleet import access
from dashboard.simulator import RevertEnds, State, faults, transport
from tests.failovers.desk import Desk, pass_time


def lost() -> faults.Fault:
    """The request never arrives, and nobody can know."""
    return faults.lost_request(path="/make-writable")


def refusal() -> faults.Fault:
    return faults.refusal(
        409, "replication_relationship_state_error", "The relationship is being modified.", path="/make-writable"
    )


def requested(desk: Desk) -> Failover:
    return desk.request().failovers.get()


def approved(desk: Desk) -> Failover:
    return desk.approved()


def unreachable(desk: Desk) -> Failover:
    """Approved, and the sender cannot reach the cluster."""
    failover = desk.approved()
    desk.target.faults.add(faults.refused())
    desk.step(failover)
    desk.target.faults.clear()
    return failover


class Gone(BaseException):
    """The sender died."""


class Dying(httpx.BaseTransport):
    """The sender dies between its intent and the first byte."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise Gone
        return self.inner.handle_request(request)


def sent(desk: Desk) -> Failover:
    """The intent is committed and no answer is recorded."""
    failover = desk.approved()
    access.through(desk.cluster.url, Dying(transport(desk.target)))
    with suppress(Gone):
        desk.step(failover)
    access.through(desk.cluster.url, transport(desk.target))
    failover.refresh_from_db()
    return failover


def doubtful(desk: Desk) -> Failover:
    return desk.step(desk.sent(lost()))


def silent(desk: Desk) -> Failover:
    """In doubt, and the cluster does not answer any more."""
    failover = desk.sent(lost())
    desk.target.faults.add(faults.silent())
    desk.step(failover)
    desk.target.faults.clear()
    return failover


def not_seen(desk: Desk) -> Failover:
    """In doubt after the settle window: a person must look."""
    failover = desk.sent(lost())
    pass_time(181)
    return desk.step(failover)


def reverting(desk: Desk, seconds: float = 330) -> Failover:
    """So many seconds of a revert that takes 600."""
    desk.sim.revert_takes = 600
    failover = desk.sent()
    pass_time(120)
    desk.clock.pass_time(seconds)
    return desk.step(failover)


def without_figures(desk: Desk) -> Failover:
    desk.sim.revert_shows_progress = False
    return reverting(desk)


def fell_back(desk: Desk) -> Failover:
    """The revert began, and the relationship is established again: a person must look."""
    desk.sim.revert_ends = RevertEnds.FAILS
    failover = desk.sent()
    desk.clock.pass_time(60)
    pass_time(181)
    return desk.step(failover)


def disconnected(desk: Desk) -> Failover:
    failover = desk.sent()
    desk.clock.pass_time(60)
    return desk.step(failover)


def succeeded(desk: Desk) -> Failover:
    return desk.see_it_through(desk.sent())


def refused(desk: Desk) -> Failover:
    return desk.sent(refusal())


def stopped(desk: Desk) -> Failover:
    failover = desk.approved()
    desk.sim.state = State.RECONNECTING
    return desk.step(failover)


def undecided(desk: Desk) -> Failover:
    failover = requested(desk)
    pass_time(1801)
    conduct.expire_due()
    failover.refresh_from_db()
    return failover


def not_started(desk: Desk) -> Failover:
    failover = desk.approved()
    pass_time(901)
    conduct.expire_due()
    failover.refresh_from_db()
    return failover


def rejected(desk: Desk) -> Failover:
    asked = desk.request()
    conduct.reject(
        user=desk.cast.osei,
        actor=actor_of(desk.cast.osei),
        request_pk=asked.pk,
        digest=asked.digest,
        comment="The source is back.",
    )
    return asked.failovers.get()


def cancelled(desk: Desk) -> Failover:
    asked = desk.request()
    desk.cancel(asked)
    return asked.failovers.get()


def not_applied(desk: Desk) -> Failover:
    return desk.close(not_seen(desk))


def closed(desk: Desk) -> Failover:
    return desk.close(fell_back(desk), outcome="other", reason="The revert failed; support is on it.")


STAGES: dict[str, Callable[[Desk], Failover]] = {
    stage.__name__: stage
    for stage in (
        requested,
        approved,
        unreachable,
        sent,
        doubtful,
        silent,
        not_seen,
        reverting,
        without_figures,
        fell_back,
        disconnected,
        succeeded,
        refused,
        stopped,
        undecided,
        not_started,
        rejected,
        cancelled,
        not_applied,
        closed,
    )
}
ENDED = (
    "succeeded",
    "refused",
    "stopped",
    "undecided",
    "not_started",
    "rejected",
    "cancelled",
    "not_applied",
    "closed",
)
