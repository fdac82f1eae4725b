"""Asking: what bad input gets, and that nothing is queued by it."""

from __future__ import annotations

import uuid

import pytest

from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.models import Relationship
from dashboard.simulator import State as Api
from dashboard.simulator import faults
from tests.failovers.desk import pass_time


def _refused(desk, **changes) -> Refused:
    entries = Entry.objects.count()
    with pytest.raises(Refused) as caught:
        desk.request(**changes)
    assert not Request.objects.exists()
    assert not Failover.objects.exists()
    assert Entry.objects.count() == entries  # the refused verb leaves nothing of its own behind
    desk.row.refresh_from_db()
    assert desk.row.held_by == ""
    return caught.value


def test_a_request_waits_and_marks_its_relationship(desk):
    asked = desk.request()
    failover = asked.failovers.get()
    assert failover.state == State.REQUESTED
    desk.row.refresh_from_db()
    assert (desk.row.held_by, desk.row.held_phase, desk.row.held_note) == (f"FO-{asked.pk}", "waiting", "0/1")
    assert Entry.objects.latest("seq").tag == "request.made"


def test_what_was_asked_is_bound_to_what_was_read(desk):
    asked = desk.request()
    item = asked.items[0]
    assert item.target_cluster_uuid == desk.target.uuid
    assert item.recovery_point == desk.row.status["recovery_point"]
    (seen,) = asked.facts_seen["items"]
    assert {fact["key"] for fact in seen["facts"]} >= {"state", "recovery_point", "source", "access"}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"typed": "/dr/finances"}, "typed", "The path does not match. Type /dr/finance"),
        ({"typed": ""}, "typed", "The path does not match. Type /dr/finance"),
        ({"reason": ""}, "reason", "Say in a few words why, at least 10 characters."),
        ({"reason": "   because    "}, "reason", "Say in a few words why, at least 10 characters."),
        ({"reason": "x" * 2001}, "reason", "The reason is longer than 2000 characters."),
        ({"ticket": "x" * 65}, "ticket", "The ticket is longer than 64 characters."),
    ],
)
def test_bad_input_gets_one_sentence_at_its_field(desk, changes, field, words):
    refusal = _refused(desk, **changes)
    assert (refusal.field, refusal.words) == (field, words)


@pytest.mark.parametrize("typed", [" /dr/finance ", "/dr/finance/"])
def test_the_path_may_be_typed_as_the_cluster_writes_it(desk, typed):
    assert desk.request(typed=typed).pk


@pytest.mark.parametrize("who", ["lind", "okafor", "viewer", "admin"])
def test_only_an_operator_may_ask(desk, cast, who):
    assert _refused(desk, by=getattr(cast, who)).words == "You may not request failovers for dr."


def test_a_relationship_that_another_request_holds_is_refused_by_name(desk, cast):
    first = desk.request()
    with pytest.raises(Refused) as caught:
        desk.request(by=cast.tanaka)
    assert caught.value.words == f"FO-{first.pk} is open for this relationship."
    assert Request.objects.count() == 1


def test_a_double_click_is_one_request(desk):
    nonce = uuid.uuid4()
    assert desk.request(nonce=nonce).pk == desk.request(nonce=nonce).pk
    assert Request.objects.count() == 1


def test_somebody_elses_nonce_is_not_theirs(desk, cast):
    nonce = uuid.uuid4()
    desk.request(nonce=nonce)
    with pytest.raises(Refused, match="used for another request"):
        desk.request(nonce=nonce, by=cast.tanaka)


def test_a_form_that_was_used_is_not_another_relationships(desk):
    nonce = uuid.uuid4()
    first = desk.request(nonce=nonce)
    desk.world.relate(desk.world.clusters["prod"], "/prod/legal", desk.target, "/dr/legal")
    desk.read()
    desk.row = Relationship.objects.get(target_root_path="/dr/legal/")
    with pytest.raises(Refused, match="used for another request"):
        desk.request(nonce=nonce, typed="/dr/legal")
    assert [asked.pk for asked in Request.objects.all()] == [first.pk]


def test_a_relationship_that_is_not_established_is_refused(desk):
    desk.sim.state = Api.RECONNECTING
    desk.read()
    assert _refused(desk).words == "The relationship is being reconnected. Wait until it is established."


def test_a_relationship_without_a_recovery_point_is_refused(desk):
    desk.sim.recovery_point = None
    desk.read()
    assert _refused(desk).words == "No job has ever succeeded: there is nothing to go back to."


def test_a_cluster_that_does_not_answer_is_refused(desk):
    desk.target.faults.add(faults.refused())
    desk.read()
    assert _refused(desk).words == "dr does not answer."


def test_an_observation_that_is_too_old_asks_for_a_reading(desk):
    pass_time(31)
    assert "Read it again before you ask." in _refused(desk).words


def test_a_cluster_without_executor_token_is_watched_only(desk):
    desk.cluster.executor_token = ""
    desk.cluster.save()
    assert _refused(desk).words == "Failover Desk has no executor token for dr."


def test_asking_again_after_the_end_is_a_new_request(desk):
    first = desk.request()
    desk.cancel(first)
    assert desk.request().pk != first.pk
