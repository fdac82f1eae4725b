"""A target status as a cluster reports it (the shape of a captured answer), with single fields changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.failovers.plan import Item
from dashboard.failovers.preflight import Situation
from dashboard.qumulo.records import TargetStatus, parse_target_status

NOW = datetime(2026, 3, 14, 3, 12, 40, tzinfo=UTC)
HEALTHY: dict[str, Any] = {
    "id": "7f3c2a9e-51d4-4b0e-9a77-0c6f1e8d2b35",
    "state": "ESTABLISHED",
    "end_reason": "",
    "source_cluster_name": "dc1-prod",
    "source_cluster_uuid": "b1a4e6d2-77c3-4f19-8e02-5d9ab3c47710",
    "source_root_path": "/prod/finance/",
    "source_root_read_only": False,
    "source_address": None,
    "source_port": None,
    "target_cluster_name": "dr-west",
    "target_cluster_uuid": "0e93c58f-2b6d-4a41-93f7-6a2d81e4f0c9",
    "target_root_path": "/dr/dc1/finance/",
    "target_root_read_only": True,
    "job_state": "REPLICATION_NOT_RUNNING",
    "job_start_time": "",
    "recovery_point": "2026-03-14T03:05:00.00023319Z",
    "error_from_last_job": "",
    "duration_of_last_job": {"nanoseconds": "51844430"},
    "target_root_id": "5129000037",
    "replication_enabled": True,
    "replication_job_status": None,
    "recovery_point_snapshot": {
        "id": 48213,
        "name": "replication_from_dc1-prod",
        "timestamp": "2026-03-14T03:05:00.00023319Z",
        "directory_name": "48213_replication_from_dc1-prod",
        "source_file_id": "1204837001",
        "created_by_policy": False,
        "expiration": "",
        "in_delete": False,
    },
    "lock_key": None,
}


def status(**changes: Any) -> TargetStatus:
    return parse_target_status(HEALTHY | changes)


def item(**changes: Any) -> Item:
    return Item.of(status(**changes), target="dr-west")


def situation(*, reported: TargetStatus | None = None, **changes: Any) -> Situation:
    values: dict[str, Any] = {
        "now": NOW,
        "target": "dr-west",
        "status": reported or status(),
        "read_at": NOW - timedelta(seconds=4),
        "answers": True,
        "objective": timedelta(minutes=15),
    }
    return Situation(**values | changes)
