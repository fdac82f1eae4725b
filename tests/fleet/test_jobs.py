"""What jobs copied, as far as it was seen, and what that says about a stretch of time: an estimate with its method."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.fleet.jobs import Job, by_jobs, estimate
from dashboard.fleet.models import RecoveryPoint
from tests.fleet.lookout import Lookout, pass_time

NOW = datetime(2026, 3, 14, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _jobs(*copied: int | None, covers: timedelta = 10 * MINUTE) -> list[Job]:
    """Newest first, one after the other; the newest left the recovery point that is kept now."""
    return [Job(NOW - position * covers, covers, each) for position, each in enumerate(copied)]


def _about(jobs: list[Job], window: timedelta = 10 * MINUTE) -> int | None:
    found = by_jobs(jobs, since=NOW, until=NOW + window)
    return None if found is None else found.bytes


# ── The arithmetic ──


def test_the_median_rate_times_the_window():
    assert _about(_jobs(100, 900, 200), 5 * MINUTE) == 100  # 20 a minute
    assert _about(_jobs(100, 900, 200, 300), 10 * MINUTE) == 250


def test_a_rate_is_over_the_time_that_a_job_covers_and_not_the_time_that_it_ran():
    jobs = [Job(NOW, 10 * MINUTE, 600), Job(NOW, 5 * MINUTE, 600), Job(NOW, 60 * MINUTE, 600)]
    assert _about(jobs, 10 * MINUTE) == 600


@pytest.mark.parametrize(
    ("jobs", "window"),
    [
        ([], 10 * MINUTE),
        (_jobs(100, 100), 10 * MINUTE),
        (_jobs(100, 100, None), 10 * MINUTE),  # two are too few
        (_jobs(100, 100, 100, None, None, None, None), 10 * MINUTE),  # most were not seen
        (_jobs(100, 100, 100), 31 * MINUTE),  # longer than all of them
        (_jobs(100, 100, 100), timedelta(0)),
        (_jobs(100, 100, 100), -MINUTE),
    ],
)
def test_what_the_jobs_do_not_tell_is_not_estimated(jobs, window):
    assert _about(jobs, window) is None


def test_it_reaches_as_far_as_the_jobs_together_cover_and_no_further():
    assert _about(_jobs(100, 100, 100), 30 * MINUTE) == 300
    assert _about(_jobs(100, 100, 100), 30 * MINUTE + timedelta(seconds=1)) is None


def test_jobs_of_long_ago_say_nothing():
    """The desk was down for a day: what it had seen before does not reach to now."""
    old = [job._replace(at=job.at - timedelta(days=1)) for job in _jobs(100, 100, 100)]
    assert _about(old) is None


def test_jobs_that_were_not_seen_count_against_those_that_were():
    assert _about(_jobs(100, 100, 100, None, None, None)) == 100
    assert _about(_jobs(100, 100, 100, None, None, None, None)) is None


def test_an_idle_source_loses_about_nothing():
    found = by_jobs(_jobs(0, 0, 0), since=NOW, until=NOW + MINUTE)
    assert found is not None
    assert (found.bytes, found.words.partition(":")[0]) == (0, "About 0 B")


def test_a_figure_comes_with_its_method():
    found = by_jobs(_jobs(*[410_000_000] * 12), since=NOW, until=NOW + 75 * MINUTE)
    assert found is not None
    assert found.words == "About 3.08 GB: the last 12 jobs copied at least 41.0 MB a minute (median)."
    assert found.method == (
        "The bytes that each job had copied when it was last seen, at 80 % or later, over the time between the "
        "recovery points before and after it; the median of these, times 1 h 15 min."
    )


def test_it_says_when_not_all_of_them_were_seen():
    found = by_jobs(_jobs(600, 600, 600, None), since=NOW, until=NOW + MINUTE)
    assert found is not None
    assert found.words == "About 60 B: 3 of the last 4 jobs copied at least 60 B a minute (median)."


# ── What is seen of a job ──


def _run(lookout: Lookout, *, seen_at: float = 0.95) -> None:
    """The next job runs, is read at that part of its way (0: not at all), ends, and that is read."""
    sim, clock = lookout.sim, lookout.clock
    sim.status()
    if seen_at:
        clock.pass_time(max(0.0, (sim.next_job_at or 0) - clock()) + seen_at * sim.takes)
        lookout.read()
        clock.pass_time((1 - seen_at) * sim.takes + 1)
    else:
        clock.pass_time(max(0.0, (sim.next_job_at or 0) - clock()) + sim.takes + 1)
    lookout.read()


def test_a_job_that_was_seen_near_its_end_leaves_what_it_copied(lookout):
    before = lookout.row.loss_from
    _run(lookout)
    point = RecoveryPoint.objects.latest("pk")
    whole = lookout.sim.rate * lookout.sim.takes
    assert point.at == lookout.row.recovery_point_at
    assert point.covers == lookout.row.loss_from - before
    assert point.covers.total_seconds() == pytest.approx(600, abs=2)
    assert 0.9 * whole <= point.copied <= whole


@pytest.mark.parametrize("part", [0, 0.5, 0.79])
def test_of_a_job_that_was_not_seen_so_late_nothing_is_claimed(lookout, part):
    _run(lookout, seen_at=part)
    point = RecoveryPoint.objects.latest("pk")
    assert point.copied is None
    assert point.covers is not None


def test_the_first_recovery_point_covers_nothing_that_is_known(lookout):
    point = RecoveryPoint.objects.get()
    assert (point.covers, point.copied) == (None, None)


def test_a_job_that_failed_leaves_nothing(lookout):
    lookout.sim.jobs_fail("Connection timed out")
    _run(lookout)
    assert lookout.row.failed_jobs == 1
    assert RecoveryPoint.objects.count() == 1


def test_what_was_seen_of_one_job_is_not_taken_for_another(lookout):
    """One was seen near its end; then nothing was read until several more had ended."""
    lookout.sim.status()
    lookout.clock.pass_time(max(0.0, lookout.sim.next_job_at - lookout.clock()) + 0.95 * lookout.sim.takes)
    lookout.read()
    lookout.clock.pass_time(3 * lookout.sim.every)
    lookout.read()
    point = RecoveryPoint.objects.latest("pk")
    assert point.at == lookout.row.recovery_point_at
    assert point.copied is None
    assert point.covers is not None
    assert point.covers.total_seconds() > lookout.sim.every


def test_a_policy_snapshot_that_had_waited_covers_nothing_new(lookout):
    stamp = "2026-01-01T00:00:00Z"
    snapshot = lookout.rows()[0]["recovery_point_snapshot"] | {"timestamp": stamp}
    moved = lookout.row.recovery_point_at + MINUTE
    lookout.row_says(recovery_point=f"{moved:%Y-%m-%dT%H:%M:%S.%fZ}", recovery_point_snapshot=snapshot)
    lookout.read()
    assert RecoveryPoint.objects.latest("pk").covers is None


def test_a_source_whose_clock_is_ahead_is_seen_as_well(lookout):
    lookout.world.clusters["prod"].clock_ahead = 3600
    _run(lookout)
    assert RecoveryPoint.objects.latest("pk").copied is not None


def test_three_jobs_make_an_estimate_and_one_query(lookout):
    for _ in range(2):
        _run(lookout)
    row = lookout.row
    assert estimate(row, since=row.loss_from, until=row.loss_from + 10 * MINUTE) is None
    _run(lookout)
    row = lookout.row
    with CaptureQueriesContext(connection) as asked:
        found = estimate(row, since=row.loss_from, until=row.loss_from + 10 * MINUTE)
    assert len(asked) == 1
    assert found is not None
    assert found.bytes == pytest.approx(lookout.sim.rate * lookout.sim.takes, rel=0.1)
    assert found.words.startswith("About 2")


def test_only_the_last_twelve_jobs_count(lookout):
    row, point = lookout.row, RecoveryPoint.objects.get()
    for position in range(15):
        at = point.at - position * 10 * MINUTE
        copied = 1000 if position < 12 else 10**12
        RecoveryPoint.objects.create(relationship=row, at=at, seen_at=at, covers=10 * MINUTE, copied=copied)
    found = estimate(row, since=point.at, until=point.at + 10 * MINUTE)
    assert found is not None
    assert found.bytes == 1000
    assert "the last 12 jobs" in found.words
    assert estimate(row, since=point.at, until=point.at + 121 * MINUTE) is None


def test_later_than_the_first_hour_jobs_are_kept_five_minutes_apart(lookout):
    pass_time(3700)
    lookout.sim.every = 120
    _run(lookout)
    _run(lookout)
    assert RecoveryPoint.objects.count() == 2


def test_rows_of_other_relationships_do_not_count(lookout):
    for _ in range(3):
        _run(lookout)
    lookout.world.relate(lookout.world.clusters["prod"], "/prod/hr", lookout.target, "/dr/hr")
    lookout.read()
    other = type(lookout.row).objects.get(target_root_path="/dr/hr/")
    assert estimate(other, since=other.loss_from, until=other.loss_from + MINUTE) is None
