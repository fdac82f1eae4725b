"""Four eyes: who may decide, once, on what, until when."""

from __future__ import annotations

import pytest

from dashboard.accounts.models import User
from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers import conduct
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.failovers.models import Decision
from tests.failovers.desk import pass_time


def _state(asked) -> str:
    return asked.failovers.get().state


def test_another_person_approves_and_it_may_start(desk):
    asked = desk.request()
    desk.approve(asked)
    failover = asked.failovers.get()
    assert failover.state == State.APPROVED
    assert failover.run_by is not None
    assert Entry.objects.latest("seq").tag == "request.approved"
    assert desk.posts == 0  # nothing is sent by the approval itself


def test_nobody_approves_their_own_request(desk, cast):
    both = cast.rivera
    both.roles = ["operator", "approver"]
    both.save()
    asked = desk.request(by=both)
    with pytest.raises(Refused, match="another person"):
        desk.approve(asked, by=both)
    assert _state(asked) == State.REQUESTED


def test_a_second_account_of_the_same_person_is_the_same_pair_of_eyes(desk, cast):
    second = User.objects.create(username="a.rivera2", person=cast.rivera.person, roles=["approver"])
    asked = desk.request()
    with pytest.raises(Refused, match="another person"):
        desk.approve(asked, by=second)


@pytest.mark.parametrize("who", ["tanaka", "okafor", "viewer", "admin"])
def test_only_an_approver_may_decide(desk, cast, who):
    asked = desk.request()
    with pytest.raises(Refused, match="You may not decide"):
        desk.approve(asked, by=getattr(cast, who))
    assert not Decision.objects.exists()


def test_an_account_that_was_removed_decides_nothing(desk, cast):
    asked = desk.request()
    cast.osei.is_active = False
    cast.osei.save()
    with pytest.raises(Refused):
        desk.approve(asked)


def test_an_approval_of_something_else_is_refused(desk):
    asked = desk.request()
    with pytest.raises(Stale, match="did not show the request as it is"):
        desk.approve(asked, digest="0" * 64)
    assert _state(asked) == State.REQUESTED


def test_two_approvals_approve_once(desk, cast):
    asked = desk.request()
    desk.approve(asked)
    with pytest.raises(Stale):
        desk.approve(asked, by=cast.lind)
    assert Decision.objects.count() == 1


def test_one_rejection_ends_it(desk, cast):
    asked = desk.request()
    user = cast.lind
    conduct.reject(
        user=user,
        actor=chain.Actor(kind="user", label="j.lind"),
        request_pk=asked.pk,
        digest=asked.digest,
        comment="No.",
        auth="Signed in with a password",
    )
    failover = asked.failovers.get()
    assert (failover.state, failover.outcome_words) == (State.REJECTED, "Rejected by j.lind.")
    with pytest.raises(Stale):
        desk.approve(asked)
    desk.row.refresh_from_db()
    assert desk.row.held_by == ""


def test_nobody_approves_after_the_deadline(desk):
    asked = desk.request()
    pass_time(1801)
    with pytest.raises(Stale, match="expired"):
        desk.approve(asked)
    assert conduct.expire_due() == 1
    failover = asked.failovers.get()
    assert (failover.state, failover.outcome_words) == (
        State.EXPIRED,
        "Expired: nobody approved in time. Nothing was sent.",
    )


def test_an_approval_that_was_not_started_in_time_expires(desk):
    failover = desk.approved()
    pass_time(901)
    assert desk.step(failover).state == State.APPROVED  # the guard in the intent itself refused
    assert desk.posts == 0
    assert conduct.expire_due() == 1
    failover.refresh_from_db()
    assert failover.outcome_words == "Expired: not started in time. Nothing was sent."


@pytest.mark.parametrize("who", ["rivera", "osei", "admin"])
def test_a_request_can_be_cancelled_before_it_is_sent(desk, cast, who):
    asked = desk.request()
    desk.approve(asked)
    desk.cancel(asked, by=getattr(cast, who))
    failover = asked.failovers.get()
    assert failover.state == State.CANCELLED
    desk.step(failover)
    assert desk.posts == 0


def test_a_stranger_cannot_cancel(desk, cast):
    asked = desk.request()
    with pytest.raises(Refused, match="Only the person who asked"):
        desk.cancel(asked, by=cast.tanaka)


def test_what_was_sent_cannot_be_taken_back(desk):
    failover = desk.sent()
    with pytest.raises(Stale, match=r"It was sent at .* It cannot be taken back from here\."):
        desk.cancel(failover.request)


def test_an_approver_who_lost_the_role_no_longer_counts_at_sending(desk, cast):
    failover = desk.approved()
    cast.osei.roles = ["viewer"]
    cast.osei.save()
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0
