"""What makes the desk stop sending by itself: a database that went back in time, forgets what it committed, or lost a
guard; a ledger that is not as it was written; a key that opens no token (rule 10). It sets a hold with the reason; a
person looks, and lifts it. Lifted while the cause is still there, it stands again at the next look.

The sweep looks before it works and each minute; a sending worker and the web server look when they start. Whatever a
check itself stumbles over is a reason to hold, too, but for a database that is away: then nothing can be sent either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from dashboard import durability
from dashboard.audit import chain, fence
from dashboard.audit import guards as of_the_ledger
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Head
from dashboard.failovers import guards as of_failovers
from dashboard.failovers import holds, said
from dashboard.fleet import access
from dashboard.fleet.access import Purpose
from dashboard.fleet.models import Cluster
from dashboard.words import visible

log = logging.getLogger(__name__)

NEWEST = 10_000  # entries that are verified each time
NAMED = 20  # guards that are missing; the reason of a hold stands on every page


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason to hold `scope`, as it stands on every page."""

    words: str
    scope: str = ""


def look(*, sends: bool = True) -> None:
    """Hold what the checks find wrong. `sends`: this process may send; then it also writes down how far the ledger has
    come, when nothing says that it went back. Raises OperationalError or InterfaceError when the database is away."""
    found = judged()
    if not sends:
        del found["fence"]  # it is the senders': others may have no place for it, or are not let in
    stands = {fault: _stands(fault) for faults in found.values() for fault in faults}
    if not sends:
        return
    if not found["fence"]:
        _write_down(fence.remember)
    elif all(stands[fault] for fault in found["fence"]):
        _write_down(fence.start_over)  # people have been told; from here on it is this ledger that must not go back


def judged() -> dict[str, list[Fault]]:
    """What each of the CHECKS finds, by its name. Changes nothing."""
    return {name: _faults(name, check) for name, (_about, check) in CHECKS.items()}


def _faults(name: str, check: Callable[[], Iterator[Fault]]) -> list[Fault]:
    try:
        return list(check())
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("The check of %s failed", name)
        return [Fault(f"The check of {name} failed ({type(error).__name__}); the log of the desk says how.")]


def _stands(fault: Fault) -> bool:
    reason = visible(fault.words)[: said.MOST].strip()  # a hold takes no other, and what is wrong must not be too long
    try:
        if holds.hold_once(actor=SYSTEM, scope=fault.scope, reason=reason):
            log.critical("%s Nothing is sent from now on.", fault.words)
    except Exception:
        # A ledger that takes no entry lets nothing be sent either: what is not on record does not happen.
        log.exception("This could not be recorded, and neither can anything else: %s", fault.words)
        return False
    return True


def _write_down(how: Callable[[], None]) -> None:
    try:
        how()
    except OSError:  # a disk that is full must not stop the failover of another one
        log.exception("FENCE_FILE cannot be written")


# ── The checks ───────────────────────────────────────────────────────────────


def _fence() -> Iterator[Fault]:
    if (words := fence.fault()) is not None:
        yield Fault(f"{words} Compare with the copies elsewhere before anything is sent.")


def _guards() -> Iterator[Fault]:
    if missing := [*of_the_ledger.missing(connection), *of_failovers.missing(connection)]:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        yield Fault(f"The database lacks its guards: {', '.join(missing[:NAMED])}{more}.")


def _durability() -> Iterator[Fault]:
    if settings.TESTING:  # the tests' databases are thrown away, and quick because they do not last
        return
    if faults := durability.faults(connection):
        yield Fault(f"{' '.join(faults)} What is recorded before a make-writable must outlast a power cut.")


def _chain() -> Iterator[Fault]:
    head = Head.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
    if bad := chain.verify(start=max(1, head - NEWEST + 1)).bad:
        yield Fault(f"The audit trail is broken at entry {bad.seq} ({bad.kind}): {bad.words}")


def _keys() -> Iterator[Fault]:
    """Only a process that may send has EXECUTOR_KEY, and only what can be sent to is held. Reading with another key's
    token fails, too, so what is sent could not be watched."""
    if not settings.EXECUTOR_KEY:
        return
    sent_to = list(Cluster.objects.exclude(executor_token="").order_by("name"))
    yield from _shut("executor", "EXECUTOR_KEY", sent_to, "Nothing could be sent there.")
    yield from _shut("reader", "READER_KEY", sent_to, "What is sent there could not be watched.")


def _shut(purpose: Purpose, key: str, clusters: list[Cluster], so: str) -> Iterator[Fault]:
    """One cause, one alarm: a key that opens nothing at all was lost, or is another desk's."""
    advice = "Give this desk the key that they were stored with, or store the tokens again: manage.py cluster change."
    shut = [cluster.name for cluster in clusters if not access.opens(purpose, cluster)]
    if len(shut) > 1 and len(shut) == len(clusters):
        yield Fault(f"{key} opens none of the {purpose} tokens that are stored. {advice}")
        return
    for name in shut:
        yield Fault(f"{key} does not open the {purpose} token of {name}. {so} {advice}", scope=name)


# Name → what it is about, for people; and the check.
CHECKS: dict[str, tuple[str, Callable[[], Iterator[Fault]]]] = {
    "fence": ("the database has not gone back in time", _fence),
    "guards": ("every trigger, unique index and constraint is there and says what it should", _guards),
    "durability": ("what is committed outlasts a power cut", _durability),
    "chain": (f"the newest {NEWEST} entries of the audit trail are whole", _chain),
    "keys": ("the keys open the tokens of every cluster that can be sent to", _keys),
}
