"""Watching: success is two agreeing readings, and nothing else; everything else is shown, and moves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import execution, readings, story, watching
from dashboard.failovers.lifecycle import Concern, State
from dashboard.failovers.models import Failover
from dashboard.fleet import access
from dashboard.fleet.models import Observation
from dashboard.simulator import RevertEnds, faults
from dashboard.simulator import State as Api
from tests.failovers.desk import pass_time


def _concern(failover) -> Concern | None:
    return readings.concern(failover, database_now())


def test_one_reading_of_a_writable_target_is_not_success(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    assert failover.state == State.REVERTING
    assert failover.first_writable_at is not None


def test_two_readings_too_close_together_are_one(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    desk.step(failover)
    assert failover.state == State.REVERTING


def test_a_contradicting_reading_between_them_starts_the_count_again(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTING, True
    pass_time(3)
    desk.step(failover)
    assert failover.first_writable_at is None
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTED, False
    desk.step(failover)
    assert failover.state == State.REVERTING
    pass_time(3)
    assert desk.step(failover).state == State.SUCCEEDED


def test_a_failed_reading_between_them_starts_the_count_again(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    desk.target.faults.add(faults.no_answer(applied=False, path="/status", count=4))
    pass_time(3)
    desk.step(failover)
    assert failover.first_writable_at is None


def _as_another_driver(failover: Failover) -> Failover:
    return Failover.objects.select_related("request", "relationship__cluster").get(pk=failover.pk)


def test_a_slow_reading_does_not_agree_across_a_contradiction(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    pass_time(3)
    slow = _as_another_driver(failover)
    with access.reader(desk.cluster) as door:
        read = door.read(slow.relationship)
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTING, True
    desk.step(failover)
    watching._judge(slow, read, Api.DISCONNECTED)
    failover.refresh_from_db()
    assert failover.state == State.REVERTING


def test_a_contradiction_counts_though_its_driver_began_before_the_first_reading(desk):
    failover = desk.sent()
    early = _as_another_driver(failover)
    desk.clock.pass_time(60)
    desk.step(failover)
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTING, True
    with access.reader(desk.cluster) as door:
        watching._judge(early, door.read(early.relationship), "")
    failover.refresh_from_db()
    assert failover.first_writable_at is None


def test_silence_counts_though_its_driver_still_believed_it_was_sent(desk):
    failover = desk.sent(faults.lost_answer(path="/make-writable"))
    early = _as_another_driver(failover)
    desk.clock.pass_time(1)
    desk.step(failover)
    desk.clock.pass_time(60)
    desk.step(failover)
    assert failover.first_writable_at is not None
    watching._unanswered(early, "No answer.", "unreachable")
    failover.refresh_from_db()
    assert failover.first_writable_at is None


def test_a_reading_of_an_earlier_attempt_agrees_with_none_of_this_one(desk):
    failover = desk.approved()
    with access.executor(desk.cluster) as door:
        mine = execution._intend(_as_another_driver(failover), door.read(failover.relationship))
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTED, False
    desk.step(failover)
    assert failover.first_writable_at is not None
    desk.sim.state, desk.sim.target.read_only = Api.ESTABLISHED, True
    execution._not_sent(failover, mine or "", "The cluster could not be reached.")
    desk.step(failover)
    desk.clock.pass_time(60)
    pass_time(3)
    assert desk.step(failover).state == State.REVERTING
    pass_time(3)
    assert desk.step(failover).state == State.SUCCEEDED


def test_disconnected_but_still_read_only_is_not_success(desk):
    failover = desk.sent()
    desk.sim.state, desk.sim.target.read_only = Api.DISCONNECTED, True
    for _ in range(3):
        pass_time(3)
        desk.step(failover)
    assert failover.state == State.REVERTING


def test_a_hung_revert_stays_what_it_is(desk):
    desk.sim.revert_ends = RevertEnds.HANGS
    failover = desk.sent()
    desk.clock.pass_time(7200)
    pass_time(7200)
    desk.step(failover)
    assert failover.state == State.REVERTING
    assert _concern(failover) is None
    assert desk.posts == 1


def test_a_revert_that_fails_calls_a_person(desk):
    desk.sim.revert_ends = RevertEnds.FAILS
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.step(failover)
    assert failover.state == State.REVERTING
    assert _concern(failover) is Concern.BACK_TO_ESTABLISHED
    assert Entry.objects.filter(tag="failover.outside").count() == 1
    desk.step(failover)
    assert Entry.objects.filter(tag="failover.outside").count() == 1  # told once, not at each reading
    assert desk.posts == 1


def test_a_relationship_that_somebody_reconnects_calls_a_person(desk):
    failover = desk.sent()
    desk.sim.state = Api.RECONNECTING
    desk.step(failover)
    assert _concern(failover) is Concern.RECONNECTING


def test_a_relationship_that_vanished_calls_a_person_after_a_while(desk):
    failover = desk.sent()
    gone: dict[str, Any] = {"error_class": "http_not_found_error", "description": "No such relationship."}
    desk.target.faults.add(faults.refusal(404, **gone, path=desk.sim.id, count=None))
    desk.step(failover)
    assert _concern(failover) is None
    pass_time(31)
    desk.step(failover)
    assert _concern(failover) is Concern.VANISHED


def test_another_cluster_behind_the_address_calls_a_person_and_is_not_believed(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.target.stand_in = desk.world.add_cluster("impostor")
    desk.step(failover)
    assert _concern(failover) is Concern.IDENTITY
    assert failover.first_writable_at is None


def test_another_directory_under_the_same_id_is_not_believed(desk):
    failover = desk.sent()
    desk.clock.pass_time(60)
    desk.sim.target.path = "/dr/another/"
    for _ in range(2):
        desk.step(failover)
        pass_time(3)
    assert failover.state == State.REVERTING
    assert _concern(failover) is Concern.IDENTITY


def test_silence_calls_a_person_only_after_the_settle_window(desk):
    failover = desk.sent(faults.lost_request(path="/make-writable"))
    desk.target.faults.add(faults.silent())
    desk.step(failover)
    pass_time(60)
    desk.step(failover)
    assert _concern(failover) is None
    pass_time(180)
    desk.step(failover)
    assert _concern(failover) is Concern.UNREACHABLE


def test_each_reading_is_kept_as_evidence(desk):
    failover = desk.sent()
    before = Observation.objects.count()
    desk.step(failover)
    desk.step(failover)
    assert Observation.objects.count() == before + 2


def test_the_log_tells_the_whole_life_newest_first(desk):
    failover = desk.sent()
    desk.see_it_through(failover)
    words = [line.words for line in story.log(failover.request)]
    assert words[0].startswith("Verified")
    assert any("accepted make-writable" in line for line in words)
    assert any(line.startswith("k.osei: Approved") for line in words)
    assert any(line.startswith("a.rivera: Asked") for line in words)


@pytest.mark.parametrize("steps", [1, 3])
def test_progress_is_read_when_the_cluster_reports_it(desk, steps):
    desk.sim.revert_shows_progress = True
    desk.sim.revert_takes = 100
    failover = desk.sent()
    for _ in range(steps):
        desk.clock.pass_time(20)
        desk.step(failover)
    last = Observation.objects.first()
    assert last is not None
    assert last.percent == pytest.approx(20 * steps, abs=3)
