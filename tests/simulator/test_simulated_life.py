"""One relationship over time: jobs, reverts, the way back, the end."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest

from dashboard.simulator import ManualClock, Relationship, RevertEnds, State, World, transport, wire


@pytest.fixture
def finance(world: World) -> Relationship:
    return world.relationship("/dr/finance")


def at(text: object) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def test_a_job_runs_when_its_time_comes_and_then_moves_the_recovery_point(clock, finance):
    before = finance.status()
    assert (before["job_state"], before["replication_job_status"]) == ("REPLICATION_NOT_RUNNING", None)

    clock.pass_time(330)  # the point is five minutes old and the next job starts ten minutes after it: it runs
    during = finance.status()
    assert during["job_state"] == "REPLICATION_RUNNING"
    assert during["recovery_point"] == before["recovery_point"]
    started = during["job_start_time"]

    clock.pass_time(60)
    after = finance.status()
    assert after["job_start_time"] == ""
    assert after["recovery_point"] == started, "the recovery point is the start of the last job that succeeded"
    assert after["recovery_point_snapshot"]["name"] == "replication_from_prod"
    assert after["recovery_point_snapshot"]["id"] > before["recovery_point_snapshot"]["id"]
    assert int(after["duration_of_last_job"]["nanoseconds"]) == pytest.approx(60e9)


def test_the_percentage_grows_with_the_clock_and_the_figures_add_up(clock, finance):
    clock.pass_time(301)
    seen = []
    for _ in range(5):
        clock.pass_time(10)
        figures = finance.status()["replication_job_status"]
        seen.append(figures["percent_complete"])
        assert len(figures) == 14
        for unit in ("bytes", "files"):
            parts = [int(figures[f"{unit}_{part}"]) for part in ("transferred", "unchanged", "remaining")]
            assert sum(parts) == int(figures[f"{unit}_total"])
    assert seen == sorted(set(seen))
    assert 0 < seen[0] < seen[-1] < 100
    assert all(isinstance(figures[name], str) for name in figures if name != "percent_complete")


def test_hours_that_nobody_looked_at_are_played_each_job_at_its_own_time(clock):
    """Two worlds, one looked at every ten seconds, one only at the end, must not differ."""
    from dashboard.simulator import scenarios

    watched, left_alone = scenarios.pair(clock), scenarios.pair(clock)
    for _ in range(720):
        clock.pass_time(10)
        watched.advance()
    seen, unseen = (world.relationship("/dr/finance").status() for world in (watched, left_alone))
    for volatile in ("source_cluster_uuid", "target_cluster_uuid"):
        assert seen[volatile] == unseen[volatile]
    assert seen == unseen
    assert clock() - at(seen["recovery_point"]) < 661


def test_a_failing_job_leaves_its_error_and_the_old_recovery_point(clock, finance):
    finance.jobs_fail("Target cluster error: Snapshot limit of 40000 has been reached.")
    point = finance.status()["recovery_point"]
    clock.pass_time(400)
    assert finance.status()["error_from_last_job"].startswith("Target cluster error")
    assert finance.status()["recovery_point"] == point
    assert finance.status()["state"] == "ESTABLISHED"

    clock.pass_time(550)
    assert finance.status()["error_from_last_job"] != "", "it persists while the next job runs"

    finance.jobs_work()
    clock.pass_time(700)
    assert finance.status()["error_from_last_job"] == ""
    assert finance.status()["recovery_point"] > point


def test_a_stalled_job_stands_still_and_goes_on_where_it_stopped(clock, finance):
    clock.pass_time(330)
    finance.jobs_stall()
    stood = finance.status()["replication_job_status"]["percent_complete"]
    clock.pass_time(3600)
    figures = finance.status()["replication_job_status"]
    assert figures["percent_complete"] == stood
    assert (figures["throughput_current"], figures["estimated_seconds_remaining"]) == ("0", None)

    finance.jobs_work()
    clock.pass_time(10)
    assert finance.status()["replication_job_status"]["percent_complete"] == pytest.approx(stood + 100 / 6)


def test_a_revert_ends_writable_and_leaves_its_snapshot_and_the_recovery_point(clock, finance):
    before = finance.status()
    finance.make_writable(clock())
    reverting = finance.status()
    assert (reverting["state"], reverting["target_root_read_only"]) == ("DISCONNECTING", True)

    clock.pass_time(3)
    done = finance.status()
    assert (done["state"], done["target_root_read_only"]) == ("DISCONNECTED", False)
    assert (done["job_state"], done["replication_job_status"]) == ("REPLICATION_NOT_RUNNING", None)
    assert done["recovery_point"] == before["recovery_point"]
    old = before["recovery_point_snapshot"]["id"]
    snapshot = done["recovery_point_snapshot"]
    assert snapshot["name"] == f"revert_to_{old}_for_prod"
    assert snapshot["directory_name"] == f"{snapshot['id']}_{snapshot['name']}"

    clock.pass_time(7200)
    assert finance.status() == done, "nothing replicates onto a writable target"


@pytest.mark.parametrize("shows", [True, False])
def test_a_revert_shows_figures_or_none(clock, finance, shows):
    finance.revert_shows_progress, finance.revert_takes = shows, 20
    finance.make_writable(clock())
    clock.pass_time(5)
    figures = finance.status()["replication_job_status"]
    if shows:
        assert figures["percent_complete"] == pytest.approx(25)
    else:
        assert figures is None
    assert finance.status()["job_state"] == ("REPLICATION_RUNNING" if shows else "REPLICATION_NOT_RUNNING")


def test_a_hung_revert_never_ends(clock, finance):
    finance.revert_ends = RevertEnds.HANGS
    finance.make_writable(clock())
    clock.pass_time(86400)
    assert finance.status()["state"] == "DISCONNECTING"
    assert finance.status()["replication_job_status"]["percent_complete"] == pytest.approx(41)


def test_a_failing_revert_goes_back_to_established_with_an_error(clock, finance):
    finance.revert_ends = RevertEnds.FAILS
    finance.make_writable(clock())
    clock.pass_time(4)
    status = finance.status()
    assert (status["state"], status["target_root_read_only"]) == ("ESTABLISHED", True)
    assert status["error_from_last_job"] == finance.revert_error


def test_making_it_writable_gives_a_running_job_up(clock, finance):
    clock.pass_time(330)
    point = finance.status()["recovery_point"]
    finance.make_writable(clock())
    clock.pass_time(120)
    assert finance.status()["recovery_point"] == point


def test_a_policy_snapshot_of_a_job_that_was_given_up_goes_back_into_the_queue(clock, finance):
    finance.queue.append(wire.snapshot(496, "hourly_prod", clock(), file_id="2", by_policy=True))
    clock.pass_time(330)
    assert finance.source_status()["replicating_snapshot"]["id"] == 496
    finance.make_writable(clock())
    source = finance.source_status()
    assert (source["queued_snapshot_count"], source["replicating_snapshot"]) == (1, None)


def test_reconnecting_makes_it_read_only_and_replication_resumes(clock, finance):
    finance.make_writable(clock())
    clock.pass_time(3)
    point = finance.status()["recovery_point"]
    finance.reconnect(clock())
    assert (finance.status()["state"], finance.status()["target_root_read_only"]) == ("RECONNECTING", True)
    clock.pass_time(4)
    assert (finance.status()["state"], finance.status()["job_state"]) == ("ESTABLISHED", "REPLICATION_RUNNING")
    clock.pass_time(61)
    assert finance.status()["recovery_point"] > point


def test_a_reversal_swaps_the_ends_and_needs_a_reconnect(clock, finance):
    finance.make_writable(clock())
    clock.pass_time(3)
    assert finance.status()["state"] == "DISCONNECTED"
    finance.target.lock_key = "key-of-dr"
    finance.reverse("10.0.0.7", 3712)
    status = finance.status()
    assert (status["state"], status["source_cluster_name"], status["target_cluster_name"]) == (
        "DISCONNECTED",
        "dr",
        "prod",
    )
    assert (status["source_root_path"], status["lock_key"]) == ("/dr/finance/", None)
    assert finance.source_status()["target_address"] == "10.0.0.7"

    finance.reconnect(clock())
    assert finance.status()["state"] == "REESTABLISHING"
    clock.pass_time(4)
    assert finance.status()["state"] == "ESTABLISHED"
    assert finance.source_status()["replication_mode"] == "REPLICATION_CONTINUOUS"

    finance.make_writable(clock())
    clock.pass_time(3)
    assert finance.status()["state"] == "DISCONNECTED"
    finance.reconnect(clock())
    assert finance.status()["state"] == "RECONNECTING", "once re-established it is like any other"


def test_a_policy_snapshot_is_replicated_before_its_time_and_kept_under_its_name(clock, finance):
    """The recovery point is the job's start, the data is as old as the policy's snapshot."""
    taken = clock() - 3600
    finance.queue.append(wire.snapshot(496, "hourly_prod", taken, file_id="2", by_policy=True))
    assert finance.source_status()["queued_snapshot_count"] == 1
    clock.pass_time(310)
    assert finance.source_status()["queued_snapshot_count"] == 0
    assert finance.source_status()["replicating_snapshot"]["id"] == 496
    started = finance.status()["job_start_time"]
    clock.pass_time(60)
    status = finance.status()
    assert status["recovery_point"] == started
    assert status["recovery_point_snapshot"]["name"] == "replication_from_prod_hourly_prod"
    assert at(status["recovery_point_snapshot"]["timestamp"]) == pytest.approx(taken, abs=1e-5)


def _on_the_source(finance, method, path, body=None):
    """What its admin asks of it, through its own door."""
    cluster = finance.source.cluster
    with httpx.Client(transport=transport(cluster), base_url="https://x") as client:
        who = {"username": cluster.username, "password": cluster.password}
        client.headers["Authorization"] = f"Bearer {client.post('/v1/session/login', json=who).json()['bearer_token']}"
        answer = client.request(method, f"/v2/replication/source-relationships/{finance.id}{path}", json=body)
    assert answer.is_success, answer.text


def test_a_planned_failover_can_be_played_by_the_calls_of_the_api(clock, finance):
    """Source read-only, one more job, a recovery point later than that: both ends show it."""
    clock.pass_time(10)
    _on_the_source(finance, "PATCH", "", {"source_root_read_only": True})
    since = clock()
    assert finance.status()["source_root_read_only"] is True
    assert finance.source_status()["source_root_read_only"] is True
    clock.pass_time(5)
    _on_the_source(finance, "POST", "/replicate")
    assert finance.status()["job_state"] == "REPLICATION_RUNNING"
    clock.pass_time(61)
    status = finance.status()
    assert (status["job_state"], status["error_from_last_job"]) == ("REPLICATION_NOT_RUNNING", "")
    assert at(status["recovery_point"]) > since


def test_where_only_policy_snapshots_are_replicated_a_job_after_read_only_brings_old_data(clock, finance):
    """The trap: its recovery point is later than the source is read-only, what it brought is not, and no job follows
    until continuous replication is on."""
    finance.settings.replication_mode = "REPLICATION_SNAPSHOT_POLICY"
    finance.take_policy_snapshot("hourly")
    taken = clock()
    clock.pass_time(200)
    finance.source.read_only = True
    since = clock()
    clock.pass_time(400)
    trapped = finance.status()
    assert at(trapped["recovery_point"]) > since
    assert at(trapped["recovery_point_snapshot"]["timestamp"]) == pytest.approx(taken, abs=1e-5)
    assert trapped["recovery_point_snapshot"]["name"] == "replication_from_prod_hourly"

    clock.pass_time(7200)
    finance.replicate(clock())
    assert finance.status() == trapped
    _on_the_source(finance, "PATCH", "", {"replication_mode": "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS"})
    switched = clock()
    clock.pass_time(61)
    status = finance.status()
    assert at(status["recovery_point"]) == pytest.approx(switched, abs=1e-5), "not at a time when no job could start"
    assert status["recovery_point_snapshot"]["name"] == "replication_from_prod"


def test_policy_snapshots_go_before_continuous_jobs(clock, finance):
    finance.settings.replication_mode = "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS"
    finance.take_policy_snapshot("hourly")
    finance.take_policy_snapshot("daily")
    names = []
    for _ in range(3):
        finance.replicate(clock())
        clock.pass_time(61)
        names.append(finance.status()["recovery_point_snapshot"]["name"])
    assert names == ["replication_from_prod_hourly", "replication_from_prod_daily", "replication_from_prod"]


def test_jobs_that_were_held_back_are_not_made_up_for(clock, finance):
    finance.settings.replication_enabled = False
    clock.pass_time(7200)
    finance.status()
    finance.settings.replication_enabled = True
    assert finance.status()["job_state"] == "REPLICATION_RUNNING"
    clock.pass_time(61)
    assert at(finance.status()["recovery_point"]) == pytest.approx(clock() - 61, abs=0.01)


def test_a_failed_job_puts_its_policy_snapshot_back_into_the_queue(clock, finance):
    finance.queue.append(wire.snapshot(496, "hourly_prod", clock(), file_id="2", by_policy=True))
    finance.jobs_fail("no space")
    clock.pass_time(400)
    assert finance.source_status()["queued_snapshot_count"] == 1
    assert finance.source_status()["replicating_snapshot"] is None


def test_no_job_starts_in_a_blackout_window_or_while_disabled(clock, finance):
    finance.next_active_at = clock() + 7200
    clock.pass_time(7100)
    assert finance.source_status()["next_active_time"] != ""
    assert finance.status()["job_state"] == "REPLICATION_NOT_RUNNING"
    clock.pass_time(110)
    assert finance.source_status()["next_active_time"] == ""
    assert finance.status()["job_state"] == "REPLICATION_RUNNING"

    clock.pass_time(100)
    finance.settings.replication_enabled = False
    point = finance.status()["recovery_point"]
    clock.pass_time(7200)
    assert finance.status()["recovery_point"] == point


def test_a_source_whose_clock_is_ahead_stamps_its_jobs_and_recovery_points_so(clock, finance, prod):
    prod.clock_ahead = 7200
    clock.pass_time(330)
    started = finance.status()["job_start_time"]
    clock.pass_time(70)
    assert finance.status()["recovery_point"] == started
    assert at(started) > clock() + 6000


def test_the_recovery_point_can_be_moved_backwards(finance):
    before = finance.status()["recovery_point"]
    finance.move_recovery_point(-3600)
    assert at(finance.status()["recovery_point"]) == pytest.approx(at(before) - 3600)


def test_a_clock_set_back_stops_the_world_but_never_turns_it_back(clock, finance):
    clock.pass_time(330)
    running = finance.status()
    clock.pass_time(-20)
    assert finance.status() == running


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1745334600.0, "2025-04-22T15:10:00Z"),
        (1745334600.5, "2025-04-22T15:10:00.5Z"),
        (None, ""),
    ],
)
def test_times_are_utc_with_trimmed_nanoseconds(seconds, text):
    assert wire.timestamp(seconds) == text


def test_times_of_jobs_have_six_to_nine_digits(clock, finance):
    clock.pass_time(400)
    text = finance.status()["recovery_point"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z", text)
    assert datetime.fromisoformat(text).tzinfo == UTC


def test_both_ends_tell_the_same_story_under_one_id(clock, finance):
    clock.pass_time(330)
    target, source = finance.status(), finance.source_status()
    assert (len(target), len(source)) == (23, 30)
    shared = target.keys() & source.keys()
    assert len(shared) == 19
    assert {name: target[name] for name in shared} == {name: source[name] for name in shared}
    assert target.keys() - shared == {"source_address", "source_port", "target_root_id", "lock_key"}


def test_a_world_with_the_same_seed_is_the_same_world():
    def ids(seed: int) -> tuple[list[str], list[str]]:
        world = World(ManualClock(0), seed=seed)
        world.relate(world.add_cluster("a"), "/a", world.add_cluster("b"), "/b")
        return [cluster.uuid for cluster in world.clusters.values()], list(world.relationships)

    assert ids(7) == ids(7)
    assert ids(7) != ids(8)


def test_every_state_can_be_built(world, prod, dr):
    for number, state in enumerate(State):
        percent = 50 if state in (State.DISCONNECTING, State.RECONNECTING, State.REESTABLISHING) else None
        age = None if state is State.AWAITING_AUTHORIZATION else 60
        it = world.relate(prod, f"/s/{number}", dr, f"/t/{number}", state=state, age=age, percent=percent)
        status = it.status()
        assert status["state"] == state
        writable = state in (State.AWAITING_AUTHORIZATION, State.DISCONNECTED, State.ENDED)
        assert status["target_root_read_only"] is not writable
        assert bool(status["end_reason"]) == (state is State.ENDED)
        assert bool(status["recovery_point"]) == (age is not None)


def test_its_past_says_in_which_states_it_was_and_when(world, clock, finance):
    world.advance()
    began = clock()
    with world.entered() as now:
        finance.make_writable(now)
        finance.advance(now)
    clock.pass_time(3600)
    world.advance()
    assert finance.was(began - 10, began - 0.1) == set()  # nobody knows of a time before its first moment
    assert finance.was(began, began + 1) == {(State.ESTABLISHED, True), (State.DISCONNECTING, True)}
    assert finance.was(began + 1, began + 2) == {(State.DISCONNECTING, True)}
    assert finance.was(began + 10, began + 20) == {(State.DISCONNECTED, False)}
