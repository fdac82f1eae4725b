"""What a person asks for: one failover or up to two hundred, in the given order, on one reason and one plan.

Asking sends nothing. The one exception is break-glass: its requester alone starts it, where every policy that covers
what is asked allows that. The request says so for ever, everybody is told, and two other people must review it
(`conduct.review`).

One transaction holds the request, its shares, all its failovers and the entry in the ledger, or none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.database import database_now
from dashboard.failovers import bell, plan, policies, preflight, reading, said, tickets
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Failover, Mode, Request, Share
from dashboard.failovers.moves import change, conclude
from dashboard.failovers.policy import Rules
from dashboard.failovers.preflight import Situation
from dashboard.fleet import hold
from dashboard.fleet.models import Relationship
from dashboard.words import bare, clock

MOST = 200
TICKET_MOST = tickets.LONGEST_TICKET


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The form, trimmed. `relationships` in the order in which they are to start; `nonce` makes a double click one
    request; `auth` says how the person signed in, and for break-glass proved it again."""

    relationships: tuple[Relationship, ...]
    typed: str
    reason: str
    ticket: str
    nonce: UUID
    mode: str
    auth: str
    break_glass: bool


def request(
    *,
    user: User,
    actor: Actor,
    relationships: Sequence[Relationship],
    typed: str,
    reason: str,
    ticket: str,
    nonce: UUID,
    mode: str = Mode.UNPLANNED,
    auth: str = "",
    break_glass: bool = False,
) -> Request:
    """Ask. The same form sent twice is one request: `nonce` finds the first again."""
    ask = Ask(
        relationships=tuple(relationships),
        typed=typed.strip(),
        reason=reason.strip(),
        ticket=ticket.strip(),
        nonce=nonce,
        mode=mode,
        auth=auth,
        break_glass=break_glass,
    )
    if not ask.relationships:
        raise Refused("Choose at least one relationship.")
    if len(ask.relationships) > MOST:
        raise Refused(f"{len(ask.relationships)} relationships are too many for one request; it carries up to {MOST}.")
    if len({row.pk for row in ask.relationships}) < len(ask.relationships):
        raise Refused("A relationship is in this request twice.")
    try:
        with transaction.atomic():
            # Locked first: of two clicks at once the second waits here, and then finds what the first has made.
            rows = _locked(ask.relationships)
            made = _sent_before(user, ask) or _request(user, actor, ask, rows)
            reach("request.in_commit")
        reach("request.after_commit")
        return made
    except IntegrityError:
        # The unique guards spoke: either this form came twice at once, or another request was first.
        again = _sent_before(user, ask)
        if again:
            return again
        other = Failover.objects.open().filter(relationship__in=ask.relationships).first()
        if other is None:
            raise
        where = f" on {other.relationship}" if len(ask.relationships) > 1 else " for this relationship"
        raise Refused(f"{other.number} is open{where}.") from None


def _sent_before(user: User, ask: Ask) -> Request | None:
    again = Request.objects.filter(nonce=ask.nonce).first()
    if again is None:
        return None
    rows = again.failovers.order_by("position").values_list("relationship_id", flat=True)
    then = (again.requester_id, again.mode, again.break_glass, list(rows))
    if then == (user.person_id, ask.mode, ask.break_glass, [row.pk for row in ask.relationships]):
        return again
    raise Refused("This form was used for another request. Open it again.")


def _request(user: User, actor: Actor, ask: Ask, rows: Sequence[Relationship]) -> Request:
    now = database_now()
    rules = policies.rules_for(rows)
    _judge_form(user, ask, rows, rules)
    around = reading.Around(rows)
    seen = [reading.situation(row, now=now, user=user, around=around, mode=ask.mode) for row in rows]
    for row, situation in zip(rows, seen, strict=True):
        _judge(row, situation, named=len(rows) > 1)

    items = [plan.Item.of(s.status, target=s.target, mode=ask.mode) for s in seen if s.status is not None]
    text = plan.write(
        items, reason=ask.reason, ticket=ask.ticket, mode=ask.mode, rules=rules, break_glass=ask.break_glass
    )
    made = Request.objects.create(
        nonce=ask.nonce,
        requester=user.person,
        requester_label=user.person.label,
        made_at=now,
        mode=ask.mode,
        break_glass=ask.break_glass,
        size=len(rows),
        reason=ask.reason,
        ticket=ask.ticket,
        plan=text,
        digest=plan.digest(text),
        facts_seen=reading.frozen(rows, seen),
        required=0 if ask.break_glass else rules.required,
        decide_by=now + rules.decide,
        run_seconds=int(rules.run.total_seconds()),
    )
    shares = () if ask.break_glass else rules.shares
    Share.objects.bulk_create(Share(request=made, group=share.group, count=share.count) for share in shares)
    failovers = Failover.objects.bulk_create(
        Failover(request=made, position=position, relationship=row, next_step_at=now)
        for position, row in enumerate(rows)
    )
    lines = [_made(made, actor, rows, ask.auth)]
    if ask.break_glass:
        conclude(failovers, "approve", lines + _started(made, failovers, actor, now), note="0/0")
    else:
        taken = {failover.relationship_id: failover.number for failover in failovers}
        hold.hold_rows(taken, phase="waiting", note=f"0/{made.required}")
        chain.append_all(lines)
    return made


