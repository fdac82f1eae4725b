"""How the failovers of one request stand, counted in words: for its page, and for a line on the wall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.failovers import readings
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover

# What one counts as, in the order in which it is told.
STANDINGS = ("done", "running", "person", "turn", "asked", "failed", "left")


def standing(failover: Failover, now: datetime) -> str:
    """What it counts as among others of its request: one of STANDINGS."""
    match State(failover.state):
        case State.SUCCEEDED:
            return "done"
        case State.REQUESTED:
            return "asked"
        case State.APPROVED:
            return "turn"
        case State.SENT | State.REVERTING:
            return "person" if readings.concern(failover, now) else "running"
        case State.REFUSED | State.STOPPED | State.CLOSED:
            return "failed"
        case _:
            return "left"


def summary(failovers: Sequence[Failover], now: datetime) -> str:
    """How a request with several stands, in one line; what counts none is left out, but for what is done."""
    counts = Counter(standing(failover, now) for failover in failovers)
    words = [
        _("%(n)d of %(all)d writable") % {"n": counts["done"], "all": len(failovers)},
        *(standing_words(name, counts[name]) for name in STANDINGS[1:] if counts[name]),
    ]
    return ", ".join(words)


def standing_words(name: str, n: int) -> str:
    """`3 running`, `1 needs a person`."""
    words = {
        "done": ngettext("%d writable", "%d writable", n),
        "running": ngettext("%d running", "%d running", n),
        "person": ngettext("%d needs a person", "%d need a person", n),
        "turn": ngettext("%d waits its turn", "%d wait their turn", n),
        "asked": ngettext("%d waits for approval", "%d wait for approval", n),
        "failed": ngettext("%d not made writable", "%d not made writable", n),
        "left": ngettext("%d not started", "%d not started", n),
    }
    return words[name] % n


def outcome(failover: Failover, standing: str) -> tuple[str, str]:
    """(health, words) of one of them. Nothing is called failed whose outcome nobody has read."""
    target = failover.relationship.cluster.name
    if standing == "person":
        return "warning", _("Needs a person")
    not_applied = failover.outcome == "not_applied"
    outcomes = {
        State.REQUESTED: ("inactive", _("Waits for approval")),
        State.APPROVED: ("active", _("Waits its turn") if failover.request.size > 1 else _("About to start")),
        State.SENT: ("active", _("Sent")),
        State.REVERTING: ("active", _("Reverting")),
        State.SUCCEEDED: ("good", _("Writable")),
        State.REFUSED: ("critical", _("Refused by %s") % target),
        State.STOPPED: ("warning", _("Stopped before sending")),
        State.CLOSED: ("inactive", _("Closed as not applied")) if not_applied else ("unknown", _("Closed by a person")),
        State.REJECTED: ("inactive", _("Rejected")),
        State.CANCELLED: ("inactive", _("Cancelled")),
        State.EXPIRED: ("inactive", _("Expired")),
    }
    return outcomes[State(failover.state)]
