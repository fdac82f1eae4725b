"""What exactly is asked and approved: one `Item` per failover, and the digest that every decision is bound to. Pure.

The digest covers the ordered items, the approvals that are needed, the times, the mode, the reason and the ticket, over
canonical JSON; the stored text is what was hashed, and a decision on it covers exactly these items. The sender compares
each item with a fresh reading: identity must be equal, and the recovery point may only have moved forward (rule 8).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from dashboard.failovers.policy import Rules
from dashboard.qumulo.records import TargetStatus
from dashboard.words import bare


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One failover of a plan. Times are the API's raw texts, with all their digits."""

    relationship_id: str
    target_cluster: str  # its name here
    target_cluster_uuid: str
    target_root_path: str
    target_root_id: str
    source_cluster: str  # its name as reported
    source_cluster_uuid: str
    source_root_path: str
    recovery_point: str
    loss_from: str
    mode: str = "unplanned"

    @classmethod
    def of(cls, status: TargetStatus, *, target: str, mode: str = "unplanned") -> Item:
        point, loss = status.recovery_point, status.loss_from
        return cls(
            relationship_id=status.id,
            target_cluster=target,
            target_cluster_uuid=status.target_cluster_uuid,
            target_root_path=status.target_root_path,
            target_root_id=status.target_root_id or "",
            source_cluster=status.source_cluster_name,
            source_cluster_uuid=status.source_cluster_uuid,
            source_root_path=status.source_root_path,
            recovery_point=point.raw if point else "",
            loss_from=loss.raw if loss else "",
            mode=mode,
        )

    def compare(self, status: TargetStatus) -> Iterator[tuple[str, str, str]]:
        """(what, then, now) for each part of the identity; names of clusters are not identity."""
        yield "The relationship id", self.relationship_id, status.id
        yield "The target cluster", self.target_cluster_uuid, status.target_cluster_uuid
        yield "The source cluster", self.source_cluster_uuid, status.source_cluster_uuid
        yield "The target path", self.target_root_path, status.target_root_path
        yield "The source path", self.source_root_path, status.source_root_path
        yield "The target directory", self.target_root_id, status.target_root_id or ""

    def same_identity(self, status: TargetStatus) -> bool:
        return all(then == now for _, then, now in self.compare(status))

    @property
    def shown_path(self) -> str:
        return bare(self.target_root_path)

    @property
    def recovery_point_at(self) -> datetime | None:
        return datetime.fromisoformat(self.recovery_point) if self.recovery_point else None

    @property
    def loss_from_at(self) -> datetime | None:
        return datetime.fromisoformat(self.loss_from) if self.loss_from else None


def write(items: list[Item], *, reason: str, ticket: str, mode: str, rules: Rules, break_glass: bool = False) -> str:
    """The plan as canonical JSON: this text is stored, shown to auditors, and hashed."""
    shares = () if break_glass else rules.shares
    plan = {
        "items": [asdict(i) for i in items],
        "reason": reason,
        "ticket": ticket,
        "mode": mode,
        "break_glass": break_glass,
        "policies": rules.names,
        "shares": [asdict(share) for share in shares],
        "required": sum(share.count for share in shares),
        "run_seconds": int(rules.run.total_seconds()),
    }
    return json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read(text: str) -> list[Item]:
    return [Item(**item) for item in json.loads(text)["items"]]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
