"""What was done to a relationship before: its failovers and drills, for whoever asks for another or decides on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.accounts.models import User
from dashboard.failovers import reading
from dashboard.failovers.lifecycle import WORDS, State
from dashboard.failovers.models import Failover, Mode
from dashboard.fleet.models import Relationship

MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """One of them, as its record tells it. `took` and `point_age` are what one that succeeded has achieved: from the
    sending until the target was seen to be writable, and how old the state was that it went back to. `lost` is None
    when nothing was sent."""

    number: str
    mode: Mode
    break_glass: bool
    asked_by: str
    asked_at: datetime
    state: State
    words: str
    why: str
    sent_at: datetime | None
    took: timedelta | None
    point_age: timedelta | None
    lost: str | None

    @property
    def drill(self) -> bool:
        return self.mode == Mode.DRILL


def earlier(relationship: Relationship, *, user: User, before_request: int | None = None) -> list[Earlier]:
    """The newest ten that this person may see, newest first; with `before_request` those asked for before that one. One
    query."""
    found = Failover.objects.visible_to(user).filter(relationship=relationship)
    if before_request is not None:
        found = found.filter(request__lt=before_request)
    return [_tell(failover) for failover in found.select_related("request", "relationship").order_by("-pk")[:MOST]]


def _tell(failover: Failover) -> Earlier:
    asked, sent_at = failover.request, failover.sent_at
    loss = reading.loss_of(failover, now=sent_at) if sent_at else None
    done = failover.state == State.SUCCEEDED
    return Earlier(
        number=failover.number,
        mode=Mode(asked.mode),
        break_glass=asked.break_glass,
        asked_by=asked.requester_label,
        asked_at=asked.made_at,
        state=State(failover.state),
        words=WORDS[State(failover.state)],
        why=failover.outcome_words,
        sent_at=sent_at,
        took=failover.ended_at - sent_at if done and sent_at and failover.ended_at else None,
        point_age=sent_at - loss.since if done and sent_at and loss and loss.since else None,
        lost=loss.words if loss else None,
    )
