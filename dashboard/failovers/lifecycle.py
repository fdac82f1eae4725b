"""States of a failover, the moves between them, and the words for both. Pure: no clock, no database.

    requested ── approve ──► approved ── send ──► sent ──► reverting ──► succeeded
        │                       │                  │           │
        ├─► rejected            ├─► stopped        ├─► refused └─► closed
        ├─► cancelled           ├─► cancelled      ├─► succeeded
        └─► expired             └─► expired        ├─► closed
                                                   └─► approved | stopped   (only the sender that knows: no byte left)

`approved → sent` is the only edge that leads to a POST. It is a compare-and-set, and only the process that made it can
lead back, because it alone knows that nothing left. So no second sender can exist (rule 2). Nothing but a reading of
the cluster, or a person, leads out of `sent`: no timer does (rule 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from dashboard.failovers.timing import Timing


class State(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    SENT = "sent"
    REVERTING = "reverting"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    STOPPED = "stopped"
    REFUSED = "refused"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"


OPEN = (State.REQUESTED, State.APPROVED, State.SENT, State.REVERTING)
STARTED = (State.APPROVED, State.SENT, State.REVERTING)
ON_THE_CLUSTER = (State.SENT, State.REVERTING)
TERMINAL = tuple(s for s in State if s not in OPEN)

# One table for code and pages. {…} are filled by the page from the record.
WORDS = {
    State.REQUESTED: "Waiting for approval",
    State.APPROVED: "Approved, checks run again",
    State.SENT: "Make-writable sent",
    State.REVERTING: "Reverting to the recovery point",
    State.REJECTED: "Rejected",
    State.CANCELLED: "Cancelled",
    State.EXPIRED: "Expired",
    State.STOPPED: "Stopped before sending",
    State.REFUSED: "Refused by the cluster",
    State.SUCCEEDED: "The target is writable",
    State.CLOSED: "Closed by a person",
}


class Move(NamedTuple):
    """`name` is the verb, `tag` the entry that it leaves in the ledger."""

    name: str
    sources: tuple[State, ...]
    target: State
    tag: str


MOVES = {
    move.name: move
    for move in (
        Move("approve", (State.REQUESTED,), State.APPROVED, "request.approved"),
        Move("reject", (State.REQUESTED,), State.REJECTED, "request.rejected"),
        Move("cancel", (State.REQUESTED, State.APPROVED), State.CANCELLED, "request.cancelled"),
        Move("expire", (State.REQUESTED, State.APPROVED), State.EXPIRED, "request.expired"),
        Move("stop", (State.APPROVED,), State.STOPPED, "failover.stopped"),
        Move("send", (State.APPROVED,), State.SENT, "failover.sent"),
        Move("take_back", (State.SENT,), State.APPROVED, "failover.notsent"),
        Move("give_up", (State.SENT,), State.STOPPED, "failover.stopped"),
        Move("refuse", (State.SENT,), State.REFUSED, "failover.refused"),
        Move("revert", (State.SENT,), State.REVERTING, "failover.reverting"),
        Move("succeed", (State.SENT, State.REVERTING), State.SUCCEEDED, "failover.succeeded"),
        Move("close", (State.SENT, State.REVERTING), State.CLOSED, "failover.closed"),
    )
}


class Refused(Exception):
    """A verb said no. `words` is one clear sentence, shown as it is; `field` names the form field it belongs to;
    `tag` is the ledger tag under which the attempt is recorded."""

    def __init__(self, words: str, *, field: str = "", tag: str = "request.refused") -> None:
        super().__init__(words)
        self.words = words
        self.field = field
        self.tag = tag


class Stale(Refused):
    """Somebody else moved it first; the page that asked was old. Answered with 409 and the state of now."""


class Concern(StrEnum):
    """Why a failover that is on the cluster needs a person. A question asked of the record, not a state."""

    NOT_SEEN = "not_seen"
    UNREACHABLE = "unreachable"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    VANISHED = "vanished"
    IDENTITY = "identity"
    CONTRADICTION = "contradiction"
    BACK_TO_ESTABLISHED = "back_to_established"
    READ_ONLY = "read_only"


CONCERN_WORDS = {
    Concern.NOT_SEEN: "Make-writable was sent, and the relationship is still established and read-only.",
    Concern.UNREACHABLE: "Make-writable was sent, and the cluster does not answer.",
    Concern.RECONNECTING: "Somebody is reconnecting the relationship.",
    Concern.ENDED: "The relationship has ended.",
    Concern.VANISHED: "The cluster no longer knows the relationship.",
    Concern.IDENTITY: "The relationship or the cluster is no longer the one that was approved.",
    Concern.CONTRADICTION: "The cluster reports an established relationship with a writable target.",
    Concern.BACK_TO_ESTABLISHED: "The revert had begun, and the relationship is established again.",
    Concern.READ_ONLY: "The relationship is disconnected, and the target is still read-only.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRead:
    """What the newest reading of the cluster showed; `state` is empty when it did not answer, and `trouble` then is
    "unreachable", "identity" or "vanished". `since`: when this trouble began; of a good reading, when it
    was first read as disconnected and read-only, if it still is."""

    at: datetime
    state: str
    target_read_only: bool | None
    trouble: str = ""
    since: datetime | None = None


def concern(
    state: State, sent_at: datetime | None, read: LastRead | None, now: datetime, timing: Timing
) -> Concern | None:
    """Why a person must look at a failover that is on the cluster, or None. Moves nothing."""
    if state not in ON_THE_CLUSTER or sent_at is None:
        return None
    settled = now >= sent_at + timing.settle
    if read is None:
        return Concern.UNREACHABLE if settled else None
    if read.trouble:
        return _trouble(read, now, timing, settled=settled)
    match read.state, read.target_read_only:
        case (("RECONNECTING" | "REESTABLISHING"), _):
            return Concern.RECONNECTING
        case "ENDED", _:
            return Concern.ENDED
        case "ESTABLISHED", False:
            return Concern.CONTRADICTION
        case "ESTABLISHED", _:
            if state is State.REVERTING:
                return Concern.BACK_TO_ESTABLISHED
            return Concern.NOT_SEEN if settled else None
        case (("DISCONNECTING" | "DISCONNECTED"), _):  # read-only at the end of a revert may pass by; it must not stay
            return Concern.READ_ONLY if read.since and now >= read.since + timing.settle else None
        case _:
            return Concern.NOT_SEEN if settled else None


def _trouble(read: LastRead, now: datetime, timing: Timing, *, settled: bool) -> Concern | None:
    lasted = now - (read.since or read.at)
    if read.trouble == "identity":
        return Concern.IDENTITY
    if read.trouble == "vanished":
        return Concern.VANISHED if lasted >= timing.vanished else None
    return Concern.UNREACHABLE if settled and lasted >= timing.unanswered else None
