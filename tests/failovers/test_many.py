"""A site is down: one request for many relationships, one decision, and each failover on its own course."""

from __future__ import annotations

import json

import pytest

from dashboard.accounts.models import User
from dashboard.audit.models import Entry
from dashboard.failovers import asking, conduct, holds, turns
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.models import Relationship
from dashboard.simulator import State as Api
from dashboard.simulator import faults
from tests.failovers.desk import pass_time


def _states(asked: Request) -> list[str]:
    return [str(failover.state) for failover in asked.failovers.order_by("position")]


def _elsewhere() -> Relationship:
    return Relationship.objects.select_related("cluster").get(cluster__name="dr-b")


def test_one_request_carries_them_all_in_the_order_that_was_given(site):
    rows = site.rows[::-1]
    asked = site.ask_for(rows)
    failovers = list(asked.failovers.order_by("position"))
    assert [failover.relationship for failover in failovers] == rows
    assert [failover.number for failover in failovers] == [f"FO-{asked.pk}/{n}" for n in range(1, 6)]
    assert [failover.item.target_root_path for failover in failovers] == [row.target_root_path for row in rows]
    assert len(asked.facts_seen["items"]) == 5
    assert {row.held_by for row in site.rows} == {failover.number for failover in failovers}
    assert Entry.objects.filter(tag="request.made").count() == 1


def test_the_digest_covers_each_item(site):
    one, two = site.rows[:2]
    assert site.ask_for([one, two]).digest != site.ask_for(site.rows[2:4]).digest


def test_the_confirmation_names_every_cluster_and_how_many(site):
    rows = [*site.rows, _elsewhere()]
    with pytest.raises(Refused) as refused:
        site.ask_for(rows, typed="dr 6")
    assert (refused.value.field, refused.value.words) == (
        "typed",
        "The confirmation does not match. Type dr 5, dr-b 1",
    )
    assert site.ask_for(rows, typed="  dr 5,  dr-b 1 ").size == 6


def test_one_that_is_blocked_is_named_and_nothing_is_asked(site):
    site.target.relationships[site.rows[2].relationship_id].state = Api.DISCONNECTED
    site.read()
    with pytest.raises(Refused) as refused:
        site.ask_for(site.rows)
    assert refused.value.words.startswith(f"dr:{site.rows[2].target_root_path.rstrip('/')}: ")
    assert not Request.objects.exists()
    assert not any(row.held_by for row in site.rows)
    assert site.ask_for([row for row in site.rows if row.state == "ESTABLISHED"]).size == 4


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (lambda rows: [], "Choose at least one relationship."),
        (lambda rows: [rows[0], rows[1], rows[0]], "A relationship is in this request twice."),
        (
            lambda rows: rows[:1] * 201,
            "201 relationships are too many for one request; it carries up to 200.",
        ),
    ],
)
def test_too_few_too_many_and_twice_get_one_sentence(site, rows, words):
    with pytest.raises(Refused) as refused:
        site.request(relationships=rows(site.rows), typed="")
    assert refused.value.words == words


def test_one_that_another_request_has_is_named(site):
    first = site.ask_for(site.rows[:2])
    with pytest.raises(Refused) as refused:
        site.ask_for(site.rows[1:3])
    assert refused.value.words.endswith(f"FO-{first.pk}/2 is open for this relationship.")


def test_somebody_who_may_not_ask_on_one_of_the_clusters_asks_for_none(site, cast):
    User.objects.filter(pk=cast.rivera.pk).update(roles=["operator@dr"])
    cast.rivera.refresh_from_db()
    with pytest.raises(Refused, match="You may not request failovers for dr-b"):
        site.ask_for([site.rows[0], _elsewhere()])
    assert site.ask_for(site.rows[:2]).size == 2


def test_an_approver_of_one_cluster_does_not_decide_on_both(site, cast):
    User.objects.filter(pk=cast.osei.pk).update(roles=["approver@dr"])
    cast.osei.refresh_from_db()
    asked = site.ask_for([site.rows[0], _elsewhere()])
    with pytest.raises(Refused, match="You may not decide on these failovers"):
        site.approve(asked)
    site.approve(asked, by=cast.lind)
    assert set(_states(asked)) == {State.APPROVED}


def test_one_decision_approves_all_and_its_record_stands_once(site):
    asked = site.ask_for(site.rows)
    site.approve(asked)
    assert _states(asked) == [State.APPROVED] * 5
    entries = Entry.objects.filter(tag="request.approved").order_by("seq")
    assert [entry.object for entry in entries] == [f"FO-{asked.pk}/{n}" for n in range(1, 6)]
    seen = [json.loads(entry.payload)["detail"].get("seen") for entry in entries]
    assert len(seen[0]["items"]) == 5
    assert seen[1:] == [None] * 4


