"""What people do with a request: ask, approve, reject, cancel. (Closing is in `closing`; what drivers do is in
`execution` and `watching`.)

Each verb is one transaction that holds its guard, its change and its entry in the ledger, or none of them. A verb that
says no raises `Refused` with one sentence for a person, or `Stale` when somebody else was first; the page records the
attempt in a transaction of its own, since this one is rolled back.

Nobody is exempt from four eyes. What is compared are persons, not accounts; the database compares them again.
"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.database import database_now
from dashboard.failovers import plan, preflight, reading
from dashboard.failovers.bell import ring
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, WORDS, Refused, Stale, State
from dashboard.failovers.models import FIRST_NUMBER, Decision, Failover, Request
from dashboard.failovers.moves import lock_relationships, move, not_yet, reached
from dashboard.fleet import hold
from dashboard.fleet.models import Relationship
from dashboard.words import bare, clock

log = logging.getLogger(__name__)

__all__ = ["FIRST_NUMBER", "TIMING", "approve", "cancel", "expire_due", "reject", "request"]

REASON_LEAST = 10
REASON_MOST = 2000


def request(
    *,
    user: User,
    actor: Actor,
    relationship: Relationship,
    typed: str,
    reason: str,
    ticket: str,
    nonce: UUID,
    mode: str = "unplanned",
) -> Request:
    """Ask for one failover. The same form sent twice is one request: `nonce` finds the first again."""
    try:
        with transaction.atomic():
            again = _sent_before(user, relationship, nonce)
            if again:
                return again
            row = Relationship.objects.select_for_update().get(pk=relationship.pk)
            return _request(user, actor, row, typed.strip(), reason.strip(), ticket.strip(), nonce, mode)
    except IntegrityError:
        # The unique guards spoke: either this very form came twice at once, or another request was first.
        again = _sent_before(user, relationship, nonce)
        if again:
            return again
        other = Failover.objects.open().filter(relationship=relationship).first()
        if other is None:
            raise
        raise Refused(f"{other.number} is open for this relationship.") from None


def _sent_before(user: User, relationship: Relationship, nonce: UUID) -> Request | None:
    again = Request.objects.filter(nonce=nonce).first()
    if again is None:
        return None
    if again.requester_id == user.person_id and again.failovers.filter(relationship=relationship).exists():
        return again
    raise Refused("This form was used for another request. Open it again.")


def _request(
    user: User, actor: Actor, row: Relationship, typed: str, reason: str, ticket: str, nonce: UUID, mode: str
) -> Request:
    now = database_now()
    target = row.cluster.name
    if not user.has(Role.OPERATOR):
        raise Refused(f"You may not request failovers for {target}.")
    situation = reading.situation(row, now=now, user=user)
    expected = reading.expected_typing(row)
    if bare(typed) != expected:
        raise Refused(f"The path does not match. Type {expected}", field="typed")
    if len(reason) < REASON_LEAST:
        raise Refused(f"Say in a few words why, at least {REASON_LEAST} characters.", field="reason")
    if len(reason) > REASON_MOST:
        raise Refused(f"The reason is longer than {REASON_MOST} characters.", field="reason")
    if len(ticket) > 64:
        raise Refused("The ticket is longer than 64 characters.", field="ticket")
    blocking = preflight.blocks(preflight.judge(situation))
    if blocking:
        raise Refused(blocking[0].words)
    if situation.status is None or situation.read_at is None or now - situation.read_at > TIMING.fresh:
        raise Refused(f"{target} was last read {clock(situation.read_at, now)}. Read it again before you ask.")

    item = plan.Item.of(situation.status, target=target, mode=mode)
    text = plan.write([item], reason=reason, ticket=ticket, required=1)
    made = Request.objects.create(
        nonce=nonce,
        requester=user.person,
        requester_label=user.person.label,
        made_at=now,
        mode=mode,
        reason=reason,
        ticket=ticket,
        plan=text,
        digest=plan.digest(text),
        facts_seen=reading.frozen(situation),
        required=1,
        decide_by=now + TIMING.decide,
    )
    failover = Failover.objects.create(request=made, relationship=row, next_step_at=now)
    hold.hold_row(row.pk, by=failover.number, phase="waiting", note=f"0/{made.required}")
    chain.append(
        "request.made",
        actor=actor,
        object=made.number,
        words=f"Asked to make {target}:{bare(item.target_root_path)} writable",
        detail={
            "plan": text,
            "digest": made.digest,
            "decide_by": decide_text(made.decide_by),
            "seen": made.facts_seen,
        },
    )
    return made


def decide_text(moment: datetime) -> str:
    """A time for the ledger: UTC, microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def approve(
    *,
    user: User,
    actor: Actor,
    request_pk: int,
    digest: str,
    comment: str = "",
    seen: dict[str, Any] | None = None,
) -> Request:
    """Vote for a request. The vote that completes the count approves every item of it and rings the bell."""
    with transaction.atomic():
        asked, failovers = _undecided(user, request_pk, digest)
        _vote(asked, user, "approve", comment, seen)
        votes = asked.decisions.filter(verdict="approve", digest=asked.digest).count()
        words = f"Approved {asked.number} ({votes} of {asked.required})"
        detail: dict[str, chain.JSON] = {"digest": digest, "comment": comment, "votes": votes, "seen": seen or {}}
        if votes < asked.required:
            for failover in failovers:
                hold.hold_row(
                    failover.relationship_id,
                    by=failover.number,
                    phase="waiting",
                    note=f"{votes}/{asked.required}",
                )
            chain.append("decision.made", actor=actor, object=asked.number, words=words, detail=detail)
            return asked
        now = database_now()
        for failover in failovers:
            move(
                failover,
                "approve",
                actor=actor,
                words=words,
                detail=detail,
                where=(not_yet(asked.decide_by),),
                held_note=f"{votes}/{asked.required}",
                approved_at=now,
                run_by=now + TIMING.run,
                next_step_at=now,
            )
            transaction.on_commit(partial(ring, failover.pk), robust=True)
    reach("approve.after_commit")
    return asked


