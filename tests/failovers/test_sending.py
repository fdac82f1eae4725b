"""Sending: what each way that a POST can end leads to. At most one reaches the cluster, whatever happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers import execution, holds
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover
from dashboard.fleet import access
from dashboard.simulator import State as Api
from dashboard.simulator import faults, transport
from tests.failovers.desk import Desk, pass_time

POST: dict[str, Any] = {"path": "/make-writable"}


class OutOfReach(httpx.BaseTransport):
    """The checks get through, the next make-writables find no connection: not a byte of them leaves."""

    def __init__(self, desk: Desk, times: int) -> None:
        self.inner, self.left = transport(desk.target), times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self.left:
            self.left -= 1
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        return self.inner.handle_request(request)


def _out_of_reach(desk: Desk, times: int) -> Failover:
    failover = desk.approved()
    access.through(desk.cluster.url, OutOfReach(desk, times))
    return desk.step(failover)


def _tags(failover: Failover) -> list[str]:
    return list(Entry.objects.filter(object=failover.number).order_by("seq").values_list("tag", flat=True))


def test_the_straight_way(desk):
    failover = desk.sent()
    assert failover.state == State.REVERTING
    assert failover.answer["kind"] == "accepted"
    desk.see_it_through(failover)
    assert (failover.state, failover.outcome) == (State.SUCCEEDED, "confirmed")
    assert desk.posts == 1
    assert _tags(failover) == [
        "request.made",
        "request.approved",
        "failover.sent",
        "failover.reverting",
        "failover.disconnected",
        "failover.succeeded",
    ]
    desk.row.refresh_from_db()
    assert desk.row.held_by == ""
    assert desk.row.failed_over_at is not None
    assert chain.verify().ok


@pytest.mark.parametrize("times", [2, 5])
def test_a_bell_that_rings_twice_sends_once(desk, times):
    failover = desk.approved()
    for _ in range(times):
        desk.step(failover)
    assert desk.posts == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.lost_answer(**POST),
        faults.no_answer(applied=True, **POST),
        faults.error(500, applied=True, **POST),
        faults.error(503, applied=True, **POST),
        faults.html(502, applied=True, **POST),
        faults.reset(applied=True, **POST),
        faults.half_body(applied=True, **POST),
        faults.garbage(applied=True, **POST),
        faults.redirect(applied=True, **POST),
        faults.wrong_id(**POST),
    ],
    ids=lambda fault: str(fault)[:40],
)
def test_an_unclear_answer_that_took_effect_is_found_by_reading(desk, fault):
    failover = desk.sent(fault)
    assert failover.state == State.SENT
    assert failover.answer["kind"] == "doubt"
    assert "failover.doubt" in _tags(failover)
    desk.see_it_through(failover)
    desk.step(failover)
    assert (failover.state, failover.outcome) == (State.SUCCEEDED, "inferred")
    assert desk.posts == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.lost_request(**POST),
        faults.error(500, **POST),
        faults.html(502, **POST),
        faults.reset(applied=False, **POST),
        faults.redirect(**POST),
    ],
    ids=lambda fault: str(fault)[:40],
)
def test_an_unclear_answer_that_took_no_effect_stays_sent_and_is_never_sent_again(desk, fault):
    failover = desk.sent(fault)
    for _ in range(4):
        desk.step(failover)
    assert failover.state == State.SENT
    assert desk.posts <= 1
    assert desk.sim.state == "ESTABLISHED"


def test_a_request_that_arrives_late_is_found_by_reading(desk):
    failover = desk.sent(faults.late(20, **POST))
    desk.step(failover)
    assert failover.state == State.SENT
    desk.clock.pass_time(30)
    desk.step(failover)
    desk.see_it_through(failover)
    assert failover.state == State.SUCCEEDED
    assert desk.posts == 1


def test_a_refusal_that_a_reading_confirms_ends_it(desk):
    failover = desk.sent(
        faults.refusal(409, error_class="replication_busy_error", description="Being modified.", **POST)
    )
    assert failover.state == State.REFUSED
    assert failover.outcome_words == (
        "dr refused make-writable. It answered 409 replication_busy_error: “Being modified.”"
    )
    for _ in range(3):
        desk.step(failover)
    assert desk.posts == 1


def test_a_refusal_that_no_reading_confirms_is_doubt(desk):
    refusal = faults.refusal(409, error_class="x_error", description="No.", **POST)
    silence = faults.no_answer(applied=False, path="/status", skip=1, count=9)
    failover = desk.sent(refusal, silence)
    assert failover.state == State.SENT
    assert failover.answer["kind"] == "doubt"


def test_what_provably_never_left_is_tried_again_and_sent_once(desk):
    failover = _out_of_reach(desk, 2)
    assert failover.state == State.APPROVED
    assert "failover.notsent" in _tags(failover)
    desk.step(failover)
    desk.step(failover)
    assert failover.state == State.REVERTING
    assert failover.attempts == 3
    assert desk.posts == 1


def test_what_never_leaves_is_given_up_after_three_attempts(desk):
    failover = _out_of_reach(desk, 99)
    for _ in range(5):
        desk.step(failover)
    assert failover.state == State.STOPPED
    assert failover.attempts == 3
    # Not "could not be reached": the window may have been over for what happened here.
    assert failover.outcome_words.startswith("Make-writable never left for dr in 3 attempts. ")
    assert failover.outcome_words.endswith("Nothing was sent.")
    assert failover.sent_at is None  # or its page would show a step "Make-writable sent"


def test_a_cluster_that_does_not_answer_the_check_is_waited_for(desk):
    failover = desk.sent(faults.refused(count=6))
    assert failover.state == State.APPROVED
    assert desk.posts == 0
    desk.target.faults.clear()
    assert desk.step(failover).state == State.REVERTING


def test_a_refused_token_is_not_tried_again_and_again(desk):
    """Each try of a driver's turn would count as a failed sign-in on the cluster."""
    failover = desk.sent(faults.expired_token(count=None))
    assert failover.state == State.APPROVED
    before = len(desk.target.log)
    for _ in range(3):
        execution.execute(failover.pk)
    pass_time(30)
    execution.execute(failover.pk)
    assert len(desk.target.log) == before
    desk.target.faults.clear()
    pass_time(31)
    execution.execute(failover.pk)
    failover.refresh_from_db()
    assert failover.state == State.REVERTING


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda sim: setattr(sim, "state", Api.RECONNECTING),
            "The relationship is being reconnected. Wait until it is established. Nothing was sent.",
        ),
        (
            lambda sim: setattr(sim, "state", Api.DISCONNECTING),
            "Somebody else has already started it on dr. Nothing was sent.",
        ),
        (
            lambda sim: setattr(sim, "recovery_point", None),
            "No job has ever succeeded: there is nothing to go back to. Nothing was sent.",
        ),
        (
            lambda sim: sim.move_recovery_point(-3600),
            "The recovery point went back after the request. Nothing was sent.",
        ),
    ],
)
def test_what_changed_after_the_approval_stops_it_before_sending(desk, change, words):
    failover = desk.approved()
    change(desk.sim)
    desk.step(failover)
    assert (failover.state, failover.outcome_words) == (State.STOPPED, words)
    assert desk.posts == 0