def _locked(relationships: Sequence[Relationship]) -> list[Relationship]:
    """The rows as they are now, locked by key, in the order that was asked for."""
    keys = [row.pk for row in relationships]
    rows = Relationship.objects.filter(pk__in=keys)
    list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
    # Read after the lock: what was joined while waiting for it, their clusters, could be older.
    found = {row.pk: row for row in rows.select_related("cluster")}
    if len(found) < len(keys):
        raise Refused("A relationship of this request is no longer watched here.")
    return [found[key] for key in keys]


def _judge_form(user: User, ask: Ask, rows: Sequence[Relationship], rules: Rules) -> None:
    for name in sorted({row.cluster.name for row in rows}):
        if not user.has(Role.OPERATOR, name):
            raise Refused(f"You may not request failovers for {name}.")
    expected = reading.expected_typing(rows)
    typed = bare(ask.typed) if len(rows) == 1 else " ".join(ask.typed.split())
    if typed != expected:
        what = "path" if len(rows) == 1 else "confirmation"
        raise Refused(f"The {what} does not match. Type {expected}", field="typed")
    if ask.mode not in Mode.values:
        raise Refused("Say whether it is unplanned, planned or a drill.", field="mode")
    _judge_words(ask, rules)
    if ask.break_glass and not rules.break_glass:
        raise Refused("Break-glass is not allowed here; another person must approve.")
    if ask.break_glass and ask.mode != Mode.UNPLANNED:
        raise Refused("Break-glass is for an emergency: neither a planned failover nor a drill.", field="mode")


def _judge_words(ask: Ask, rules: Rules) -> None:
    said.reason(ask.reason, tag="request.refused")
    said.legible(ask.ticket, "ticket", tag="request.refused", most=TICKET_MOST)
    for pattern in rules.ticket_patterns:
        if not tickets.fits(pattern, ask.ticket):
            raise Refused(f"The ticket does not match {pattern}, which the policy asks for.", field="ticket")


def _judge(row: Relationship, situation: Situation, *, named: bool) -> None:
    """The same checks that people see and that the sender obeys."""
    of = f"{row.cluster.name}:{bare(row.target_root_path)}: " if named else ""
    blocking = preflight.blocks(preflight.judge(situation))
    if blocking:
        raise Refused(of + blocking[0].words)
    if situation.status is None or situation.read_at is None or situation.now - situation.read_at > TIMING.fresh:
        read = clock(situation.read_at, situation.now)
        raise Refused(f"{of}{situation.target} was last read {read}. Read it again before you ask.")


def _made(made: Request, actor: Actor, rows: Sequence[Relationship], auth: str) -> chain.Line:
    what = str(len(rows)) + " relationships" if len(rows) > 1 else f"{rows[0].cluster.name}:{made.items[0].shown_path}"
    return chain.Line(
        tag="request.made",
        actor=actor,
        object=made.number,
        words=f"Asked to make {what} writable",
        detail={
            "plan": made.plan,
            "digest": made.digest,
            "decide_by": decide_text(made.decide_by),
            "auth": auth,
            "seen": made.facts_seen,
        },
    )


def _started(made: Request, failovers: Sequence[Failover], actor: Actor, now: datetime) -> list[chain.Line]:
    """Break-glass: approved by the request itself, which says so, and which the database lets pass for that alone."""
    words = f"Break-glass: {made.requester_label} starts {made.number} on one name"
    detail = {"digest": made.digest, "reason": made.reason}
    lines = [chain.Line(tag="request.break-glass", actor=actor, object=made.number, words=words, detail=detail)]
    lines += [
        change(
            failover,
            "approve",
            actor=actor,
            words=f"Started {failover.number} by break-glass, without approval",
            detail=detail,
            approved_at=now,
            run_by=now + made.run_for,
            next_step_at=now,
        )
        for failover in failovers
    ]
    ring_first(failovers)
    return lines


def ring_first(failovers: Sequence[Failover]) -> None:
    """Once committed, ring for as many as may start at once on each cluster; the sweep starts the others in turn."""
    from django.conf import settings

    started: dict[int, int] = {}
    for failover in failovers:
        cluster = failover.relationship.cluster_id
        started[cluster] = started.get(cluster, 0) + 1
        if started[cluster] <= settings.AT_ONCE:
            transaction.on_commit(partial(bell.ring, failover.pk), robust=True)


def decide_text(moment: datetime) -> str:
    """A time for the ledger: UTC, microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
