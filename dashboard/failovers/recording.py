"""Whether the ledger takes entries. While it takes none, nothing is sent, because no intent can be committed; a hold
could not be written either, so pages must find it out without one.

The sweep proves it every few seconds, by an entry that it takes back and a heartbeat that it leaves. A heartbeat that
stopped while the sweep itself came round says that the ledger takes nothing: a disk that is full, a right that was
taken away, a chain that is broken. Where both stopped, the sweep may just be dead; then it is said only of a SQLite
whose disk is full.
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from django.db import connection, transaction

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.database import database_now
from dashboard.failovers.models import Heartbeat
from dashboard.failovers.readings import LATE_SENDER

log = logging.getLogger(__name__)

PROVED_EVERY = timedelta(seconds=15)
LATE = 3 * PROVED_EVERY
ROOM = 2**20  # bytes that are left of a disk that is called full


class _TakenBack(Exception):
    """Ends the transaction of an entry that was only to be tried."""


def prove() -> None:
    """Note that the ledger takes an entry, if it does; never raises, because the sweep has other work."""
    try:
        try:
            with transaction.atomic():
                chain.append("audit.tried", actor=SYSTEM)
                raise _TakenBack  # noqa: TRY301 - this is how an atomic block is taken back
        except _TakenBack:
            Heartbeat.objects.update_or_create(driver="ledger", defaults={"at": database_now()})
    except Exception:
        log.exception("The ledger takes no entry: nothing can be sent")


def refused_since(swept: datetime | None, proved: datetime | None, now: datetime) -> datetime | None:
    """When an entry was last possible, if none is now. `swept` and `proved` are the two heartbeats, `now` is the
    database's clock."""
    if proved is None or now - proved <= LATE:
        return None
    comes_round = swept is not None and now - swept <= LATE_SENDER
    return proved if comes_round or _disk_is_full() else None


def _disk_is_full() -> bool:
    if connection.vendor != "sqlite":  # the disk of PostgreSQL is its own
        return False
    return shutil.disk_usage(Path(str(connection.settings_dict["NAME"])).parent).free < ROOM
