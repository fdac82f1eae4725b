"""Two at once, on connections of their own, started by a barrier. One wins, the other changed nothing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.db import connections

from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import conduct, execution
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Decision, Failover, Review
from dashboard.fleet import access
from dashboard.simulator import faults, transport
from tests.failovers.desk import pass_time, policy

ROUNDS = 5


@pytest.fixture
def desk(transactional_db, cast):
    from tests.failovers.desk import Desk

    yield Desk(cast)
    access.forget_transports()


@pytest.fixture
def site(transactional_db, cast):
    from tests.failovers import desk

    yield desk.site(cast)
    access.forget_transports()


def at_once(*verbs: Callable[[], Any]) -> list[Any]:
    """What each gave back: its result, or the Refused that it raised. Anything else is an error of the test."""
    barrier = threading.Barrier(len(verbs))
    results: list[Any] = [None] * len(verbs)

    def run(position: int, verb: Callable[[], Any]) -> None:
        barrier.wait(60)
        try:
            results[position] = verb()
        except Refused as refusal:
            results[position] = refusal
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            results[position] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(verbs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    broken = [result for result in results if isinstance(result, BaseException) and not isinstance(result, Refused)]
    assert not broken, broken
    return results


def _refusals(results: list[Any]) -> int:
    return sum(isinstance(result, Refused) for result in results)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_approvers_at_once_approve_once(desk, cast, round_):
    asked = desk.request()
    results = at_once(lambda: desk.approve(asked), lambda: desk.approve(asked, by=cast.lind))
    assert _refusals(results) == 1
    assert Decision.objects.count() == 1
    assert Entry.objects.filter(tag="request.approved").count() == 1


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_the_last_two_approvers_at_once_complete_it_once(desk, cast, round_):
    policy(shares={"": 2})
    asked = desk.request()
    assert _refusals(at_once(lambda: desk.approve(asked), lambda: desk.approve(asked, by=cast.lind))) == 0
    assert Decision.objects.count() == 2
    tags = Entry.objects.filter(tag__in=("decision.made", "request.approved")).order_by("seq")
    assert list(tags.values_list("tag", flat=True)) == ["decision.made", "request.approved"]
    assert asked.failovers.get().state == State.APPROVED


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_approving_and_rejecting_at_once_ends_one_way(desk, cast, round_):
    asked = desk.request()
    results = at_once(lambda: desk.approve(asked), lambda: desk.reject(asked, by=cast.lind))
    assert _refusals(results) == 1
    assert Decision.objects.count() == 1
    verdict = Decision.objects.get().verdict
    assert asked.failovers.get().state == (State.APPROVED if verdict == "approve" else State.REJECTED)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_approving_at_the_deadline_and_expiring_ends_one_way(desk, round_):
    asked = desk.request()
    left = (asked.decide_by - database_now()).total_seconds()
    pass_time(left - 0.02 * round_)
    asked.refresh_from_db()
    results = at_once(lambda: desk.approve(asked), conduct.expire_due)
    if isinstance(results[0], Refused):
        conduct.expire_due()  # it came too late for the approval; by now nobody is in time
        assert not Decision.objects.exists()
        assert asked.failovers.get().state in (State.EXPIRED, State.REQUESTED)
        assert database_now() >= asked.decide_by or asked.failovers.get().state == State.EXPIRED
    else:
        assert asked.failovers.get().state == State.APPROVED
        assert not Entry.objects.filter(tag="request.expired").exists()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_approving_on_an_old_page_while_the_facts_change_is_refused_or_seen(desk, round_):
    asked = desk.request()
    desk.clock.pass_time(700)
    results = at_once(lambda: desk.approve(asked), desk.read)
    if isinstance(results[0], Refused):
        assert results[0].field == "seen"
        assert not Decision.objects.exists()
    else:
        facts = Decision.objects.get().facts_seen["items"][0]["facts"]
        assert facts == asked.facts_seen["items"][0]["facts"]  # it came before the reading, on what was shown


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_requests_for_many_that_overlap_are_one_and_none_waits_for_ever(site, cast, round_):
    rows = site.rows
    results = at_once(
        lambda: site.ask_for(rows[:4]),
        lambda: site.ask_for(rows[:0:-1], by=cast.tanaka),
    )
    assert _refusals(results) == 1
    assert Failover.objects.count() == 4


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_reviews_of_one_person_at_once_are_one(desk, cast, round_):
    policy(shares={"": 1}, break_glass=True)
    asked = desk.request(break_glass=True)

    def review():
        return conduct.review(
            user=cast.osei, actor=actor_of(cast.osei), request_pk=asked.pk, comment="Looked.", auth=""
        )

    assert _refusals(at_once(review, review)) == 1
    assert Review.objects.count() == 1


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_one_approver_in_two_tabs_has_one_vote(desk, round_):
    asked = desk.request()
    assert _refusals(at_once(lambda: desk.approve(asked), lambda: desk.approve(asked))) == 1
    assert Decision.objects.count() == 1


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_approving_and_cancelling_at_once_ends_one_way(desk, round_):
    asked = desk.request()
    at_once(lambda: desk.approve(asked), lambda: desk.cancel(asked))
    failover = asked.failovers.get()
    assert failover.state in (State.APPROVED, State.CANCELLED)
    desk.step(failover)
    assert desk.posts == (failover.state == State.REVERTING)
    assert chain.verify().ok


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_cancelling_and_sending_at_once_ends_one_way(desk, round_):
    failover = desk.approved()
    at_once(lambda: desk.cancel(failover.request), lambda: execution.execute(failover.pk))
    failover.refresh_from_db()
    assert (failover.state, desk.posts) in ((State.CANCELLED, 0), (State.REVERTING, 1))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_many_drivers_at_once_send_once(desk, round_):
    failover = desk.approved()

    def drive() -> None:
        # Without the politeness between drivers: each believes that it is its turn.
        own = Failover.objects.select_related("request", "relationship__cluster").get(pk=failover.pk)
        with access.executor(own.relationship.cluster) as door:
            read = door.read(own.relationship)
            mine = execution._intend(own, read)
            if mine:
                execution._post(own, door, read, mine)

    at_once(*[drive] * 6)
    failover.refresh_from_db()
    assert (failover.state, failover.attempts, desk.posts) == (State.REVERTING, 1, 1)
    assert Entry.objects.filter(tag="failover.sent").count() == 1


class Witness(httpx.BaseTransport):
    """What others can see in the database at the moment when the make-writable arrives."""

    def __init__(self, desk: Any, failover: Failover) -> None:
        self.inner, self.failover, self.saw = transport(desk.target), failover, list[Any]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.saw += at_once(
                lambda: (Failover.objects.get(pk=self.failover.pk).state, Entry.objects.latest("seq").tag)
            )
        return self.inner.handle_request(request)


def test_the_intent_and_its_entry_are_committed_before_the_cluster_hears_of_it(desk):
    failover = desk.approved()
    witness = Witness(desk, failover)
    access.through(desk.cluster.url, witness)
    desk.step(failover)
    assert witness.saw == [(State.SENT, "failover.sent")]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_requests_at_once_are_one(desk, cast, round_):
    results = at_once(desk.request, lambda: desk.request(by=cast.tanaka))
    assert _refusals(results) == 1
    assert Failover.objects.open().count() == 1


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_double_click_at_once_is_one_request_and_no_error(desk, round_):
    nonce = uuid.uuid4()
    first, second = at_once(lambda: desk.request(nonce=nonce), lambda: desk.request(nonce=nonce))
    assert first == second
    assert Failover.objects.count() == 1


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_sender_whose_commit_failed_cannot_take_back_anothers_intent(desk, attempts):
    """The nonce, not the number of the attempt, says whose intent it is."""
    failover = desk.sent(faults.lost_answer(path="/make-writable"))
    assert (failover.state, failover.attempts) == (State.SENT, 1)
    Failover.objects.filter(pk=failover.pk).update(attempts=attempts)
    execution._not_sent(failover, "another sender's nonce", "The intent could not be committed.")
    failover.refresh_from_db()
    assert failover.state == State.SENT
    desk.step(failover)
    assert desk.posts == 1
