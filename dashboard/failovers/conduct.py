"""What people do with a request: approve, reject, cancel, review. (Asking is in `asking`, closing in `closing`; what
drivers do is in `execution` and `watching`.)

Each verb is one transaction that holds its guard, its change and its entry in the ledger, or none of them. A verb that
says no raises `Refused` with one sentence for a person, or `Stale` when somebody else was first; the page records the
attempt in a transaction of its own, since this one is rolled back.

Every approval says until when it is good for starting, by the database's clock (rule 6).

Nobody is exempt from four eyes. What is compared are persons, not accounts; the database compares them again. A vote
is on the digest of exactly what was asked, and on the facts that are true when it is given: whoever was shown older
ones is asked to look again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q

from dashboard.accounts.models import User
from dashboard.accounts.people import groups_of
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.database import database_now
from dashboard.failovers import eyes, policy, reading, said
from dashboard.failovers.asking import ring_first
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, WORDS, Refused, Stale, State
from dashboard.failovers.models import Decision, Failover, Request, Review
from dashboard.failovers.moves import change, conclude, lock_relationships, move, not_yet, reached
from dashboard.failovers.preflight import Situation
from dashboard.fleet import hold
from dashboard.words import clock

log = logging.getLogger(__name__)

REVIEWERS = 2
REVIEW_WITHIN = timedelta(hours=24)


def approve(
    *, user: User, actor: Actor, request_pk: int, digest: str, comment: str, auth: str, changed: str = ""
) -> Request:
    """Vote for a request. The vote that completes the count approves every item of it and rings the bell.

    `changed` is the digest of the changed facts that the person was shown and ticked (`reading.digest_of`).
    """
    with transaction.atomic():
        asked, failovers = _undecided(user, request_pk, digest)
        comment = said.comment(comment, otherwise=_SAY, tag=REFUSED)
        seen = reading.situations(failovers, now=database_now())
        _saw_what_changed(asked, seen, changed)
        frozen = reading.frozen([failover.relationship for failover in failovers], seen)
        shares, has = eyes.shares_of(asked), eyes.voters(eyes.approvals(asked))
        groups = groups_of([user.person_id])[user.person_id]
        if not eyes.counts(shares, has, user.person_id, groups):
            raise Refused(f"Your approval does not count here: {_needs(policy.lacking(shares, has))}.", tag=REFUSED)
        _vote(asked, user, "approve", comment, frozen, auth, groups)
        missing = policy.lacking(shares, has | {user.person_id: groups})
        votes = asked.required - sum(share.count for share in missing)
        words = f"Approved {asked.number} ({votes} of {asked.required})"
        detail: dict[str, chain.JSON] = {
            "digest": digest,
            "comment": comment,
            "votes": votes,
            "groups": sorted(groups),
            "auth": auth,
            "changed": changed,
            "seen": frozen,
        }
        if missing:
            taken = {failover.relationship_id: failover.number for failover in failovers}
            hold.hold_rows(taken, phase="waiting", note=f"{votes}/{asked.required}")
            chain.append("decision.made", actor=actor, object=asked.number, words=words, detail=detail)
            return asked
        now = database_now()
        lines = [
            change(
                failover,
                "approve",
                actor=actor,
                words=words,
                # What was seen of the others stands with the first: two hundred copies would only bury it.
                detail=detail if failover.position == 0 else {"digest": digest, "votes": votes},
                where=(not_yet(asked.decide_by),),
                approved_at=now,
                run_by=now + asked.run_for,
                next_step_at=now,
            )
            for failover in failovers
        ]
        conclude(failovers, "approve", lines, note=f"{votes}/{asked.required}")
        ring_first(failovers)
    reach("approve.after_commit")
    return asked


def reject(*, user: User, actor: Actor, request_pk: int, digest: str, comment: str, auth: str = "") -> Request:
    """One rejection ends a request."""
    with transaction.atomic():
        asked, failovers = _undecided(user, request_pk, digest)
        comment = said.comment(comment, otherwise=_SAY, tag=REFUSED)
        seen = reading.situations(failovers, now=database_now())
        frozen = reading.frozen([failover.relationship for failover in failovers], seen)
        groups = groups_of([user.person_id])[user.person_id]
        _vote(asked, user, "reject", comment, frozen, auth, groups)
        detail: dict[str, chain.JSON] = {"digest": digest, "comment": comment, "auth": auth}
        now = database_now()
        lines = [
            change(
                failover,
                "reject",
                actor=actor,
                words=f"Rejected {asked.number}",
                detail=detail | ({"seen": frozen} if failover.position == 0 else {}),
                where=(not_yet(asked.decide_by),),
                ended_at=now,
                ended_by=user.person.label,
                outcome_words=f"Rejected by {user.person.label}.",
            )
            for failover in failovers
        ]
        conclude(failovers, "reject", lines)
    return asked


REFUSED = "decision.refused"
_SAY = "Say in a few words what you checked, or why not."


def _undecided(user: User, request_pk: int, digest: str) -> tuple[Request, list[Failover]]:
    """The request and its failovers, locked, when this person may decide on it now."""
    asked, failovers = _locked(request_pk)
    if not eyes.may_decide(user, {f.relationship.cluster.name for f in failovers}):
        raise Refused("You may not decide on these failovers.", tag=REFUSED)
    if user.person_id == asked.requester_id:
        raise Refused("You asked for this failover; another person must decide.", tag=REFUSED)
    if asked.decisions.filter(person=user.person).exists():
        raise Refused("You have already decided on this request.", tag=REFUSED)
    other = next((f for f in failovers if f.state != State.REQUESTED), None)
    if other is not None:
        raise Stale(f"{asked.number} is {WORDS[State(other.state)].lower()} by now.", tag=REFUSED)
    if database_now() >= asked.decide_by:
        raise Stale(f"{asked.number} expired: nobody approved in time.", tag=REFUSED)
    if digest != asked.digest:
        raise Stale("This page did not show the request as it is. Read it again.", tag=REFUSED)
    return asked, failovers


def _locked(request_pk: int) -> tuple[Request, list[Failover]]:
    asked = Request.objects.select_for_update(of=("self",)).select_related("requester").get(pk=request_pk)
    failovers = list(asked.failovers.select_for_update().order_by("position"))
    lock_relationships(failovers)
    # Read once more, in one query, now that nobody can change them: with their relationships and clusters.
    rows = Failover.objects.select_related("relationship__cluster").filter(request=asked).order_by("position")
    failovers = list(rows)
    for failover in failovers:
        failover.request = asked
    return asked, failovers


def _saw_what_changed(asked: Request, seen: Sequence[Situation], ticked: str) -> None:
    changes = reading.changed(asked, seen)
    if reading.digest_of(changes) == ticked:
        return
    labels = list(dict.fromkeys(fact.label for _position, fact in changes))
    words = (
        f"Changed since the request: {', '.join(labels)}." if labels else "What had changed is as it was asked again."
    )
    raise Refused(f"{words} Look at it, and tick that you have seen it.", field="seen", tag=REFUSED)


def _needs(missing: Sequence[policy.Share]) -> str:
    return "it needs " + " and ".join(f"{share.count} of {share.group or 'the approvers'}" for share in missing)


def _vote(
    asked: Request, user: User, verdict: str, comment: str, seen: dict[str, Any], auth: str, groups: frozenset[str]
) -> None:
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
                groups=f",{','.join(sorted(groups))},",
                auth=auth,
                facts_seen=seen,
                at=database_now(),
            )
    except IntegrityError:
        raise Refused("You have already decided on this request.", tag=REFUSED) from None


def review(*, user: User, actor: Actor, request_pk: int, comment: str, auth: str) -> Review:
    """Look at a break-glass request afterwards, as one of two people who did not ask for it."""
    with transaction.atomic():
        asked = Request.objects.select_for_update(of=("self",)).get(pk=request_pk)
        if not asked.break_glass:
            raise Refused(f"{asked.number} was not break-glass; there is nothing to review.", tag="review.refused")
        if not may_review(user, asked):
            raise Refused("An approver, auditor or admin who did not ask reviews break-glass.", tag="review.refused")
        comment = said.comment(comment, otherwise="Say in a few words what you found.", tag="review.refused")
        try:
            with transaction.atomic():
                made = Review.objects.create(
                    request=asked,
                    person=user.person,
                    requester_id=asked.requester_id,
                    person_label=user.person.label,
                    comment=comment,
                    auth=auth,
                    at=database_now(),
                )
        except IntegrityError:
            raise Refused("You have already reviewed this request.", tag="review.refused") from None
        done = asked.reviews.count()
        chain.append(
            "review.made",
            actor=actor,
            object=asked.number,
            words=f"Reviewed {asked.number} ({done} of {REVIEWERS})",
            detail={"comment": comment, "auth": auth, "reviews": done},
        )
    return made


def may_review(user: User, asked: Request) -> bool:
    others = any(user.has(role) for role in (Role.AUDITOR, Role.ADMIN)) or eyes.may_decide(
        user, eyes.clusters_of(asked)
    )
    return others and user.person_id != asked.requester_id


def cancel(*, user: User, actor: Actor, request_pk: int) -> Request:
    """Take a request back before anything was sent: by its requester, an approver or an admin."""
    with transaction.atomic():
        asked, failovers = _locked(request_pk)
        decides = eyes.may_decide(user, {f.relationship.cluster.name for f in failovers})
        if user.person_id != asked.requester_id and not (decides or user.has(Role.ADMIN)):
            raise Refused("Only the person who asked, an approver or an admin can cancel this.", tag="cancel.refused")
        early = [f for f in failovers if f.state in (State.REQUESTED, State.APPROVED)]
        if not early:
            sent = next((f for f in failovers if f.state in ON_THE_CLUSTER), failovers[0])
            if sent.sent_at and sent.state in ON_THE_CLUSTER:
                at = clock(sent.sent_at, database_now())
                raise Stale(f"It was sent at {at}. It cannot be taken back from here.", tag="cancel.refused")
            raise Stale(f"{asked.number} is {WORDS[State(sent.state)].lower()} by now.", tag="cancel.refused")
        now = database_now()
        lines = [
            change(
                failover,
                "cancel",
                actor=actor,
                words=f"Cancelled {failover.number}",
                ended_at=now,
                ended_by=user.person.label,
                outcome_words=f"Cancelled by {user.person.label}. Nothing was sent.",
            )
            for failover in early
        ]
        conclude(early, "cancel", lines)
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
