"""The judgement of a relationship: pure, so every line of the table is tried, and the order in which they win."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.fleet.health import ACTIVE_STATES, Facts, Grade, Thresholds, Verdict, grade
from dashboard.words import duration

NOW = datetime(2026, 3, 14, 3, 12, 40, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

FINE = Facts(
    state="ESTABLISHED",
    target_read_only=True,
    source_read_only=False,
    state_since=NOW - timedelta(days=9),
    recovery_point_at=NOW - 5 * MINUTE,
    objective=15 * MINUTE,
    job_running=False,
    replication_enabled=True,
    error="",
    failed_jobs=0,
    stalled_since=None,
    silent_since=None,
    gone=False,
    unreadable=False,
    failover_running=False,
    failed_over_at=None,
)


def judge(now: datetime = NOW, **changed: Any) -> Verdict:
    return grade(replace(FINE, **changed), now, Thresholds())


def test_what_is_as_it_should_be_is_normal_and_has_no_reason():
    verdict = judge()
    assert (verdict.grade, verdict.reason) == (Grade.NORMAL, "")


@pytest.mark.parametrize(
    ("changed", "expected", "reason"),
    [
        ({"silent_since": NOW - MINUTE}, Grade.UNKNOWN, "As of {at}"),
        ({"gone": True}, Grade.UNKNOWN, "No longer listed"),
        ({"unreadable": True}, Grade.UNKNOWN, "Cannot be read"),
        ({"state": "MELTING"}, Grade.UNKNOWN, "State not known here"),
        ({"failover_running": True}, Grade.ACTIVE, "Failover running"),
        ({"state": "DISCONNECTING"}, Grade.ACTIVE, "Being disconnected"),
        ({"state": "RECONNECTING"}, Grade.ACTIVE, "Being reconnected"),
        ({"state": "REESTABLISHING"}, Grade.ACTIVE, "Being re-established"),
        ({"state": "ENDED"}, Grade.INACTIVE, "Ended"),
        ({"state": "AWAITING_AUTHORIZATION"}, Grade.WARNING, "Waiting for {for}"),
        ({"state": "DISCONNECTED"}, Grade.WARNING, "Not replicating"),
        ({"recovery_point_at": NOW - 15 * MINUTE}, Grade.WARNING, "Recovery point late"),
        ({"recovery_point_at": NOW - 30 * MINUTE}, Grade.CRITICAL, "Recovery point late"),
        ({"recovery_point_at": None}, Grade.WARNING, "No recovery point yet"),
        ({"recovery_point_at": NOW + 3 * MINUTE}, Grade.WARNING, "Recovery point in future"),
        ({"recovery_point_at": NOW + MINUTE}, Grade.NORMAL, ""),
        ({"error": "Snapshot limit"}, Grade.WARNING, "Last job failed"),
        ({"failed_jobs": 1}, Grade.WARNING, "Last job failed"),
        ({"failed_jobs": 3}, Grade.CRITICAL, "Last 3 jobs failed"),
        ({"stalled_since": NOW - 5 * MINUTE, "job_running": True}, Grade.WARNING, "Job stalled {for}"),
        ({"stalled_since": NOW - 4 * MINUTE, "job_running": True}, Grade.NORMAL, ""),
        ({"replication_enabled": False}, Grade.WARNING, "Replication is off"),
        ({"replication_enabled": None}, Grade.NORMAL, ""),
    ],
)
def test_each_line_of_the_table_has_its_grade_and_reason(changed, expected, reason):
    verdict = judge(**changed)
    assert (verdict.grade, verdict.reason) == (expected, reason)


def test_a_failover_of_ours_keeps_the_row_calm_until_the_source_is_writable_too():
    ours: dict[str, Any] = {"state": "DISCONNECTED", "failed_over_at": NOW - timedelta(days=2)}
    calm = judge(**ours, source_read_only=True)
    assert (calm.grade, calm.reason, calm.since) == (Grade.ACTIVE, "Failed over {for}", NOW - timedelta(days=2))
    both = judge(**ours, source_read_only=False)
    assert (both.grade, both.reason) == (Grade.WARNING, "Both sides writable")


def test_nothing_that_was_read_counts_while_the_cluster_is_silent():
    worst = judge(
        silent_since=NOW - MINUTE,
        gone=True,
        state="MELTING",
        failed_jobs=9,
        failover_running=True,
        recovery_point_at=None,
    )
    assert (worst.grade, worst.since) == (Grade.UNKNOWN, NOW - MINUTE)


@pytest.mark.parametrize("state", [*ACTIVE_STATES, "ENDED", "DISCONNECTED", "AWAITING_AUTHORIZATION"])
def test_an_old_recovery_point_says_nothing_about_what_does_not_replicate(state):
    verdict = judge(state=state, recovery_point_at=NOW - timedelta(days=400), failed_jobs=9)
    assert verdict.grade is not Grade.CRITICAL
    assert verdict.changes_at is None


def test_time_alone_walks_a_row_from_normal_to_critical_at_the_moments_that_it_announced():
    point = NOW - 5 * MINUTE
    now, seen = NOW, []
    while True:
        verdict = judge(now)
        seen.append((verdict.grade, now - point))
        if verdict.changes_at is None:
            break
        assert judge(verdict.changes_at - timedelta(microseconds=1)).grade is verdict.grade
        assert verdict.changes_at > now
        now = verdict.changes_at
    assert seen == [
        (Grade.NORMAL, 5 * MINUTE),
        (Grade.WARNING, 15 * MINUTE),
        (Grade.CRITICAL, 30 * MINUTE),
    ]


def test_a_stall_is_announced_too():
    verdict = judge(stalled_since=NOW - 2 * MINUTE, job_running=True)
    assert verdict.changes_at == NOW + 3 * MINUTE
    assert judge(verdict.changes_at, stalled_since=NOW - 2 * MINUTE, job_running=True).reason == "Job stalled {for}"


def test_a_recovery_point_in_the_future_is_judged_again_when_it_may_be_true():
    point = NOW + 10 * MINUTE
    assert judge(recovery_point_at=point).changes_at == point - 2 * MINUTE
    assert judge(point - 2 * MINUTE, recovery_point_at=point).grade is Grade.NORMAL


def test_the_thresholds_are_settings():
    hard = Thresholds(critical_at=1.0, failed_jobs_critical=1, stalled_after=MINUTE)
    late = grade(replace(FINE, recovery_point_at=NOW - 15 * MINUTE), NOW, hard)
    assert late.grade is Grade.CRITICAL
    failed = grade(replace(FINE, failed_jobs=1), NOW, hard)
    assert (failed.grade, failed.reason) == (Grade.CRITICAL, "Last job failed")


@pytest.mark.parametrize(
    "length", [timedelta(seconds=59), timedelta(hours=23, minutes=59), timedelta(days=99, hours=23)]
)
def test_no_reason_is_longer_than_24_characters(length):
    since = NOW - length
    verdicts = [
        judge(silent_since=since),
        judge(state="AWAITING_AUTHORIZATION", state_since=since),
        judge(state="DISCONNECTED", failed_over_at=since, source_read_only=True),
        judge(state="DISCONNECTED", failed_over_at=since),
        judge(stalled_since=since - 5 * MINUTE, job_running=True),
        judge(recovery_point_at=NOW + length),
        judge(failed_jobs=999_999),
        *(judge(state=state) for state in ACTIVE_STATES),
    ]
    for verdict in verdicts:
        filled = verdict.reason.replace("{for}", duration(length)).replace("{at}", "02:51 UTC")
        assert len(filled) <= 24, filled


def test_the_ranks_are_the_order_of_every_list():
    worst_first = sorted(Grade, key=lambda each: each.rank)
    assert [each.value for each in worst_first] == ["critical", "warning", "active", "unknown", "normal", "inactive"]
