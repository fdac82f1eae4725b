"""What the readings of a failover that is on the cluster showed, and what follows from it for people: whether somebody
must look, and whether it may be closed. Reads the database only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from dashboard.failovers import lifecycle
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import Concern, LastRead, State
from dashboard.failovers.models import Failover, Heartbeat
from dashboard.fleet.models import Observation

LATE_SENDER = timedelta(seconds=15)


def _readings(failover: Failover) -> QuerySet[Observation]:
    return Observation.objects.filter(relationship=failover.relationship_id, held_by=failover.number)


def last_read(failover: Failover) -> LastRead | None:
    """The newest reading of this failover; for one that failed, since when they fail that way."""
    newest = _readings(failover).first()
    if newest is None:
        return None
    if newest.state:
        read_only, stuck = newest.target_root_read_only, {"state": "DISCONNECTED", "target_root_read_only": True}
        since = None
        if (newest.state, read_only) == ("DISCONNECTED", True):
            since = _first_at(_readings(failover).filter(**stuck), after=_readings(failover).exclude(**stuck).first())
        return LastRead(at=newest.at, state=newest.state, target_read_only=read_only, since=since)
    kind = newest.words.partition(":")[0]
    good = _readings(failover).exclude(state="").first()
    failed = _readings(failover).filter(state="", words__startswith=kind)
    since = _first_at(failed, after=good)
    return LastRead(at=newest.at, state="", target_read_only=None, trouble=kind, since=since)


def _first_at(readings: QuerySet[Observation], *, after: Observation | None) -> datetime | None:
    if after:
        readings = readings.filter(at__gt=after.at)
    return readings.order_by("at").values_list("at", flat=True).first()


def concern(failover: Failover, now: datetime) -> Concern | None:
    return lifecycle.concern(State(failover.state), failover.sent_at, last_read(failover), now, TIMING)


def doubtful(failover: Failover, now: datetime) -> bool:
    """Sent, and no clear answer: the page says "Outcome unknown"."""
    if failover.state != State.SENT or failover.sent_at is None:
        return False
    if failover.answer:
        return failover.answer.get("kind") == "doubt"
    return now >= failover.sent_at + TIMING.post_deadline


@dataclass(frozen=True, slots=True)
class Closable:
    """Whether a person may end it now, and how. `at`: not before. The verb checks all of this again."""

    at: datetime
    not_applied: bool
    other: bool


def closable(failover: Failover, now: datetime) -> Closable | None:
    if failover.state not in lifecycle.ON_THE_CLUSTER or failover.sent_at is None:
        return None
    at = failover.sent_at + TIMING.settle
    last = last_read(failover)
    quiet = last is not None and now - last.at <= TIMING.proof
    untouched = quiet and last is not None and (last.state, last.target_read_only) == ("ESTABLISHED", True)
    open_now = now >= at and (failover.state == State.SENT or concern(failover, now) is not None)
    return Closable(at, open_now and untouched and failover.state == State.SENT, open_now)


def evidence(failover: Failover) -> dict[str, Any]:
    """What the readings since the sending showed, for the ledger and the page that asks a person to close."""
    shown = Counter(
        o.state + (" read-only" if o.target_root_read_only else " writable") if o.state else o.words.partition(":")[0]
        for o in _readings(failover).filter(at__gte=failover.sent_at)
    )
    newest = last_read(failover)
    return {
        "readings": sum(shown.values()),
        "shown": dict(shown),
        "last_at": newest.at.isoformat() if newest else "",
        "last_state": newest.state or newest.trouble if newest else "",
    }


@dataclass(frozen=True)
class LateSender:
    """An approved failover may start late. `seen_at`: when the sweep came round last; None if it never did."""

    seen_at: datetime | None


def late_sender(now: datetime, *, asked_at: datetime) -> LateSender | None:
    """Who asked at `asked_at` must not wait unwarned, even where no sweep was ever started; None while all is well."""
    beat = Heartbeat.objects.filter(driver="sweep").first()
    seen_at = beat.at if beat else None
    return LateSender(seen_at) if now - (seen_at or asked_at) > LATE_SENDER else None
