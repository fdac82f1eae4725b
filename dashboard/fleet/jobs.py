"""How much data a stretch of time may hold, by what the jobs before it copied: an estimate, never without its method.

A job copies what changed between the recovery point before it and its own, so its bytes over that time are the rate at
which the source changes. That holds for continuous jobs and for policy snapshots alike, because the time is taken from
the data (`loss_from`), not from how long a job ran. The bytes are what the job reported when it was last seen, near its
end: a little less than all. Compression, deletions and data that was already there are not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from dashboard.fleet.models import RecoveryPoint, Relationship
from dashboard.qumulo.records import TargetStatus
from dashboard.words import duration, size

LATE_ENOUGH = 80  # percent: what a job has copied by then is nearly all that it copies
SAME_START = timedelta(seconds=5)  # a recovery point is the start of its job, and may be stamped a moment apart
LAST = 12  # jobs to go by
LEAST = 3  # of them were seen near their end


def point(row: Relationship, status: TargetStatus, found: datetime, seen_at: datetime) -> RecoveryPoint:
    """A job has succeeded. What it copied is known when the reading before, which is still on the row, showed that same
    job near its end."""
    covers = status.loss_from.at - row.loss_from if status.loss_from and row.loss_from else None
    if covers is not None and covers <= timedelta(0):
        covers = None  # a policy snapshot that had waited while younger data was brought
    then, copied = row.facts, None
    job, start = then.replication_job_status, then.job_start_time
    if job and start and abs(start.at - found) <= SAME_START and (job.percent_complete or 0) >= LATE_ENOUGH:
        copied = job.bytes_transferred
    return RecoveryPoint(relationship=row, at=found, seen_at=seen_at, covers=covers, copied=copied)


class Job(NamedTuple):
    """One that succeeded. `at` is the recovery point that it left, `covers` how much further that reaches than the one
    before; `copied` is None when it was not seen near its end."""

    at: datetime
    covers: timedelta
    copied: int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """`words` go beside the loss in time, `method` under it."""

    bytes: int
    words: str
    method: str


def estimate(row: Relationship, *, since: datetime, until: datetime) -> Estimate | None:
    """Of what changed on the source between the recovery point and the failover; None when the jobs do not tell. One
    query."""
    newest = row.recovery_points.exclude(covers=None).order_by("-seen_at", "-pk")
    jobs = [Job(point.at, point.covers, point.copied) for point in newest[:LAST] if point.covers]
    return by_jobs(jobs, since=since, until=until)


def by_jobs(jobs: Sequence[Job], *, since: datetime, until: datetime) -> Estimate | None:
    """From the last jobs, newest first. It does not reach further than all of them together cover, and most of them
    must have been seen: long jobs are seen more often than short ones, and copy more."""
    rates = [job.copied / job.covers.total_seconds() for job in jobs if job.copied is not None]
    if len(rates) < LEAST or 2 * len(rates) < len(jobs):
        return None
    reach = jobs[0].at + sum((job.covers for job in jobs), timedelta())
    if not since < until <= reach:
        return None
    rate, window = median(rates), until - since
    amount = round(rate * window.total_seconds())
    by = f"the last {len(jobs)}" if len(rates) == len(jobs) else f"{len(rates)} of the last {len(jobs)}"
    return Estimate(
        bytes=amount,
        words=f"About {size(amount)}: {by} jobs copied at least {size(60 * rate)} a minute (median).",
        method=(
            f"The bytes that each job had copied when it was last seen, at {LATE_ENOUGH} % or later, over the time "
            f"between the recovery points before and after it; the median of these, times {duration(window)}."
        ),
    )
