"""Reading records: strict where a failover depends on it, lenient in everything else.

A row without its identity, state or read-only flags is `Unreadable`: it is set aside with its reason and the
other rows of the answer live. Every other field may be missing, null, "" or wrong, and is None or "" then.
Numbers may be strings. A state that is not known here is kept as it was sent; it equals no `State`, so
nothing can take it for healthy or done. All texts are `edge.clean`ed: storable and bounded (ids and states 64
characters, names 255, the rest 4096).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from dashboard.qumulo import inferred
from dashboard.qumulo.edge import TEXT_LIMIT, Unreadable, count, flag, number, text, visible
from dashboard.qumulo.shapes import (
    BlackoutWindow,
    JobStatus,
    Moment,
    Snapshot,
    SnapshotPolicy,
    SourceStatus,
    SourceStatusList,
    State,
    StatusList,
    TargetStatus,
    UnreadableRow,
)

__all__ = [
    "BlackoutWindow",
    "JobStatus",
    "Moment",
    "Snapshot",
    "SnapshotPolicy",
    "SourceStatus",
    "SourceStatusList",
    "State",
    "StatusList",
    "TargetStatus",
    "Unreadable",
    "UnreadableRow",
    "parse_list",
    "parse_source_status",
    "parse_target_status",
    "to_json",
    "visible",
]

Row = TypeVar("Row")
_ID = re.compile(inferred.ID_PATTERN)
_SHORT = 64
_MOST_ROWS = 32_768  # of which each says what it must, and which still fit into an answer (client.BODY_LIMIT)
_NAME = 255


def parse_target_status(row: object) -> TargetStatus:
    """A row of the API, or what `to_json` made of one. Raises Unreadable, naming the first field that is not
    usable."""
    row = _object(row)
    for name in inferred.REQUIRED:
        if row.get(name) in (None, ""):
            raise Unreadable(f"{name} is missing.")
    return TargetStatus(
        id=_identifier(row, "id"),
        state=_required_text(row, "state", limit=_SHORT),
        end_reason=text(row.get("end_reason")) or None,
        source_cluster_name=text(row.get("source_cluster_name"), limit=_NAME),
        source_cluster_uuid=_identifier(row, "source_cluster_uuid"),
        source_root_path=_required_text(row, "source_root_path"),
        source_root_read_only=_required_flag(row, "source_root_read_only"),
        source_address=text(row.get("source_address"), limit=_NAME) or None,
        source_port=count(row.get("source_port"), most=65535),
        target_cluster_name=text(row.get("target_cluster_name"), limit=_NAME),
        target_cluster_uuid=_identifier(row, "target_cluster_uuid"),
        target_root_path=_required_text(row, "target_root_path"),
        target_root_read_only=_required_flag(row, "target_root_read_only"),
        job_state=text(row.get("job_state"), limit=_SHORT),
        job_start_time=Moment.read(row.get("job_start_time")),
        recovery_point=Moment.read(row.get("recovery_point")),
        error_from_last_job=text(row.get("error_from_last_job")) or None,
        duration_of_last_job=_nanoseconds(row.get("duration_of_last_job")),
        target_root_id=text(row.get("target_root_id"), limit=_SHORT) or None,
        replication_enabled=flag(row.get("replication_enabled")),
        replication_job_status=_job(row.get("replication_job_status")),
        recovery_point_snapshot=_snapshot(row.get("recovery_point_snapshot")),
        lock_key=text(row.get("lock_key"), limit=_NAME) or None,
    )


def parse_source_status(row: object) -> SourceStatus:
    """As `parse_target_status`, for the source side. Nothing is decided by it, so only the id is required."""
    row = _object(row)
    return SourceStatus(
        id=_identifier(row, "id"),
        state=text(row.get("state"), limit=_SHORT),
        source_cluster_uuid=text(row.get("source_cluster_uuid"), limit=_SHORT),
        source_root_path=text(row.get("source_root_path")),
        source_root_read_only=flag(row.get("source_root_read_only")),
        target_cluster_uuid=text(row.get("target_cluster_uuid"), limit=_SHORT),
        replication_mode=text(row.get("replication_mode"), limit=_SHORT),
        blackout_windows=tuple(_window(window) for window in _objects(row.get("blackout_windows"))),
        blackout_window_timezone=text(row.get("blackout_window_timezone"), limit=_NAME),
        next_active_time=Moment.read(row.get("next_active_time")),
        queued_snapshot_count=count(row.get("queued_snapshot_count")),
        replicating_snapshot=_snapshot(row.get("replicating_snapshot")),
        snapshot_policies=tuple(
            SnapshotPolicy(
                id=text(policy.get("id"), limit=_SHORT),
                target_expiration=text(policy.get("target_expiration"), limit=_SHORT),
            )
            for policy in _objects(row.get("snapshot_policies"))
        ),
    )


def parse_list(answer: object, parse: Callable[[object], Row]) -> tuple[tuple[Row, ...], tuple[UnreadableRow, ...]]:
    """Rows that can be used and rows that cannot. Raises Unreadable when the answer as a whole means nothing:
    it is no list, or names one relationship twice, so that nobody can say which of the two holds."""
    if not isinstance(answer, list):
        raise Unreadable("It is not a list.")
    if len(answer) > _MOST_ROWS:
        raise Unreadable("It lists more rows than there can be.")
    rows: list[Row] = []
    unreadable: list[UnreadableRow] = []
    seen: set[str] = set()
    for row in answer:
        found = row.get("id") if isinstance(row, dict) else None
        identifier = found if isinstance(found, str) and _ID.fullmatch(found) else None
        if identifier is not None:
            if identifier in seen:
                raise Unreadable("It lists the same relationship twice.")
            seen.add(identifier)
        try:
            rows.append(parse(row))
        except Unreadable as error:
            unreadable.append(UnreadableRow(identifier, str(error)))
    return tuple(rows), tuple(unreadable)


def to_json(record: TargetStatus | SourceStatus) -> dict[str, Any]:
    """The record in the API's names and shapes, for storing. Parsing it again gives an equal record."""
    result = {field.name: _plain(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, TargetStatus) and record.duration_of_last_job is not None:
        result["duration_of_last_job"] = {"nanoseconds": str(record.duration_of_last_job)}
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, Moment):
        return value.raw
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("The row is not an object.")
    return value


