"""What a relationship is made of: its states, its two ends, its settings, and work that takes time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashboard.simulator.cluster import Cluster
    from dashboard.simulator.wire import Time


class State(StrEnum):
    """The seven values of `state` (DOCUMENTED)."""

    AWAITING_AUTHORIZATION = "AWAITING_AUTHORIZATION"
    ESTABLISHED = "ESTABLISHED"
    DISCONNECTING = "DISCONNECTING"
    DISCONNECTED = "DISCONNECTED"
    RECONNECTING = "RECONNECTING"
    REESTABLISHING = "REESTABLISHING"
    ENDED = "ENDED"


class RevertEnds(StrEnum):
    """How the next revert ends: writable, never, or back to ESTABLISHED with an error (INVENTED)."""

    DONE = "DONE"
    HANGS = "HANGS"
    FAILS = "FAILS"


@dataclass
class End:
    """One end: a cluster, its directory and what that cluster alone keeps."""

    cluster: Cluster
    path: str
    root_id: str
    read_only: bool = False
    lock_key: str | None = None
    gone: bool = False  # deleted on this cluster


@dataclass
class Work:
    """Something that takes time: a job, a revert or a resynchronisation."""

    begun: Time
    takes: float
    stands_at: float | None = None  # the fraction at which it stops moving for good

    def fraction(self, now: Time) -> float:
        done = min(1.0, max(0.0, (now - self.begun) / self.takes)) if self.takes > 0 else 1.0
        return done if self.stands_at is None else min(done, self.stands_at)

    @property
    def ends(self) -> Time | None:
        return None if self.stands_at is not None else self.begun + self.takes


@dataclass
class Settings:
    """What the source keeps: the ten settings that a PATCH may change, except the read-only switch of its end."""

    target_address: str = "10.20.4.12"
    target_port: int = 3712
    map_local_ids_to_nfs_ids: bool = False
    replication_enabled: bool = True
    replication_mode: str = "REPLICATION_CONTINUOUS"
    blackout_window_timezone: str = "UTC"
    blackout_windows: list[Any] = field(default_factory=list)
    snapshot_policies: list[Any] = field(default_factory=list)

    @property
    def only_policy_snapshots(self) -> bool:
        """No job starts but for a policy snapshot: what changed after the last of them stays behind (DOCUMENTED)."""
        return self.replication_mode == "REPLICATION_SNAPSHOT_POLICY"
