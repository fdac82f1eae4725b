"""How a failover whose outcome stayed in doubt is left: by a person, on evidence, after the settle window (rule 5).
Sends nothing; a new try is a new request with new approvals."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit.chain import Actor
from dashboard.database import database_now
from dashboard.failovers import readings, said
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, WORDS, Refused, Stale, State
from dashboard.failovers.models import Failover
from dashboard.failovers.moves import move, reached
from dashboard.words import duration


def close(*, user: User, actor: Actor, failover_pk: int, outcome: str, reason: str = "") -> Failover:
    """A person ends a failover whose outcome stayed in doubt. Sends nothing; a new try is a new request.

    `not_applied` rests on a reading of the last seconds that shows it established and read-only, after the settle
    window, when nothing that was sent can still arrive. `other` (cluster gone, failed back by hand) needs a typed
    reason.
    """
    reason = said.legible(reason, "reason", tag="close.refused")
    with transaction.atomic():
        # `of`: a request is locked before its failovers or not at all, else this and a cancel wait for each other.
        locked = Failover.objects.select_for_update(of=("self",)).select_related("request", "relationship__cluster")
        failover = locked.get(pk=failover_pk)
        now = database_now()
        if (
            not user.has(Role.APPROVER, failover.relationship.cluster.name)
            or user.person_id == failover.request.requester_id
        ):
            raise Refused("Only an approver who did not ask can close a failover.", tag="close.refused")
        if failover.state not in ON_THE_CLUSTER or failover.sent_at is None:
            raise Stale(f"It is {WORDS[State(failover.state)].lower()} by now.", tag="close.refused")
        _closable(failover, outcome, reason, now)
        move(
            failover,
            "close",
            actor=actor,
            words=f"Closed {failover.number}: " + ("not applied" if outcome == "not_applied" else reason),
            detail={"outcome": outcome, "reason": reason, "evidence": readings.evidence(failover)},
            where=(Q(state=failover.state), reached(failover.sent_at + TIMING.settle)),
            ended_at=now,
            ended_by=user.person.label,
            outcome=outcome,
            outcome_words=_closed_words(failover, outcome, reason, user.person.label),
        )
    failover.refresh_from_db()
    return failover


def _closed_words(failover: Failover, outcome: str, reason: str, who: str) -> str:
    if outcome == "not_applied":
        target = failover.relationship.cluster.name
        return f"Closed by {who}: not applied. {target} still reports it as established and read-only."
    return f"Closed by {who}: {reason}"


def _closable(failover: Failover, outcome: str, reason: str, now: datetime) -> None:
    if failover.sent_at is None or now < failover.sent_at + TIMING.settle:
        left = (failover.sent_at + TIMING.settle if failover.sent_at else now) - now
        raise Refused(
            f"It may still arrive. It can be closed in {duration(max(left, timedelta(seconds=1)))}.",
            tag="close.refused",
        )
    if failover.state == State.REVERTING and readings.concern(failover, now) is None:
        raise Refused("The revert runs. There is nothing to close.", tag="close.refused")
    if outcome == "not_applied":
        last = readings.last_read(failover)
        untouched = (
            last is not None and not last.trouble and (last.state, last.target_read_only) == ("ESTABLISHED", True)
        )
        if failover.state != State.SENT or last is None or not untouched or now - last.at > TIMING.proof:
            raise Refused(
                "Not applied needs a reading of the last 10 s that shows it established and read-only.",
                tag="close.refused",
            )
    elif outcome == "other":
        said.reason(reason, tag="close.refused")
    else:
        raise Refused("Say whether it was not applied, or why it is closed.", tag="close.refused")
