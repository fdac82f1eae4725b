"""How a failover takes a relationship and gives it back. `failovers` does not write rows of this room, and this room
does not know what a failover is: it keeps the request's number and whether it waits or runs, in the verb's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from dashboard.database import database_now
from dashboard.fleet import changes
from dashboard.fleet.models import Cluster, Relationship


def hold_rows(taken: Mapping[int, str], *, phase: Literal["waiting", "running"], note: str) -> None:
    """Mark rows as taken: key of the relationship → by what (`FO-1042`). `note` is what the badge says beside it
    (`0/1`)."""
    _change({key: {"held_by": by, "held_phase": phase, "held_note": note} for key, by in taken.items()})


def release_rows(relationships: Iterable[int], *, failed_over_at: datetime | None) -> None:
    """Give rows back. `failed_over_at`: when our failover succeeded; None leaves what is known as it is."""
    columns = {} if failed_over_at is None else {"failed_over_at": failed_over_at}
    _change({key: {"held_by": "", "held_phase": "", "held_note": "", **columns} for key in relationships})


def _change(wanted: Mapping[int, Mapping[str, str | datetime]]) -> None:
    # Lock first, read the clusters after: one that was read while waiting could be older than the lock.
    rows = list(Relationship.objects.select_for_update().filter(pk__in=wanted).order_by("pk"))
    clusters = Cluster.objects.in_bulk({row.cluster_id for row in rows})
    change = changes.Changes(database_now())
    for row in rows:
        row.cluster = clusters[row.cluster_id]
        change.watch(row)
        for name, value in wanted[row.pk].items():
            setattr(row, name, value)
    change.write()
