"""How a failover takes a relationship and gives it back. `failovers` does not write rows of this room, and this room
does not know what a failover is: it keeps the request's number and whether it waits or runs, in the verb's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from dashboard.database import database_now
from dashboard.fleet import changes
from dashboard.fleet.models import Relationship


def hold_row(relationship_pk: int, *, by: str, phase: Literal["waiting", "running"], note: str) -> None:
    """Mark the row as taken by `by` (`FO-1042`); `note` is what the badge says beside it (`0/1`)."""
    _change(relationship_pk, held_by=by, held_phase=phase, held_note=note)


def release_row(relationship_pk: int, *, failed_over_at: datetime | None) -> None:
    """Give the row back. `failed_over_at`: when our failover succeeded; None leaves what is known as it is."""
    columns = {} if failed_over_at is None else {"failed_over_at": failed_over_at}
    _change(relationship_pk, held_by="", held_phase="", held_note="", **columns)


def _change(relationship_pk: int, **columns: str | datetime) -> None:
    # Lock first, read the cluster after: a row that was read while waiting could be older than the lock.
    row = Relationship.objects.select_for_update().get(pk=relationship_pk)
    change = changes.Changes(database_now())
    change.watch(row)
    for name, value in columns.items():
        setattr(row, name, value)
    change.write()
