"""What each end of a relationship tells about it: 23 fields on the target, 30 on the source (DOCUMENTED).

19 fields are the same on both; mode, blackout windows, policies and the queue exist on the source alone. The
captures of real clusters decide about null or "": `end_reason`, `error_from_last_job` and `job_start_time` are
"" when unset, `source_address` and `source_port` null, numbers of 64 bits are strings (all SEEN LIVE). An
empty `recovery_point` is "" (INFERRED).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.simulator import wire
from dashboard.simulator.terms import State

if TYPE_CHECKING:
    from dashboard.simulator.relationship import Relationship
    from dashboard.simulator.terms import Work
    from dashboard.simulator.wire import Json, Time

BYTES_PER_FILE = 2_500_000


def of_target(relationship: Relationship, now: Time) -> Json:
    it = relationship
    return {
        **_common(it, now),
        "source_address": it.source_address,
        "source_port": None if it.source_address is None else 3712,
        "target_root_id": it.target.root_id,
        "lock_key": it.target.lock_key,
    }


def of_source(relationship: Relationship, now: Time) -> Json:
    it, settings = relationship, relationship.settings
    waits = it.next_active_at if it.next_active_at is not None and it.next_active_at > now else None
    return {
        **_common(it, now),
        "target_address": settings.target_address,
        "target_port": settings.target_port,
        "map_local_ids_to_nfs_ids": settings.map_local_ids_to_nfs_ids,
        "replication_mode": settings.replication_mode,
        "blackout_window_timezone": settings.blackout_window_timezone,
        "blackout_windows": settings.blackout_windows,
        "snapshot_policies": settings.snapshot_policies,
        "source_root_id": it.source.root_id,
        "next_active_time": wire.timestamp(waits),
        "queued_snapshot_count": len(it.queue),
        "replicating_snapshot": it.replicating,
    }


def configuration(relationship: Relationship) -> Json:
    """The eleven fields of the source's configuration (SEEN LIVE)."""
    settings = relationship.settings
    return {
        "id": relationship.id,
        "target_address": settings.target_address,
        "target_port": settings.target_port,
        "source_root_id": relationship.source.root_id,
        "source_root_read_only": relationship.source.read_only,
        "map_local_ids_to_nfs_ids": settings.map_local_ids_to_nfs_ids,
        "replication_enabled": settings.replication_enabled,
        "replication_mode": settings.replication_mode,
        "blackout_window_timezone": settings.blackout_window_timezone,
        "blackout_windows": settings.blackout_windows,
        "snapshot_policies": settings.snapshot_policies,
    }


def _common(it: Relationship, now: Time) -> Json:
    # Nobody knows whether a revert reports itself as a job, so it does both, by switch (INVENTED).
    hidden = it.state is State.DISCONNECTING and not it.revert_shows_progress
    runs = None if hidden else it.work
    # A recovery point is the start of its job (DOCUMENTED), so both are stamped by the same clock: the source's.
    clock = it.source.cluster if it.state is State.ESTABLISHED else it.target.cluster
    return {
        "id": it.id,
        "state": it.state.value,
        "end_reason": it.end_reason,
        "source_cluster_name": it.source.cluster.name,
        "source_cluster_uuid": it.source.cluster.uuid,
        "source_root_path": it.source.path,
        "source_root_read_only": it.source.read_only,
        "target_cluster_name": it.target.cluster.name,
        "target_cluster_uuid": it.target.cluster.uuid,
        "target_root_path": it.target.path,
        "target_root_read_only": it.target.read_only,
        "job_state": "REPLICATION_RUNNING" if runs else "REPLICATION_NOT_RUNNING",
        "job_start_time": wire.timestamp(runs.begun + clock.clock_ahead) if runs else "",
        "recovery_point": wire.timestamp(it.recovery_point),
        "error_from_last_job": it.error_from_last_job,
        "duration_of_last_job": wire.duration(it.duration_of_last_job),
        "replication_enabled": it.settings.replication_enabled,
        "replication_job_status": _progress(runs, it.rate, now) if runs else None,
        "recovery_point_snapshot": it.recovery_point_snapshot,
    }


def _progress(work: Work, rate: float, now: Time) -> Json:
    """The fourteen figures: a percentage as a number, all others as strings (SEEN LIVE).

    Totals are estimates that grow while the estimation runs (DOCUMENTED), here during the first tenth.
    """
    done = work.fraction(now)
    stands = work.stands_at is not None and done >= work.stands_at
    size = int(rate * work.takes / 0.65)  # 35 % of the data is found unchanged
    total = int(size * min(1.0, 0.6 + 4 * done))
    seen = min(total, int(size * done))
    sent = int(seen * 0.65)
    left = None if stands else max(0, round(work.takes * (1 - done)))
    return {
        "percent_complete": 100 * done,
        "estimated_seconds_remaining": None if left is None else str(left),
        "bytes_transferred": str(sent),
        "bytes_unchanged": str(seen - sent),
        "bytes_remaining": str(total - seen),
        "bytes_deleted": "0",
        "bytes_total": str(total),
        "files_transferred": str(sent // BYTES_PER_FILE),
        "files_unchanged": str(seen // BYTES_PER_FILE - sent // BYTES_PER_FILE),
        "files_remaining": str(total // BYTES_PER_FILE - seen // BYTES_PER_FILE),
        "files_deleted": "0",
        "files_total": str(total // BYTES_PER_FILE),
        "throughput_overall": str(int(sent / max(1.0, now - work.begun))),
        "throughput_current": "0" if stands else str(int(rate)),
    }
