"""Leaving doubt: a person closes, after the settle window, on evidence; nothing is sent by it, and nothing after it."""

from __future__ import annotations

import json

import pytest

from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.simulator import RevertEnds, faults
from dashboard.simulator import State as Api
from tests.failovers.desk import pass_time


def lost():
    return faults.lost_request(path="/make-writable")


@pytest.fixture
def doubtful(desk):
    """Sent, never received, the settle window over, and read a moment ago."""
    failover = desk.sent(lost())
    pass_time(181)
    desk.step(failover)
    return failover


def test_an_approver_who_did_not_ask_closes_it_as_not_applied(desk, doubtful):
    desk.close(doubtful)
    doubtful.refresh_from_db()
    assert (doubtful.state, doubtful.outcome) == (State.CLOSED, "not_applied")
    detail = json.loads(Entry.objects.latest("seq").payload)["detail"]
    assert detail["evidence"]["shown"] == {"ESTABLISHED read-only": 1}
    desk.row.refresh_from_db()
    assert desk.row.held_by == ""


def test_nothing_is_sent_after_it_was_closed(desk, doubtful):
    desk.close(doubtful)
    posts = desk.posts
    desk.step(doubtful)
    assert (doubtful.state, desk.posts) == (State.CLOSED, posts)


def test_a_new_try_is_a_new_request_with_a_new_approval(desk, doubtful):
    desk.close(doubtful)
    again = desk.approved()
    assert again.pk != doubtful.pk
    assert desk.step(again).state == State.REVERTING


def test_it_is_not_closed_while_the_request_may_still_arrive(desk):
    failover = desk.sent(lost())
    desk.step(failover)
    with pytest.raises(Refused, match="It may still arrive"):
        desk.close(failover)
    with pytest.raises(Refused, match="It may still arrive"):
        desk.close(failover, outcome="other", reason="the cluster is gone for good")


def test_the_requester_does_not_close(desk, cast, doubtful):
    cast.rivera.roles = ["operator", "approver"]
    cast.rivera.save()
    with pytest.raises(Refused, match="who did not ask"):
        desk.close(doubtful, by=cast.rivera)


@pytest.mark.parametrize("who", ["tanaka", "okafor", "viewer", "admin"])
def test_only_an_approver_closes(desk, cast, doubtful, who):
    with pytest.raises(Refused, match="Only an approver"):
        desk.close(doubtful, by=getattr(cast, who))


def test_not_applied_needs_a_reading_of_this_moment(desk, doubtful):
    pass_time(11)
    with pytest.raises(Refused, match="a reading of the last 10 s"):
        desk.close(doubtful)


def test_not_applied_is_refused_when_the_reading_shows_something_else(desk, doubtful):
    desk.sim.state = Api.RECONNECTING
    desk.step(doubtful)
    with pytest.raises(Refused, match="established and read-only"):
        desk.close(doubtful)


def test_another_reason_must_be_said(desk, doubtful):
    with pytest.raises(Refused) as caught:
        desk.close(doubtful, outcome="other", reason="gone")
    assert caught.value.field == "reason"
    desk.close(doubtful, outcome="other", reason="Failed back by hand in the cluster's own interface.")
    doubtful.refresh_from_db()
    assert doubtful.outcome == "other"


def test_a_running_revert_is_not_closed(desk):
    failover = desk.sent()
    pass_time(181)
    desk.step(failover)
    with pytest.raises(Refused, match="The revert runs"):
        desk.close(failover, outcome="other", reason="it takes too long for me")


def test_a_revert_that_failed_can_be_closed_with_a_reason(desk):
    desk.sim.revert_ends = RevertEnds.FAILS
    failover = desk.sent()
    desk.clock.pass_time(60)
    pass_time(181)
    desk.step(failover)
    with pytest.raises(Refused):
        desk.close(failover)  # not_applied would be a lie: it was applied, and failed
    desk.close(failover, outcome="other", reason="The revert failed; support is on it.")
    failover.refresh_from_db()
    assert failover.state == State.CLOSED


def test_what_has_ended_is_not_closed(desk):
    failover = desk.sent()
    desk.see_it_through(failover)
    with pytest.raises(Stale):
        desk.close(failover)
