"""Who is kept waiting: the limit on each cluster, and that nobody who cannot go on uses up the share of the others."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import execution, reminders, turns
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover
from dashboard.failovers.sweep import PER_CLUSTER, Sweep
from dashboard.fleet import access, observe
from dashboard.simulator import State as Api
from dashboard.simulator import transport
from tests.failovers.desk import pass_time, policy
from tests.failovers.test_races import ROUNDS, at_once


@pytest.fixture
def site(transactional_db, cast):
    from tests.failovers import desk

    yield desk.site(cast)
    access.forget_transports()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_senders_that_come_at_once_keep_the_limit_between_them(site, settings, round_):
    """Each believes that it is its turn: the politeness before the intent is left out."""
    settings.AT_ONCE = 2
    asked = site.ask_for(site.rows)
    site.approve(asked)

    def send(pk: int) -> None:
        own = Failover.objects.select_related("request", "relationship__cluster").get(pk=pk)
        with access.executor(own.relationship.cluster) as door:
            read = door.read(own.relationship)
            mine = execution._intend(own, read)
            if mine:
                execution._post(own, door, read, mine)

    failovers = list(asked.failovers.order_by("position"))
    at_once(*[lambda pk=each.pk: send(pk) for each in failovers])
    assert sum(site.posts_of(each) for each in failovers) == 2
    assert Entry.objects.filter(tag="failover.sent").count() == 2
    states = [each.state for each in asked.failovers.all()]
    assert sorted(states) == [State.APPROVED] * 3 + [State.REVERTING] * 2


class Stuck(httpx.BaseTransport):
    """A cluster that does not answer for single relationships, and notes for which it was asked."""

    def __init__(self, desk: Any, stuck: set[str]) -> None:
        self.inner, self.stuck, self.asked = transport(desk.target), stuck, list[str]()
        self.go = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for relationship in self.stuck:
            if relationship in request.url.path:
                self.asked.append(relationship)
                self.go.wait(30)
                raise httpx.ReadTimeout("no answer", request=request)
        return self.inner.handle_request(request)


def test_those_that_get_no_answer_do_not_keep_the_sweep_from_the_others(site):
    """Two of one cluster are tried in each pass. By age alone these would be the same two for ever."""
    rows = site.rows
    stuck = Stuck(site, {row.relationship_id for row in rows[:PER_CLUSTER]})
    asked = site.ask_for(rows)
    site.approve(asked)
    access.through(site.cluster.url, stuck)
    for _ in range(len(rows) + 1):
        stuck.go.clear()
        sweep = Sweep(with_broker=False)
        sweep._step_failovers(database_now())
        stuck.go.set()
        sweep.close()
        pass_time(10)
    assert set(stuck.asked) == stuck.stuck
    started = asked.failovers.exclude(state=State.APPROVED)
    assert [each.position for each in started] == [2, 3, 4]


def test_one_that_reverts_no_more_and_needs_a_person_does_not_hold_the_place(site, settings):
    settings.AT_ONCE = 1
    asked = site.ask_for(site.rows[:2])
    site.approve(asked)
    first, second = asked.failovers.order_by("position")
    assert site.step(first).state == State.REVERTING
    assert site.step(second).state == State.APPROVED
    assert turns.room() == {site.cluster.pk: 1}
    site.target.relationships[first.relationship.relationship_id].state = Api.RECONNECTING  # by somebody else
    pass_time(3)
    assert site.step(first).state == State.REVERTING
    assert turns.room() == {site.cluster.pk: 0}
    assert site.step(second).state == State.REVERTING


def test_what_was_decided_meanwhile_is_not_told_as_expiring(site):
    asked = site.ask_for(site.rows[:2])
    other = site.ask_for(site.rows[2:3])
    pass_time(26 * 60)
    now = database_now()
    due = list(Failover.objects.filter(state=State.REQUESTED))
    assert len(due) == 3
    observe.observe(site.cluster.pk)
    asked.refresh_from_db()
    site.approve(asked)
    reminders._tell_once("request.expiring", asked, asked.number, lambda: reminders._expires(asked))
    reminders.remind(now)
    assert [entry.object for entry in Entry.objects.filter(tag="request.expiring")] == [other.number]


def test_a_review_that_came_meanwhile_is_not_told_as_overdue(site):
    from dashboard.accounts.people import actor_of
    from dashboard.failovers import conduct

    policy(shares={"": 1}, break_glass=True)
    asked = site.ask_for(site.rows[:2], break_glass=True)
    pass_time(25 * 3600)
    assert reminders.overdue(database_now()) == [asked]
    for user in (site.cast.osei, site.cast.lind):
        conduct.review(user=user, actor=actor_of(user), request_pk=asked.pk, comment="Looked.", auth="")
    reminders._tell_once("review.overdue", asked, asked.number, lambda: reminders._lacks_reviews(asked))
    assert not Entry.objects.filter(tag="review.overdue").exists()
