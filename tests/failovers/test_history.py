"""What was done to a relationship before, as its record tells it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.accounts import people
from dashboard.audit.chain import SYSTEM
from dashboard.failovers import history
from dashboard.failovers.models import Mode
from dashboard.fleet.models import Relationship
from dashboard.simulator import faults
from dashboard.words import duration
from tests.failovers.desk import site


def _earlier(desk, **changes):
    return history.earlier(desk.row, **{"user": desk.cast.osei, **changes})


def _reconnected(desk):
    """Somebody reconnects it on the cluster, and the desk has seen that."""
    desk.sim.reconnect(desk.clock())
    desk.clock.pass_time(30)
    desk.read()


def test_nothing_was_done_before(desk):
    assert _earlier(desk) == []


def test_one_that_succeeded_tells_who_asked_how_long_it_took_and_what_it_went_back_to(desk):
    failover = desk.see_it_through(desk.sent())
    (told,) = _earlier(desk)
    assert (told.number, told.mode, told.drill, told.break_glass) == (failover.number, Mode.UNPLANNED, False, False)
    assert (told.asked_by, told.asked_at) == ("a.rivera", failover.request.made_at)
    assert (told.state, told.words) == ("succeeded", "The target is writable")
    assert told.why == failover.outcome_words
    assert told.sent_at == failover.sent_at
    assert told.took == failover.ended_at - failover.sent_at
    assert told.point_age == failover.sent_at - failover.item.loss_from_at
    assert told.point_age > timedelta(minutes=4)
    assert told.lost == f"Up to {duration(told.point_age)} lost"


def test_one_that_was_never_sent_took_nothing_and_lost_nothing(desk):
    desk.cancel(desk.request())
    (told,) = _earlier(desk)
    assert (told.words, told.why) == ("Cancelled", "Cancelled by a.rivera. Nothing was sent.")
    assert (told.sent_at, told.took, told.point_age, told.lost) == (None, None, None, None)


def test_one_that_the_cluster_refused_achieved_nothing(desk):
    desk.sent(faults.error(409, path="/make-writable"))
    (told,) = _earlier(desk)
    assert told.words == "Refused by the cluster"
    assert told.sent_at is not None
    assert (told.took, told.point_age) == (None, None)


def test_a_drill_is_marked_as_one_for_ever(desk):
    desk.cancel(desk.request(mode="drill"))
    desk.cancel(desk.request())
    assert [told.drill for told in _earlier(desk)] == [False, True]


def test_the_newest_stands_first_and_ten_are_enough(desk):
    asked = []
    for _ in range(11):
        asked.append(desk.request())
        desk.cancel(asked[-1])
    assert [told.number for told in _earlier(desk)] == [each.number for each in reversed(asked)][:10]


def test_what_came_later_is_not_earlier(desk):
    first = desk.request()
    desk.cancel(first)
    second = desk.request()
    assert [told.number for told in _earlier(desk, before_request=second.pk)] == [first.number]
    assert [told.number for told in _earlier(desk)] == [second.number, first.number]


def test_it_asks_one_query(desk):
    for _ in range(3):
        desk.cancel(desk.request())
    user = desk.cast.osei
    assert user.scope is None
    with CaptureQueriesContext(connection) as asked:
        assert len(history.earlier(desk.row, user=user)) == 3
    assert len(asked) == 1


@pytest.fixture
def burnt(db, cast):
    from dashboard.fleet import access

    yield site(cast)
    access.forget_transports()


def test_one_of_many_is_told_by_its_own_number(burnt):
    asked = burnt.ask_for(burnt.rows)
    burnt.cancel(asked)
    third = burnt.rows[2]
    (told,) = history.earlier(third, user=burnt.cast.osei)
    assert told.number == f"{asked.number}/3"


def test_a_request_that_a_person_may_not_see_is_not_told(burnt):
    """It was for two clusters, of which the person sees one: a request is never shown in part."""
    elsewhere = Relationship.objects.get(cluster__name="dr-b")
    here = burnt.rows[0]
    both = burnt.ask_for([here, elsewhere])
    burnt.cancel(both)
    alone = burnt.ask_for([here])
    burnt.cancel(alone)
    assert len(history.earlier(here, user=burnt.cast.osei)) == 2
    user = people.add("p.novak", roles=["approver@dr"], password="demo", actor=SYSTEM)
    assert [told.number for told in history.earlier(here, user=user)] == [alone.number]