def test_what_changed_on_any_item_must_have_been_seen(site):
    asked = site.ask_for(site.rows)
    site.clock.pass_time(700)  # another job has run: every recovery point has moved
    site.read()
    with pytest.raises(Refused) as refused:
        site.approve(asked)
    assert refused.value.field == "seen"
    assert refused.value.words.startswith("Changed since the request: Recovery point.")
    assert _states(asked) == [State.REQUESTED] * 5
    with pytest.raises(Refused):
        site.approve(asked, changed="0123456789abcdef")


def test_they_begin_in_order_and_no_more_at_once_than_one_cluster_should_bear(site, settings):
    settings.AT_ONCE = 2
    asked = site.ask_for(site.rows)
    site.approve(asked)
    failovers = list(asked.failovers.order_by("position"))
    site.step(failovers[1])
    assert _states(asked)[1] == State.APPROVED  # the first has not had its turn
    for failover in failovers:
        site.step(failover)
    assert _states(asked) == [State.REVERTING] * 2 + [State.APPROVED] * 3
    assert [site.posts_of(failover) for failover in failovers] == [1, 1, 0, 0, 0]
    site.see_it_through(failovers[0])
    for failover in failovers[2:]:
        site.step(failover)
    assert _states(asked) == [State.SUCCEEDED, State.REVERTING, State.REVERTING, State.APPROVED, State.APPROVED]


def test_the_limit_is_kept_in_the_intent_itself(site, settings):
    asked = site.ask_for(site.rows[:2])
    site.approve(asked)
    first, second = asked.failovers.order_by("position")
    site.step(first)
    settings.AT_ONCE = 1
    turns.refuse_too_many(first)
    Failover.objects.filter(pk=second.pk).update(state="sent", sent_at=first.sent_at)
    with pytest.raises(turns.Full):
        turns.refuse_too_many(second)


def test_one_that_needs_a_person_does_not_hold_the_place_for_ever(site, settings):
    settings.AT_ONCE = 1
    asked = site.ask_for(site.rows[:2])
    site.approve(asked)
    first, second = asked.failovers.order_by("position")
    site.target.faults.add(faults.lost_request(path="/make-writable"))
    site.step(first)
    assert _states(asked) == [State.SENT, State.APPROVED]
    site.step(second)
    assert _states(asked) == [State.SENT, State.APPROVED]
    pass_time(181)
    site.step(second)
    assert _states(asked)[1] == State.REVERTING


def test_one_items_failure_neither_stops_nor_hides_the_others(site):
    asked = site.ask_for(site.rows)
    site.approve(asked)
    failovers = list(asked.failovers.order_by("position"))
    broken = site.target.relationships[failovers[1].relationship.relationship_id]
    broken.target.path = "/dr/another/"
    for failover in failovers:
        site.step(failover)
    assert _states(asked) == [State.REVERTING, State.STOPPED] + [State.REVERTING] * 3
    failovers[1].refresh_from_db()
    assert "The target path changed after the request." in failovers[1].outcome_words
    assert site.posts_of(failovers[1]) == 0


def test_cancelling_takes_back_all_that_was_not_sent(site):
    asked = site.ask_for(site.rows[:3])
    site.approve(asked)
    site.step(asked.failovers.order_by("position")[0])
    conduct.cancel(user=site.cast.rivera, actor=_actor(site), request_pk=asked.pk)
    assert _states(asked) == [State.REVERTING, State.CANCELLED, State.CANCELLED]


def test_lifting_a_hold_on_one_cluster_ends_a_waiting_request_as_a_whole(site):
    asked = site.ask_for([site.rows[0], _elsewhere()])
    started = site.ask_for(site.rows[1:3])
    site.approve(started)
    holds.hold(actor=_actor(site), scope="dr-b", reason="The array is being looked at.")
    holds.lift(actor=_actor(site), scope="dr-b", reason="Looked at, and right again")
    assert _states(asked) == [State.EXPIRED] * 2
    assert _states(started) == [State.APPROVED] * 2


def test_the_same_form_twice_is_one_request(site):
    first = site.ask_for(site.rows[:3], nonce=(nonce := _nonce()))
    assert site.ask_for(site.rows[:3], nonce=nonce) == first
    with pytest.raises(Refused, match="This form was used for another request"):
        site.ask_for(site.rows[:2], nonce=nonce)


def test_two_hundred_are_asked_for_decided_and_ended_as_one(db, cast, django_assert_max_num_queries):
    from dashboard.fleet import access
    from tests.failovers import desk

    big = desk.site(cast, rows=asking.MOST)
    rows = big.rows
    with django_assert_max_num_queries(6 * asking.MOST):
        asked = big.ask_for(rows)
    with django_assert_max_num_queries(12 * asking.MOST):
        big.approve(asked)
    assert _states(asked) == [State.APPROVED] * asking.MOST
    access.forget_transports()


def _actor(site):
    from dashboard.accounts.people import actor_of

    return actor_of(site.cast.rivera)


def _nonce():
    import uuid

    return uuid.uuid4()
