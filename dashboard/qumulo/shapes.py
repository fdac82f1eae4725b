"""The records: what the API says, typed. `records` reads them; import them from there.

Field names are the API's. DOCUMENTED: names, types, the seven states. SEEN LIVE: which fields are text,
number, null or "" in real answers. INFERRED: see `inferred`. None means: not said, or not usable. Texts are
`edge.clean`ed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from dashboard.qumulo import inferred

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


class State(StrEnum):
    """The vendor's states (DOCUMENTED names). INFERRED: DISCONNECTING is the revert after make-writable; it
    is over when DISCONNECTED is read together with a target that is no longer read-only."""

    AWAITING_AUTHORIZATION = "AWAITING_AUTHORIZATION"
    ESTABLISHED = "ESTABLISHED"
    DISCONNECTING = "DISCONNECTING"
    DISCONNECTED = "DISCONNECTED"
    RECONNECTING = "RECONNECTING"
    REESTABLISHING = "REESTABLISHING"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of the API. `raw` has all its digits (nanoseconds) and is what equality means; `at` is UTC, cut
    to microseconds."""

    raw: str
    at: datetime

    @classmethod
    def read(cls, value: object) -> Moment | None:
        """None for "", null, and whatever is not a time with a zone between 2000 and 2100."""
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            return None
        try:
            at = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return cls(value, at) if inferred.EARLIEST <= at <= inferred.LATEST else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """Progress of the running job, 14 fields. Sizes in bytes, throughput in bytes per second (the last minute
    for `throughput_current`), `percent_complete` from 0 to 100. Totals are estimates and move. None: not
    said, or absurd."""

    percent_complete: float | None
    estimated_seconds_remaining: int | None
    bytes_transferred: int | None
    bytes_unchanged: int | None
    bytes_remaining: int | None
    bytes_deleted: int | None
    bytes_total: int | None
    files_transferred: int | None
    files_unchanged: int | None
    files_remaining: int | None
    files_deleted: int | None
    files_total: int | None
    throughput_overall: int | None
    throughput_current: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot, 8 fields. `id` and `source_file_id` are text (the latter can exceed 64 bits); "" when not
    said."""

    id: str
    name: str
    timestamp: Moment | None
    directory_name: str
    source_file_id: str
    created_by_policy: bool | None
    expiration: Moment | None
    in_delete: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A relationship as its target cluster reports it: all 23 fields. `duration_of_last_job` is in
    nanoseconds."""

    id: str
    state: str
    end_reason: str | None
    source_cluster_name: str
    source_cluster_uuid: str
    source_root_path: str
    source_root_read_only: bool
    source_address: str | None
    source_port: int | None
    target_cluster_name: str
    target_cluster_uuid: str
    target_root_path: str
    target_root_read_only: bool
    job_state: str
    job_start_time: Moment | None
    recovery_point: Moment | None
    error_from_last_job: str | None
    duration_of_last_job: int | None
    target_root_id: str | None
    replication_enabled: bool | None
    replication_job_status: JobStatus | None
    recovery_point_snapshot: Snapshot | None
    lock_key: str | None

    @property
    def loss_from(self) -> Moment | None:
        """Everything written after this is lost by a failover now; None when there is nothing to go back to.

        `recovery_point` is when the last successful job *started* (DOCUMENTED). The data of a queued policy
        snapshot is older than the job that carries it (INFERRED), so the earlier of the two counts.
        """
        snapshot = self.recovery_point_snapshot
        if self.recovery_point is None or snapshot is None or snapshot.timestamp is None:
            return self.recovery_point
        return min(self.recovery_point, snapshot.timestamp, key=lambda moment: moment.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackoutWindow:
    """No job starts between start and end on these days, in the relationship's `blackout_window_timezone`."""

    start_hour: int | None
    start_minute: int | None
    end_hour: int | None
    end_minute: int | None
    on_days: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """A policy whose snapshots are replicated, and how long the target keeps them (`never`, `same_as_policy`,
    `3days`)."""

    id: str
    target_expiration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """Of a relationship as its source cluster reports it, the part that the target does not know. Only `id`
    is sure."""

    id: str
    state: str
    source_cluster_uuid: str
    source_root_path: str
    source_root_read_only: bool | None
    target_cluster_uuid: str
    replication_mode: str
    blackout_windows: tuple[BlackoutWindow, ...]
    blackout_window_timezone: str
    next_active_time: Moment | None
    queued_snapshot_count: int | None
    replicating_snapshot: Snapshot | None
    snapshot_policies: tuple[SnapshotPolicy, ...]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that was set aside. `id` is None when not even that could be read."""

    id: str | None
    why: str


@dataclass(frozen=True, slots=True)
class StatusList:
    """One answer of the list of target statuses. `date` is the cluster's clock, from the HTTP `Date`
    header."""

    rows: tuple[TargetStatus, ...]
    unreadable: tuple[UnreadableRow, ...]
    date: datetime | None


@dataclass(frozen=True, slots=True)
class SourceStatusList:
    """One answer of the list of source statuses."""

    rows: tuple[SourceStatus, ...]
    unreadable: tuple[UnreadableRow, ...]
    date: datetime | None
