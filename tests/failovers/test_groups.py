"""Of each group its share: who counts for what, and that the database counts again."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.accounts.models import Group, Person, User
from dashboard.database import database_now
from dashboard.failovers import eyes
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Decision, Failover, Request
from dashboard.failovers.policy import Share
from tests.failovers.desk import group, policy


@pytest.fixture
def chen(cast) -> User:
    """A third approver."""
    person = Person.objects.create(label="m.chen")
    return User.objects.create(username="m.chen", person=person, roles=["approver"])


def _state(asked: Request) -> str:
    return str(asked.failovers.get().state)


def test_a_request_takes_the_shares_of_its_policy(desk, cast):
    group("storage", cast.lind)
    policy(shares={"storage": 1, "": 1}, run_minutes=5, decide_minutes=10)
    asked = desk.request()
    assert asked.required == 2
    assert eyes.shares_of(asked) == [Share(group="storage", count=1), Share(group="", count=1)]
    assert (asked.run_seconds, (asked.decide_by - asked.made_at).total_seconds()) == (300, 600)


def test_each_group_gives_its_share(desk, cast, chen):
    group("storage", cast.lind, cast.osei)
    group("security", chen)
    policy(shares={"storage": 1, "security": 1})
    asked = desk.request()
    desk.approve(asked, by=cast.osei)
    assert _state(asked) == State.REQUESTED
    assert [(m.share.group, m.names) for m in eyes.missing(asked)] == [("security", ("m.chen",))]
    with pytest.raises(Refused) as refused:
        desk.approve(asked, by=cast.lind)  # storage has given its share
    assert refused.value.words == "Your approval does not count here: it needs 1 of security."
    assert asked.decisions.count() == 1
    desk.approve(asked, by=chen)
    assert _state(asked) == State.APPROVED


def test_somebody_in_two_groups_is_one_pair_of_eyes_and_stands_where_it_helps(desk, cast):
    group("storage", cast.osei, cast.lind)
    group("security", cast.osei)
    policy(shares={"storage": 1, "security": 1})
    asked = desk.request()
    desk.approve(asked, by=cast.osei)  # could stand for either
    assert _state(asked) == State.REQUESTED
    desk.approve(asked, by=cast.lind)  # for storage; so the first stands for security
    assert _state(asked) == State.APPROVED


def test_somebody_outside_every_group_does_not_count(desk, cast, chen):
    group("storage", cast.lind, cast.osei)
    policy(shares={"storage": 2})
    asked = desk.request()
    with pytest.raises(Refused, match="does not count here"):
        desk.approve(asked, by=chen)
    assert not Decision.objects.exists()


def test_being_in_a_group_is_no_right_to_approve(desk, cast):
    group("storage", cast.tanaka, cast.lind)
    policy(shares={"storage": 1})
    asked = desk.request()
    with pytest.raises(Refused, match="You may not decide"):
        desk.approve(asked, by=cast.tanaka)
    assert [m.names for m in eyes.missing(asked)] == [("j.lind",)]


def test_the_requester_is_missing_from_those_who_could(desk, cast):
    User.objects.filter(pk=cast.rivera.pk).update(roles=["operator", "approver"])
    group("storage", cast.rivera)
    policy(shares={"storage": 1})
    asked = desk.request()
    assert [(m.share.group, m.names) for m in eyes.missing(asked)] == [("storage", ())]


def test_whoever_left_the_group_before_it_is_sent_no_longer_counts(desk, cast):
    group("storage", cast.osei)
    policy(shares={"storage": 1})
    asked = desk.request()
    desk.approve(asked)
    Group.objects.get().members.clear()
    failover = desk.step(asked.failovers.get())
    assert failover.state == State.APPROVED
    assert desk.posts == 0


def test_a_policy_that_changes_changes_no_request_that_is_there(desk, cast):
    asked = desk.request()
    policy(shares={"storage": 5})
    desk.approve(asked)
    assert _state(asked) == State.APPROVED


def test_the_database_asks_for_each_share_too(desk, cast):
    group("storage", cast.lind)
    policy(shares={"storage": 1, "": 1})
    asked = desk.request()
    for user in (cast.osei, cast.tanaka):  # two votes that no verb has let through, of nobody from storage
        Decision.objects.create(
            request=asked,
            person=user.person,
            requester=asked.requester,
            verdict="approve",
            digest=asked.digest,
            facts_seen={},
            at=database_now(),
        )
    failover = asked.failovers.get()
    with pytest.raises(IntegrityError, match="share of each group"), transaction.atomic():
        Failover.objects.filter(pk=failover.pk).update(state="approved")
    assert _state(asked) == State.REQUESTED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE failovers_share SET count = 1",
        "DELETE FROM failovers_share",
    ],
)
def test_what_a_request_needs_is_frozen_with_it(desk, statement):
    desk.request()
    with pytest.raises(IntegrityError, match="frozen"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