def reject(
    *,
    user: User,
    actor: Actor,
    request_pk: int,
    digest: str,
    comment: str = "",
    seen: dict[str, Any] | None = None,
) -> Request:
    """One rejection ends a request."""
    with transaction.atomic():
        asked, failovers = _undecided(user, request_pk, digest)
        _vote(asked, user, "reject", comment, seen)
        words = f"Rejected {asked.number}"
        for failover in failovers:
            move(
                failover,
                "reject",
                actor=actor,
                words=words,
                detail={"digest": digest, "comment": comment},
                where=(not_yet(asked.decide_by),),
                ended_at=database_now(),
                ended_by=user.person.label,
                outcome_words=f"Rejected by {user.person.label}.",
            )
    return asked


def _undecided(user: User, request_pk: int, digest: str) -> tuple[Request, list[Failover]]:
    """The request and its failovers, locked, when this person may decide on it now."""
    asked, failovers = _locked(request_pk)
    if not user.has(Role.APPROVER):
        raise Refused("You may not decide on failovers.", tag="decision.refused")
    if user.person_id == asked.requester_id:
        raise Refused("You asked for this failover; another person must decide.", tag="decision.refused")
    if asked.decisions.filter(person=user.person).exists():
        raise Refused("You have already decided on this request.", tag="decision.refused")
    other = next((f for f in failovers if f.state != State.REQUESTED), None)
    if other is not None:
        raise Stale(f"{asked.number} is {WORDS[State(other.state)].lower()} by now.", tag="decision.refused")
    if database_now() >= asked.decide_by:
        raise Stale(f"{asked.number} expired: nobody approved in time.", tag="decision.refused")
    if digest != asked.digest:
        raise Stale("This page did not show the request as it is. Read it again.", tag="decision.refused")
    return asked, failovers


def _locked(request_pk: int) -> tuple[Request, list[Failover]]:
    asked = Request.objects.select_for_update().get(pk=request_pk)
    failovers = list(asked.failovers.select_for_update().order_by("position"))
    lock_relationships(failovers)
    return asked, failovers


def _vote(asked: Request, user: User, verdict: str, comment: str, seen: dict[str, Any] | None) -> None:
    if len(comment) > REASON_MOST:
        raise Refused(f"The comment is longer than {REASON_MOST} characters.", field="comment", tag="decision.refused")
    try:
        with transaction.atomic():  # a savepoint: PostgreSQL would otherwise refuse everything after the refusal
            Decision.objects.create(
                request=asked,
                person=user.person,
                requester=asked.requester,
                person_label=user.person.label,
                verdict=verdict,
                comment=comment,
                digest=asked.digest,
                auth="password",
                facts_seen=seen or {},
                at=database_now(),
            )
    except IntegrityError:
        raise Refused("You have already decided on this request.", tag="decision.refused") from None


def cancel(*, user: User, actor: Actor, request_pk: int) -> Request:
    """Take a request back before anything was sent: by its requester, an approver or an admin."""
    with transaction.atomic():
        asked, failovers = _locked(request_pk)
        if user.person_id != asked.requester_id and not (user.has(Role.APPROVER) or user.has(Role.ADMIN)):
            raise Refused("Only the person who asked, an approver or an admin can cancel this.", tag="cancel.refused")
        early = [f for f in failovers if f.state in (State.REQUESTED, State.APPROVED)]
        if not early:
            sent = next((f for f in failovers if f.state in ON_THE_CLUSTER), failovers[0])
            if sent.sent_at and sent.state in ON_THE_CLUSTER:
                at = clock(sent.sent_at, database_now())
                raise Stale(f"It was sent at {at}. It cannot be taken back from here.", tag="cancel.refused")
            raise Stale(f"{asked.number} is {WORDS[State(sent.state)].lower()} by now.", tag="cancel.refused")
        for failover in early:
            move(
                failover,
                "cancel",
                actor=actor,
                words=f"Cancelled {failover.number}",
                ended_at=database_now(),
                ended_by=user.person.label,
                outcome_words=f"Cancelled by {user.person.label}. Nothing was sent.",
            )
    return asked


def expire_due(now: datetime | None = None) -> int:
    """End what was not approved or not started in time. Called by the sweep and by whoever reads it first."""
    now = now or database_now()
    ended = 0
    late = Q(state=State.REQUESTED, request__decide_by__lte=now) | Q(state=State.APPROVED, run_by__lte=now)
    for failover in Failover.objects.filter(late).select_related("request"):
        waiting = failover.state == State.REQUESTED
        deadline = failover.request.decide_by if waiting else failover.run_by
        if deadline is None:
            continue
        why = "nobody approved in time" if waiting else "not started in time"
        try:
            with transaction.atomic():
                move(
                    failover,
                    "expire",
                    words=f"{failover.number} expired: {why}",
                    where=(Q(state=failover.state), reached(deadline)),
                    ended_at=database_now(),
                    outcome="undecided" if waiting else "not_started",
                    outcome_words=f"Expired: {why}. Nothing was sent.",
                )
        except Stale:
            continue  # somebody moved it while we looked; that move stands
        except OperationalError:
            raise
        except Exception:  # one row that cannot be moved must not keep the others; it cannot be sent either
            log.exception("Failover %s is too late and could not be ended", failover.pk)
            continue
        ended += 1
    return ended