def test_a_newer_recovery_point_is_fine(desk):
    failover = desk.approved()
    desk.sim.move_recovery_point(10)
    assert desk.step(failover).state == State.REVERTING


def test_another_cluster_behind_the_address_gets_nothing(desk):
    failover = desk.approved()
    desk.target.stand_in = desk.world.add_cluster("impostor")
    desk.step(failover)
    assert failover.state == State.STOPPED
    assert desk.posts == 0


def test_a_hold_keeps_it_from_being_sent_and_lifting_ends_it(desk):
    failover = desk.approved()
    holds.hold(actor=chain.cli(), scope="", reason="restored from a backup")
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0
    assert holds.lift(actor=chain.cli(), scope="", reason="Looked at, and right again") == 1
    assert desk.step(failover).state == State.EXPIRED
    assert desk.posts == 0


def test_a_hold_on_another_cluster_does_not_matter(desk):
    failover = desk.approved()
    holds.hold(actor=chain.cli(), scope="elsewhere", reason="maintenance there")
    assert desk.step(failover).state == State.REVERTING


def test_the_send_window_is_over_for_a_process_that_was_stopped(desk):
    """The window counts from the answer of the check, so it is shut although the intent was committed a moment ago."""
    failover = desk.approved()
    with access.executor(desk.cluster) as door:
        read = door.read(failover.relationship)
        mine = execution._intend(failover, read)
        assert mine
        execution._post(failover, door, replace(read, boottime=read.boottime - 6), mine)
    failover.refresh_from_db()
    assert failover.state == State.APPROVED
    assert desk.posts == 0