def _objects(value: object) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _identifier(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Unreadable(f"{name} is not an identifier.")
    return value


def _required_text(row: dict[str, Any], name: str, *, limit: int = TEXT_LIMIT) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise Unreadable(f"{name} is not a text.")
    return text(value, limit=limit)


def _required_flag(row: dict[str, Any], name: str) -> bool:
    value = flag(row.get(name))
    if value is None:
        raise Unreadable(f"{name} is neither true nor false.")
    return value


def _nanoseconds(value: object) -> int | None:
    return count(value.get("nanoseconds"), most=inferred.LONGEST_SECONDS * 10**9) if isinstance(value, dict) else None


def _job(value: object) -> JobStatus | None:
    if not isinstance(value, dict):
        return None
    percent = number(value.get("percent_complete"))
    counts = [field.name for field in fields(JobStatus)][2:]
    return JobStatus(
        percent_complete=None if percent is None else max(0.0, min(100.0, float(percent))),
        estimated_seconds_remaining=count(value.get("estimated_seconds_remaining"), most=inferred.LONGEST_SECONDS),
        **{name: count(value.get(name)) for name in counts},
    )


def _snapshot(value: object) -> Snapshot | None:
    if not isinstance(value, dict):
        return None
    return Snapshot(
        id=text(value.get("id"), limit=_SHORT),
        name=text(value.get("name")),
        timestamp=Moment.read(value.get("timestamp")),
        directory_name=text(value.get("directory_name")),
        source_file_id=text(value.get("source_file_id"), limit=_SHORT),
        created_by_policy=flag(value.get("created_by_policy")),
        expiration=Moment.read(value.get("expiration")),
        in_delete=flag(value.get("in_delete")),
    )


def _window(value: dict[str, Any]) -> BlackoutWindow:
    days = value.get("on_days")
    return BlackoutWindow(
        start_hour=count(value.get("start_hour"), most=23),
        start_minute=count(value.get("start_minute"), most=59),
        end_hour=count(value.get("end_hour"), most=24),
        end_minute=count(value.get("end_minute"), most=59),
        on_days=tuple(text(day, limit=_SHORT) for day in days) if isinstance(days, list) else (),
    )
