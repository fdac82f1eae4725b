"""The only writer of `Failover.state`: a compare-and-set along `lifecycle.MOVES`, with its entry in the ledger, in the
caller's transaction. So an act without a record cannot be committed (rule 7).

`filter(pk, state in sources, …).update(…) == 1` decides; whoever comes second has changed nothing. Conditions in
`where` stay on the row itself: a condition on a joined table would become a sub-query, which PostgreSQL does not
evaluate again after it has waited for the row.

Locks are taken in one order everywhere, so that nothing deadlocks: requests, failovers, relationships, the head of the
ledger. Verbs on several failovers therefore lock them all, and their relationships, before the first change, and write
what the ledger is to say after the last: everybody else waits for the head, a sender with its window open, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, F, Q, Value
from django.db.models.functions import Now
from django.db.models.lookups import GreaterThan, LessThanOrEqual

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM, Actor
from dashboard.database import database_now
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import MOVES, TERMINAL, WORDS, Stale, State
from dashboard.failovers.models import Failover
from dashboard.fleet import hold
from dashboard.fleet.models import Relationship


def not_yet(moment: datetime) -> GreaterThan:
    """A condition for `where`: the database's clock has not reached `moment`."""
    return GreaterThan(Value(moment, output_field=DateTimeField()), Now())


def reached(moment: datetime) -> LessThanOrEqual:
    return LessThanOrEqual(Value(moment, output_field=DateTimeField()), Now())


def lock_relationships(failovers: Iterable[Failover]) -> None:
    rows = Relationship.objects.select_for_update().filter(pk__in=[f.relationship_id for f in failovers])
    list(rows.order_by("pk").values_list("pk", flat=True))


def change(
    failover: Failover,
    name: str,
    *,
    actor: Actor = SYSTEM,
    words: str,
    detail: Mapping[str, Any] | None = None,
    where: tuple[Q | GreaterThan | LessThanOrEqual, ...] = (),
    **columns: Any,
) -> chain.Line:
    """Make one move, or raise `Stale` having changed nothing. `columns` are written in the same UPDATE. Returns what
    the ledger is to say of it, which the caller gives to `conclude` in the same transaction."""
    step = MOVES[name]
    guarded = Failover.objects.filter(*where, pk=failover.pk, state__in=step.sources)
    if guarded.update(state=step.target, version=F("version") + 1, **columns) != 1:
        now = State(Failover.objects.only("state").get(pk=failover.pk).state)
        raise Stale("Its time is over." if now in step.sources else f"It is {WORDS[now].lower()} by now.")
    reach(f"{name}.changed")
    return chain.Line(tag=step.tag, actor=actor, object=failover.number, words=words, detail=detail)


def conclude(
    failovers: Collection[Failover],
    name: str,
    lines: Sequence[chain.Line],
    *,
    note: str = "",
    failed_over_at: datetime | None = None,
) -> None:
    """After the last of the same moves: take their relationships or give them back, all of them in one go, and write
    what the ledger is to say. `note` is what the badge of a relationship that is taken says."""
    target = MOVES[name].target
    if target in TERMINAL:
        hold.release_rows([each.relationship_id for each in failovers], failed_over_at=failed_over_at)
    elif target is State.APPROVED:
        hold.hold_rows({each.relationship_id: each.number for each in failovers}, phase="running", note=note)
    chain.append_all(lines)


def move(failover: Failover, name: str, **kwargs: Any) -> None:
    """Make one move, with its entry, or raise `Stale` having changed nothing; `kwargs` as for `change`."""
    line = change(failover, name, **kwargs)
    succeeded = MOVES[name].target is State.SUCCEEDED
    conclude([failover], name, [line], failed_over_at=kwargs["ended_at"] if succeeded else None)


def tried(failover: Failover, name: str, **kwargs: Any) -> bool:
    """The same, for drivers that expect to come second now and then: False instead of `Stale`."""
    try:
        move(failover, name, **kwargs)
    except Stale:
        return False
    return True


def take_turn(failover: Failover, pause: timedelta) -> bool:
    """Politeness between drivers: one at a time reads the cluster. It guards nothing and may fail."""
    now = database_now()
    due = Failover.objects.filter(pk=failover.pk, state=failover.state, next_step_at__lte=now)
    return due.update(next_step_at=now + pause) == 1
