"""What makes the desk stop sending by itself: a database that went back in time, a ledger that is not as it was
written, a guard that is gone (rule 10). It sets a hold with the reason; a person looks, and lifts it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DatabaseError, connection

from dashboard.audit import chain, fence
from dashboard.audit import guards as of_the_ledger
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Head
from dashboard.failovers import guards as of_failovers
from dashboard.failovers.holds import hold
from dashboard.failovers.models import Hold

log = logging.getLogger(__name__)

NEWEST = 10_000  # entries that are verified each time


def look() -> None:
    """Hold everything when something is wrong that no single failover can see. Writes down how far the ledger has
    come when nothing is."""
    words = fence.fault()
    if words is not None:
        _hold(f"{words} Compare with the copies elsewhere before anything is sent.")
        _write_down(fence.start_over)  # people have been told; from here on it is this ledger that must not go back
    if doubt := _doubt():
        _hold(doubt)
    if words is None:
        _write_down(fence.remember)


def _write_down(how: Callable[[], None]) -> None:
    try:
        how()
    except OSError:  # a disk that is full must not stop the failover of another one
        log.exception("FENCE_FILE cannot be written")


def _doubt() -> str | None:
    if missing := [*of_the_ledger.missing(connection), *of_failovers.missing(connection)]:
        return f"The database lacks its guards: {', '.join(missing)}."
    head = Head.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
    bad = chain.verify(start=max(1, head - NEWEST + 1)).bad
    return f"The audit trail is broken at entry {bad.seq} ({bad.kind}): {bad.words}" if bad else None


def _hold(reason: str) -> None:
    if Hold.objects.filter(scope="", reason=reason, lifted_at=None).exists():
        return
    log.critical("%s Nothing is sent from now on.", reason)
    try:
        hold(actor=SYSTEM, scope="", reason=reason)
    except DatabaseError:
        # A ledger that takes no entry lets nothing be sent either: what is not on record does not happen.
        log.exception("The hold could not be recorded, and neither can anything else")
