"""Break-glass: one name, where the policy allows it; marked for ever, told to all, and reviewed by two others."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.accounts.models import Person, User
from dashboard.accounts.people import actor_of
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import conduct, reminders
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Decision, Failover, Request, Review
from dashboard.simulator import State as Api
from dashboard.simulator import faults
from tests.failovers.desk import pass_time, policy


def _break(desk) -> Request:
    policy(shares={"": 2}, break_glass=True)
    return desk.request(break_glass=True, auth="Signed in with password; confirmed with TOTP")


def _review(asked: Request, user: User, comment: str = "Called the site; the power was out.") -> Review:
    return conduct.review(
        user=user, actor=actor_of(user), request_pk=asked.pk, comment=comment, auth="Signed in with password"
    )


def test_it_starts_on_one_name_and_says_so(desk, cast):
    asked = _break(desk)
    failover = asked.failovers.get()
    assert (asked.break_glass, asked.required, failover.state) == (True, 0, State.APPROVED)
    tags = list(Entry.objects.filter(object=asked.number).order_by("seq").values_list("tag", "actor"))
    assert tags == [(tag, "a.rivera") for tag in ("request.made", "request.break-glass", "request.approved")]
    assert "confirmed with TOTP" in Entry.objects.get(tag="request.made").payload
    desk.step(failover)
    assert desk.posts == 1


def test_where_no_policy_allows_it_nobody_may(desk):
    with pytest.raises(Refused, match="Break-glass is not allowed here"):
        desk.request(break_glass=True)
    policy(shares={"": 1})
    with pytest.raises(Refused, match="Break-glass is not allowed here"):
        desk.request(break_glass=True)
    assert not Request.objects.exists()


@pytest.mark.parametrize("mode", ["planned", "drill"])
def test_it_is_for_emergencies_only(desk, mode):
    policy(shares={"": 1}, break_glass=True)
    with pytest.raises(Refused) as refused:
        desk.request(break_glass=True, mode=mode)
    assert not Request.objects.exists()
    assert refused.value.field == "mode"


def test_one_among_many_that_does_not_allow_it_forbids_it(site):
    policy(shares={"": 1}, break_glass=True, path_prefix="/dr/000")
    with pytest.raises(Refused, match="Break-glass is not allowed here"):
        site.ask_for(site.rows[:2], break_glass=True)


def test_the_checks_hold_for_it_as_well(desk):
    policy(shares={"": 1}, break_glass=True)
    desk.sim.settings.replication_enabled = True
    desk.cluster.refresh_from_db()
    desk.cluster.executor_token = ""
    desk.cluster.save()
    with pytest.raises(Refused, match="no executor token"):
        desk.request(break_glass=True)


def test_nobody_approves_what_was_not_asked_of_them(desk):
    asked = _break(desk)
    with pytest.raises(Refused):
        desk.approve(asked)
    assert not Decision.objects.exists()


def test_whoever_lost_the_role_meanwhile_sends_nothing(desk, cast):
    asked = _break(desk)
    User.objects.filter(pk=cast.rivera.pk).update(roles=["viewer"])
    failover = desk.step(asked.failovers.get())
    assert (failover.state, desk.posts) == (State.APPROVED, 0)


def test_two_others_review_it(desk, cast):
    asked = _break(desk)
    _review(asked, cast.osei)
    _review(asked, cast.okafor)
    words = Entry.objects.filter(tag="review.made").order_by("seq").values_list("payload", flat=True)
    assert ["of 2" in each for each in words] == [True, True]
    assert reminders.overdue(database_now()) == []


def test_nobody_reviews_their_own_not_even_by_a_second_account(desk, cast):
    asked = _break(desk)
    second = User.objects.create(username="a.rivera-audit", person=cast.rivera.person, roles=["auditor", "admin"])
    with pytest.raises(Refused, match="who did not ask"):
        _review(asked, second)


@pytest.mark.parametrize("who", ["tanaka", "viewer"])
def test_whoever_has_no_part_in_decisions_reviews_none(desk, cast, who):
    with pytest.raises(Refused, match="reviews break-glass"):
        _review(_break(desk), getattr(cast, who))


def test_one_person_reviews_once_and_says_something(desk, cast):
    asked = _break(desk)
    with pytest.raises(Refused, match="what you found"):
        _review(asked, cast.osei, "   ")
    _review(asked, cast.osei)
    with pytest.raises(Refused, match="already reviewed"):
        _review(asked, cast.osei)


def test_an_ordinary_request_is_not_reviewed(desk, cast):
    with pytest.raises(Refused, match="nothing to review"):
        _review(desk.request(), cast.osei)


def test_a_review_that_is_overdue_is_told_once(desk, cast):
    asked = _break(desk)
    _review(asked, cast.osei)
    reminders.remind(database_now())
    assert not Entry.objects.filter(tag="review.overdue").exists()
    pass_time(24 * 3600)
    for _ in range(2):
        reminders.remind(database_now())
    assert [entry.object for entry in Entry.objects.filter(tag="review.overdue")] == [asked.number]
    assert reminders.overdue(database_now()) == [asked]
    _review(asked, cast.lind)
    assert reminders.overdue(database_now()) == []


def test_a_request_that_expires_soon_is_told_once(desk):
    asked = desk.request()
    reminders.remind(database_now())
    pass_time(25 * 60 + 1)
    for _ in range(2):
        reminders.remind(database_now())
    (entry,) = Entry.objects.filter(tag="request.expiring")
    assert (entry.object, "expires in 4 min" in entry.payload) == (asked.number, True)


def test_the_database_knows_no_other_way_without_approvals(desk, cast):
    asked = desk.request()
    columns = {
        field.attname: getattr(asked, field.attname)
        for field in Request._meta.concrete_fields
        if field.name not in ("id", "nonce")
    }
    for more in ({"required": 0}, {"break_glass": True}, {"break_glass": True, "required": 1}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Request.objects.create(**columns | more)
    with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
        Request.objects.filter(pk=asked.pk).update(break_glass=True, required=0)
    assert Failover.objects.get().state == State.REQUESTED


def test_the_database_refuses_reviews_that_are_none(desk, cast):
    ordinary = desk.request()
    glass = Request.objects.create(
        **{
            field.attname: getattr(ordinary, field.attname)
            for field in Request._meta.concrete_fields
            if field.name not in ("id", "nonce", "break_glass", "required")
        },
        break_glass=True,
        required=0,
    )
    said = {"comment": "Fine.", "person_label": "x", "at": database_now()}
    stranger = Person.objects.create(label="stranger")
    for wrong in (
        {"request": ordinary, "person": stranger, "requester": ordinary.requester},
        {"request": glass, "person": glass.requester, "requester": glass.requester},
        {"request": glass, "person": glass.requester, "requester": stranger},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Review.objects.create(**wrong, **said)
    Review.objects.create(request=glass, person=stranger, requester=glass.requester, **said)
    for statement in ("UPDATE failovers_review SET comment = 'x'", "DELETE FROM failovers_review"):
        with (
            pytest.raises(IntegrityError, match="for ever"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_each_kind_of_concern_is_told_once(desk):
    failover = desk.sent(faults.lost_request(path="/make-writable"))
    pass_time(181)
    desk.step(failover)
    for _ in range(2):
        reminders.remind(database_now())
    desk.sim.state = Api.RECONNECTING
    desk.step(failover)
    for _ in range(2):
        reminders.remind(database_now())
    words = Entry.objects.filter(tag="failover.concern").order_by("seq").values_list("payload", flat=True)
    assert [("still established" in each, "reconnecting" in each) for each in words] == [(True, False), (False, True)]
