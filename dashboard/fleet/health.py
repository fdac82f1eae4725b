"""The judgement of a relationship: one of six grades, with its reason, and the moment at which time alone would
change it. Pure: no clock is read here, no database; `now` is passed in.

First match wins, in the order of `Grade`'s comments. Grey is normal: whatever is as it should be gets no reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ACTIVE_STATES = {
    "DISCONNECTING": "Being disconnected",
    "RECONNECTING": "Being reconnected",
    "REESTABLISHING": "Being re-established",
}
KNOWN_STATES = frozenset(ACTIVE_STATES) | {"ESTABLISHED", "DISCONNECTED", "ENDED", "AWAITING_AUTHORIZATION"}


class Grade(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    ACTIVE = "active"
    UNKNOWN = "unknown"
    NORMAL = "normal"
    INACTIVE = "inactive"

    @property
    def rank(self) -> int:
        """Worst first; the order of lists and counters everywhere."""
        return list(Grade).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The settings of judgement. `critical_at` is a multiple of the objective. A recovery point that lies further ahead
    than `skew_tolerated` has no age: somebody's clock is wrong, and a wrong clock must not look like fresh data."""

    critical_at: float = 2.0
    stalled_after: timedelta = timedelta(minutes=5)
    failed_jobs_critical: int = 3
    skew_tolerated: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the judgement rests on. `silent_since`: the last reading of a cluster that is silent now."""

    state: str
    target_read_only: bool
    source_read_only: bool
    state_since: datetime
    recovery_point_at: datetime | None
    objective: timedelta
    job_running: bool
    replication_enabled: bool | None
    error: str
    failed_jobs: int
    stalled_since: datetime | None
    silent_since: datetime | None
    gone: bool
    unreadable: bool
    failover_running: bool
    failed_over_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` may hold `{for}` (time since `since`) or `{at}` (the moment itself); at most 24 characters when filled.
    `changes_at` is the moment at which time alone changes this verdict; None: never."""

    grade: Grade
    reason: str = ""
    since: datetime | None = None
    changes_at: datetime | None = None


def grade(facts: Facts, now: datetime, thresholds: Thresholds) -> Verdict:
    """Judge one relationship at `now`."""
    return _certain(facts) or _replicating(facts, now, thresholds)


def _certain(facts: Facts) -> Verdict | None:  # noqa: C901 - a table, best read in one place
    """Verdicts that time does not touch: unknown, active, ended, and everything that does not replicate."""
    if facts.silent_since:
        return Verdict(Grade.UNKNOWN, "As of {at}", facts.silent_since)
    if facts.gone:
        return Verdict(Grade.UNKNOWN, "No longer listed")
    if facts.unreadable:
        return Verdict(Grade.UNKNOWN, "Cannot be read")
    if facts.failover_running:
        return Verdict(Grade.ACTIVE, "Failover running")
    if facts.state not in KNOWN_STATES:
        return Verdict(Grade.UNKNOWN, "State not known here")
    if facts.state in ACTIVE_STATES:
        return Verdict(Grade.ACTIVE, ACTIVE_STATES[facts.state])
    if facts.state == "ENDED":
        return Verdict(Grade.INACTIVE, "Ended")
    if facts.state == "AWAITING_AUTHORIZATION":
        return Verdict(Grade.WARNING, "Waiting for {for}", facts.state_since)
    if facts.state == "DISCONNECTED":
        if not facts.source_read_only and facts.failed_over_at:
            return Verdict(Grade.WARNING, "Both sides writable")
        if facts.failed_over_at:
            return Verdict(Grade.ACTIVE, "Failed over {for}", facts.failed_over_at)
        return Verdict(Grade.WARNING, "Not replicating")
    return None


def _replicating(facts: Facts, now: datetime, thresholds: Thresholds) -> Verdict:  # noqa: C901 - the same
    """ESTABLISHED: late, failing, stalled or fine. The earliest moment that would change it is carried along."""
    late_at = critical_at = known_at = None
    if facts.recovery_point_at is not None:
        known_at = facts.recovery_point_at - thresholds.skew_tolerated
        late_at = facts.recovery_point_at + facts.objective
        critical_at = facts.recovery_point_at + facts.objective * thresholds.critical_at
    stalled_at = facts.stalled_since + thresholds.stalled_after if facts.stalled_since else None
    stalled = stalled_at is not None and stalled_at <= now
    changes = min((t for t in (known_at, late_at, critical_at, stalled_at) if t and t > now), default=None)

    def verdict(at: Grade, reason: str = "", since: datetime | None = None) -> Verdict:
        return Verdict(at, reason, since, changes)

    failing = facts.failed_jobs >= thresholds.failed_jobs_critical
    failures = f"Last {facts.failed_jobs} jobs failed" if facts.failed_jobs > 1 else "Last job failed"
    if critical_at is not None and critical_at <= now:
        if stalled:
            return verdict(Grade.CRITICAL, "Job stalled {for}", facts.stalled_since)
        if failing:
            return verdict(Grade.CRITICAL, failures)
        return verdict(Grade.CRITICAL, "Recovery point late")
    if failing:
        return verdict(Grade.CRITICAL, failures)
    if stalled:
        return verdict(Grade.WARNING, "Job stalled {for}", facts.stalled_since)
    if late_at is not None and late_at <= now:
        return verdict(Grade.WARNING, "Recovery point late")
    if facts.failed_jobs or facts.error:
        return verdict(Grade.WARNING, "Last job failed")
    if known_at is not None and known_at > now:
        return verdict(Grade.WARNING, "Recovery point in future")
    if facts.replication_enabled is False:
        return verdict(Grade.WARNING, "Replication is off")
    if facts.recovery_point_at is None:
        return verdict(Grade.WARNING, "No recovery point yet")
    return verdict(Grade.NORMAL)
