"""What one reading changes on the row of a relationship, and the events that it leaves. Nothing here asks a cluster.

Callers hold the row's lock for the whole transaction, so plain assignments and `version + 1` are safe. What is equal is
not written: a calm fleet costs the database nothing but the time of the last reading on the cluster's row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from dashboard.fleet import jobs
from dashboard.fleet.health import Facts, Grade, Thresholds, Verdict, grade
from dashboard.fleet.models import Event, RecoveryPoint, Relationship
from dashboard.qumulo.records import TargetStatus, to_json
from dashboard.words import clock, duration, visible

POINTS_APART = timedelta(minutes=5)
ALL_POINTS_FOR = timedelta(hours=1)  # after a relationship was first seen: so that there is soon something to go by

STATE_WORDS = {
    "ESTABLISHED": "Established",
    "AWAITING_AUTHORIZATION": "Awaiting authorization",
    "DISCONNECTING": "Disconnecting",
    "DISCONNECTED": "Disconnected",
    "RECONNECTING": "Reconnecting",
    "REESTABLISHING": "Re-establishing",
    "ENDED": "Ended",
}
_COLUMNS = tuple(each.attname for each in Relationship._meta.concrete_fields if not each.primary_key)  # noqa: SLF001
_QUIET = {"misses", "changes_at", "own_read_at"}  # no page shows these
_WORDS_MOST = 255


@dataclass
class Changes:
    """What one transaction is going to write. `watch` a row before touching it; `write` judges it again and finds what
    has changed."""

    now: datetime
    _before: list[tuple[Relationship, dict[str, Any]]] = field(default_factory=list)
    _new: list[Relationship] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _points: list[RecoveryPoint] = field(default_factory=list)

    def watch(self, row: Relationship) -> Relationship:
        self._before.append((row, {name: getattr(row, name) for name in _COLUMNS}))
        return row

    def add(self, row: Relationship) -> None:
        self._new.append(row)

    def say(self, row: Relationship, kind: str, words: str, detail: str = "", to: Grade | None = None) -> None:
        """An event. What comes from a cluster goes in as `visible` text."""
        self._events.append(
            Event(
                relationship=row,
                at=self.now,
                kind=kind,
                words=words[:_WORDS_MOST],
                detail=detail,
                grade=(to or ""),
            )
        )

    def point(self, point: RecoveryPoint) -> None:
        self._points.append(point)

    def write(self) -> int:
        """Write it; returns how many rows a page will show differently."""
        visibly = len(self._new)
        for row in self._new:
            _assign(row, _verdict(row, self.now))
            row.save(force_insert=True)
        for row, before in self._before:
            _judge(self, row)
            changed = [name for name, value in before.items() if getattr(row, name) != value]
            if not changed:
                continue
            if not _QUIET.issuperset(changed):
                row.version += 1
                changed.append("version")
                visibly += 1
            row.save(update_fields=changed)
        Event.objects.bulk_create(self._events)
        self._write_points()
        return visibly

    def _write_points(self) -> None:
        if not self._points:
            return
        since = min(point.seen_at for point in self._points) - POINTS_APART
        rows = [point.relationship_id for point in self._points]
        lately = RecoveryPoint.objects.filter(relationship__in=rows, seen_at__gt=since)
        newest = dict(lately.order_by("seen_at").values_list("relationship_id", "seen_at"))
        RecoveryPoint.objects.bulk_create(
            point
            for point in self._points
            if (last := newest.get(point.relationship_id)) is None
            or point.seen_at - last >= POINTS_APART
            or point.seen_at - point.relationship.first_seen_at <= ALL_POINTS_FOR
        )


def first_seen(changes: Changes, row: Relationship, status: TargetStatus, at: datetime) -> None:
    """Fill a new row, whose cluster and objective are set."""
    row.relationship_id = status.id
    row.source_cluster_uuid = status.source_cluster_uuid
    row.first_seen_at = row.state_since = at
    row.source_read_only_since = _since(row, status, changes.now)
    _copy(row, status)
    changes.add(row)
    if status.recovery_point is not None:
        changes.point(RecoveryPoint(relationship=row, at=status.recovery_point.at, seen_at=at))
    changes.say(row, "listing", "First seen", f"State: {state_words(row.state)}")


def take(changes: Changes, row: Relationship, status: TargetStatus, at: datetime) -> None:
    """A readable status of a watched row, read at `at`."""
    failed = _count_jobs(changes, row, status, at)
    row.stalled_since = _stalled_since(row, status, row.read_at)
    if row.gone_at is not None:
        changes.say(row, "listing", "Listed again")
    if row.unreadable:
        changes.say(row, "listing", "Can be read again")
    row.gone_at = row.missing_since = None
    row.misses, row.hidden, row.unreadable = 0, False, ""
    if to_json(status) == row.status:
        return
    if status.state != row.state:
        row.state_since = at
        if status.state != "DISCONNECTED":
            row.failed_over_at = None  # whatever follows is no longer the result of our failover
    row.source_read_only_since = _since(row, status, changes.now)
    _tell(changes, row, status, failed=failed)
    _copy(row, status)


def _tell(changes: Changes, row: Relationship, status: TargetStatus, *, failed: bool) -> None:
    """Events for what is about to change on the row."""
    if status.state != row.state:
        changes.say(row, "state", f"State changed from {state_words(row.state)} to {state_words(status.state)}")
    for side, was, now in (
        ("target", row.target_root_read_only, status.target_root_read_only),
        ("source", row.source_root_read_only, status.source_root_read_only),
    ):
        if was != now:
            changes.say(row, "access", f"The {side} became {'read-only' if now else 'writable'}")
    error = status.error_from_last_job or ""
    if error != row.error and not failed:
        words = "The last job reports an error" if error else "The error of the last job is gone"
        changes.say(row, "error", words, visible(error))
    for side, old, new in (
        ("source", row.source_root_path, status.source_root_path),
        ("target", row.target_root_path, status.target_root_path),
    ):
        if old != new:
            changes.say(row, "listing", f"The {side} path changed", f"{visible(old)} → {visible(new)}")


def _judge(changes: Changes, row: Relationship) -> None:
    """A change of grade is an event."""
    was, verdict = Grade(row.grade), _verdict(row, changes.now)
    _assign(row, verdict)
    if verdict.grade is not was:
        detail = f"Health changed from {was.name.capitalize()} to {verdict.grade.name.capitalize()}"
        changes.say(row, "health", _cause(row, verdict, changes.now), detail, verdict.grade)


def _assign(row: Relationship, verdict: Verdict) -> None:
    row.grade, row.grade_rank = verdict.grade.value, verdict.grade.rank
    row.reason, row.reason_since, row.changes_at = verdict.reason, verdict.since, verdict.changes_at


def state_words(state: str) -> str:
    """`Re-establishing`; a state that is not known here is shown as it was sent."""
    return STATE_WORDS.get(state) or visible(state)


def thresholds() -> Thresholds:
    return Thresholds(
        critical_at=settings.CRITICAL_AT,
        stalled_after=settings.STALLED_AFTER,
        failed_jobs_critical=settings.FAILED_JOBS_CRITICAL,
    )


def _verdict(row: Relationship, now: datetime) -> Verdict:
    cluster = row.cluster
    facts = Facts(
        state=row.state,
        target_read_only=row.target_root_read_only,
        source_read_only=row.source_root_read_only,
        state_since=row.state_since,
        recovery_point_at=row.recovery_point_at,
        objective=row.objective_time,
        job_running=row.job_running,
        replication_enabled=row.status.get("replication_enabled"),
        error=row.error,
        failed_jobs=row.failed_jobs,
        stalled_since=row.stalled_since,
        silent_since=(cluster.last_read_at or cluster.added_at) if cluster.silent else None,
        gone=row.gone_at is not None,
        unreadable=bool(row.unreadable),
        failover_running=row.held_phase == "running",
        failed_over_at=row.failed_over_at,
    )
    return grade(facts, now, thresholds())


def _cause(row: Relationship, verdict: Verdict, now: datetime) -> str:
    """What the health event says: the reason, at the moment when it became true."""
    if verdict.grade is Grade.NORMAL:
        return "As it should be again"
    if verdict.grade is Grade.UNKNOWN and verdict.since:
        return f"{row.cluster.name} has not been read since {clock(verdict.since, now)}"
    if verdict.reason == "Recovery point late":
        times = f"{settings.CRITICAL_AT:g} × " if verdict.grade is Grade.CRITICAL else ""
        return f"Recovery point passed {times}its objective of {duration(row.objective_time)}"
    return verdict.reason.replace("{for}", duration(now - verdict.since) if verdict.since else "")


def _since(row: Relationship, status: TargetStatus, at: datetime) -> datetime | None:
    """When the source was first seen read-only, without a reading since that showed it writable. `at` is after the
    answer was here, not when the reading began: whether a job started later must not be decided by the difference."""
    if not status.source_root_read_only:
        return None
    return row.source_read_only_since or at


def _copy(row: Relationship, status: TargetStatus) -> None:
    """The status, and the columns that are copies of it. A directory id that is not told leaves the known one."""
    job, point, loss = status.replication_job_status, status.recovery_point, status.loss_from
    row.status = to_json(status)
    row.target_root_id = status.target_root_id or row.target_root_id
    row.state = status.state
    row.source_cluster_name = status.source_cluster_name
    row.source_root_path, row.target_root_path = status.source_root_path, status.target_root_path
    row.source_root_read_only, row.target_root_read_only = status.source_root_read_only, status.target_root_read_only
    row.recovery_point_at, row.loss_from = (point.at if point else None), (loss.at if loss else None)
    row.job_running = status.job_state == "REPLICATION_RUNNING"
    row.job_percent = job.percent_complete if job else None
    row.error = status.error_from_last_job or ""
    ends = (row.source_cluster_name, row.source_root_path, row.cluster.name, status.target_cluster_name)
    searched = (*ends, row.target_root_path, row.error, row.relationship_id)
    row.search = "\n".join(visible(text) for text in searched).lower()


def _count_jobs(changes: Changes, row: Relationship, status: TargetStatus, at: datetime) -> bool:
    """Whether a job failed: it ended with an error, and the recovery point stayed where it was. Only what was seen
    counts, and one at most between two readings."""
    then = row.status
    if (status.recovery_point.raw if status.recovery_point else None) != then.get("recovery_point"):
        row.failed_jobs = 0
        if status.recovery_point is not None:
            changes.point(jobs.point(row, status, status.recovery_point.at, at))
        return False
    if not status.error_from_last_job:
        return False
    now_running = status.job_state == "REPLICATION_RUNNING"
    start = status.job_start_time.raw if status.job_start_time else None
    if row.job_running:
        ended = not now_running or start != then.get("job_start_time")
    else:  # a job that began and ended between two readings leaves another error or another duration behind
        took = to_json(status)["duration_of_last_job"]
        ended = status.error_from_last_job != row.error or took != then.get("duration_of_last_job")
    if ended:
        row.failed_jobs += 1
        changes.say(row, "job", "A job failed", visible(status.error_from_last_job))
    return ended


def _stalled_since(row: Relationship, status: TargetStatus, before: datetime | None) -> datetime | None:
    """Since when the running job has moved nothing. Counting unchanged files is work too, so every counter must stand
    still, and the throughput of the last minute be zero or untold; a job without figures is not called stalled."""
    job = status.replication_job_status
    if status.job_state != "REPLICATION_RUNNING" or job is None or job.throughput_current:
        return None
    figures = _figures(to_json(status))
    if figures != _figures(row.status) or all(value is None for value in figures[1:]):
        return None
    return row.stalled_since or before


def _figures(status: dict[str, Any]) -> list[Any]:
    job = status.get("replication_job_status") or {}
    counters = [job.get(name) for name in sorted(job) if name.startswith(("bytes_", "files_", "percent_"))]
    return [status.get("job_start_time"), *counters]
