"""What a planned failover must also show, so that nothing is lost: Qumulo's own procedure, as checks. Pure.

DOCUMENTED: set the source read-only; where only policy snapshots are replicated, turn continuous replication on, for
what changed after the last of them would never reach the target; wait for a new job to start and end; see that the
recovery point is later than the moment at which the source became read-only; then make the target writable.

Three things make that comparison less simple than it sounds, and each is decided against the failover. The moment is
known only as the first reading that showed it, which is later. Recovery point and reading are times of different
clocks. And a job that carries a queued policy snapshot brings data that is older than the job (INFERRED).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dashboard.failovers.situation import SKEW_TOLERATED, Check, Situation, Verdict
from dashboard.qumulo import inferred
from dashboard.qumulo.records import SourceStatus, TargetStatus, visible
from dashboard.words import bare, clock, duration

OWN_WORD_HOLDS = timedelta(minutes=3)  # the source's own status is asked for once a minute
_WHOLE_SECONDS = timedelta(seconds=2)  # as exactly as a clock is known that tells whole seconds


def checks(s: Situation, status: TargetStatus) -> list[Check]:
    found = [_source(s, status), _job(s, status), _last_job(status), _replicates(s, status)]
    return found if status.loss_from is None else [*found, _complete(s, status, status.loss_from.at)]


def nothing_lost(s: Situation) -> bool:
    """Whether it is known that the target keeps all that clients of the source wrote: the source itself is heard, has
    been read-only, and what is kept was taken after that."""
    status = s.status
    if status is None or not s.source.answers or not _read_only(s, status):
        return False
    after = _must_be_after(s)
    start = status.loss_from
    if after is None or start is None or start.at - s.now > SKEW_TOLERATED:
        return False
    return start.at > after and not _may_be_older(s, status)


def _source(s: Situation, status: TargetStatus) -> Check:
    name, place = visible(status.source_cluster_name), _place(status)
    own = _own(s)
    if s.source.known and not s.source.answers:
        detail = (
            f"Whether {place} is still read-only is not known: what {s.target} says of it is a copy. "
            f"Wait until {name} answers; an unplanned failover does not need it."
        )
        return Check("source", Verdict.BLOCK, "The source does not answer.", detail)
    if not _read_only(s, status):
        who = name if status.source_root_read_only else s.target
        detail = f"{who} reports {place} as writable. Set it read-only, and wait for a job that starts after that."
        return Check("source", Verdict.BLOCK, "The source is not read-only.", detail)
    if own is not None and own.source_root_read_only and s.source.read_at:
        detail = f"{name} says so of {place} itself, read {duration(s.now - s.source.read_at)} ago."
        return Check("source", Verdict.PASS, "The source is read-only.", detail)
    detail = f"{name} itself has not said so of {place}; whether clients can write to it again is not known."
    return Check("source", Verdict.WARN, f"The source is read-only, as {s.target} reports it.", detail)


def _job(s: Situation, status: TargetStatus) -> Check:
    if status.job_state != "REPLICATION_RUNNING":
        return Check("job", Verdict.PASS, "No job is running.")
    job = status.replication_job_status
    stands = f"It stands at {int(job.percent_complete)} %. " if job and job.percent_complete is not None else ""
    if s.stalled_since:
        stands += f"It has copied nothing for {duration(s.now - s.stalled_since)}. "
    return Check("job", Verdict.BLOCK, "A job is running.", stands + "Wait until it has ended.")


def _last_job(status: TargetStatus) -> Check:
    if status.error_from_last_job:
        return Check("last_job", Verdict.BLOCK, "The last job failed.", visible(status.error_from_last_job))
    return Check("last_job", Verdict.PASS, "The last job succeeded.")


def _replicates(s: Situation, status: TargetStatus) -> Check:
    """What the source sends by itself: all changes, or no more than its policy snapshots."""
    name, own = visible(status.source_cluster_name), _own(s)
    mode = own.replication_mode if own else ""
    waiting = own.queued_snapshot_count or 0 if own else 0
    match mode:
        case inferred.CONTINUOUS:
            return Check("replicates", Verdict.PASS, "The source replicates continuously.")
        case inferred.SNAPSHOT_POLICY:
            detail = (
                f"What changed after the last of them never reaches {s.target}. "
                f"Change it on {name} to snapshot policy with continuous, and wait for a job that starts after that."
            )
            return Check("replicates", Verdict.BLOCK, "The source replicates policy snapshots only.", detail)
        case inferred.SNAPSHOT_POLICY_WITH_CONTINUOUS if waiting:
            detail = f"They will not be on {s.target}. Wait until {name} has replicated them, or do without them."
            return Check("replicates", Verdict.WARN, f"Policy snapshots wait on the source: {waiting}.", detail)
        case inferred.SNAPSHOT_POLICY_WITH_CONTINUOUS:
            words = "The source replicates policy snapshots, and continuously."
            return Check("replicates", Verdict.PASS, words)
        case "":
            said = "It has not told us its replication mode."
        case _:
            said = f"Its replication mode is not known here: {visible(mode)}."
    detail = f"{said} If it sends policy snapshots only, what changed after the last of them is lost: look at {name}."
    return Check("replicates", Verdict.WARN, "How the source replicates is not known.", detail)


def _complete(s: Situation, status: TargetStatus, start: datetime) -> Check:
    """Whether the recovery point holds everything: it was taken after the source became read-only."""
    since, after = s.source_read_only_since, _must_be_after(s)
    words = "The recovery point is not known to hold everything."
    if not _read_only(s, status):
        return Check("complete", Verdict.SKIP, "What the recovery point holds is judged once the source is read-only.")
    if since is None:
        detail = f"Since when {_place(status)} is read-only has not been seen yet. Wait for the next reading."
        return Check("complete", Verdict.BLOCK, words, detail)
    if after is None:
        detail = "The clocks of the clusters and this desk differ too much to say what came first."
        return Check("complete", Verdict.BLOCK, words, detail)
    shows = f"It shows {clock(start, s.now)}; the source was first seen read-only at {clock(since, s.now)}."
    if start <= after:
        words = "The recovery point is not later than the source became read-only."
    elif not _may_be_older(s, status):
        return Check("complete", Verdict.PASS, "The recovery point is later than the source became read-only.", shows)
    return Check("complete", Verdict.BLOCK, words, " ".join([shows, *_why_not(s, status), *_wait(s, after)]))


def _why_not(s: Situation, status: TargetStatus) -> Iterator[str]:
    """Why waiting for a job may not have been enough."""
    own = _own(s)
    if status.recovery_point and _may_be_older(s, status):
        started = clock(status.recovery_point.at, s.now)
        yield f"The job that started at {started} brought a policy snapshot, which is older than the job."
    if own and own.queued_snapshot_count:
        yield f"Policy snapshots that wait on the source go first: {own.queued_snapshot_count}."


def _wait(s: Situation, after: datetime) -> Iterator[str]:
    own = _own(s)
    opens = own.next_active_time if own else None
    yield f"Wait until a continuous job that starts after {clock(after, s.now)} has ended."
    if opens and opens.at > s.now:
        yield f"A blackout window lets none start before {clock(opens.at, s.now)}."


def _may_be_older(s: Situation, status: TargetStatus) -> bool:
    """The recovery point is the start of a job, and what the job brought may be older: it carried a policy snapshot,
    by the name that it left on the target, or jobs of this source carry nothing else."""
    snapshot, own = status.recovery_point_snapshot, _own(s)
    mode = own.replication_mode if own else ""
    if mode == inferred.SNAPSHOT_POLICY:
        return True
    if snapshot is None:
        return mode == inferred.SNAPSHOT_POLICY_WITH_CONTINUOUS
    return snapshot.name.startswith(f"{inferred.SNAPSHOT_FROM}{status.source_cluster_name}_")


def _own(s: Situation) -> SourceStatus | None:
    """What the source says itself, while that is young enough to go by."""
    fresh = s.source.read_at is not None and s.now - s.source.read_at <= OWN_WORD_HOLDS
    return s.source.status if fresh else None


def _read_only(s: Situation, status: TargetStatus) -> bool:
    """By the target's copy, and not denied by the source."""
    own = _own(s)
    return status.source_root_read_only and (own is None or own.source_root_read_only is not False)


def _must_be_after(s: Situation) -> datetime | None:
    """What a recovery point must be later than, whichever cluster's clock gave it; None when nothing can be said,
    because a clock differs too much, or nobody has seen the source become read-only."""
    ahead = (s.clock_ahead, s.source.clock_ahead)
    known = [each for each in ahead if each is not None]
    if s.source_read_only_since is None or any(abs(each) > SKEW_TOLERATED for each in known):
        return None
    margin = max(*known, timedelta(0)) + _WHOLE_SECONDS if len(known) == len(ahead) else SKEW_TOLERATED
    return s.source_read_only_since + margin


def _place(status: TargetStatus) -> str:
    return f"{visible(status.source_cluster_name)}:{bare(status.source_root_path)}"
