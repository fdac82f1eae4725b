"""Holds: while one stands, nothing is sent to its scope. Setting one is quick; lifting one first ends every request
that waited behind it, because people decided on another night's facts."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.database import database_now
from dashboard.failovers import said
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Failover, Hold
from dashboard.failovers.moves import change, lock_relationships


def hold(*, actor: Actor, scope: str, reason: str) -> Hold:
    """Stop all sending to `scope` (a cluster's name; "" is every cluster) from the next intent on."""
    reason = said.reason(reason, tag="request.refused")
    with transaction.atomic():
        made = Hold.objects.create(scope=scope, reason=reason, by=actor.label, at=database_now())
        chain.append("hold.set", actor=actor, object=f"hold:{scope or 'all'}", words=reason)
    return made


def lift(*, actor: Actor, scope: str) -> int:
    """Lift the holds of `scope`. What was requested or approved under them expires first."""
    with transaction.atomic():
        standing = list(Hold.objects.select_for_update().filter(scope=scope, lifted_at=None).order_by("pk"))
        if not standing:
            raise Refused("No such hold stands.")
        waiting = Failover.objects.filter(state__in=(State.REQUESTED, State.APPROVED)).select_related("request")
        if scope:
            here = Q(relationship__cluster__name=scope)
            # A request is decided as a whole: one that waits for that ends with all its items, on other clusters too.
            touched = Failover.objects.filter(here, state=State.REQUESTED).values("request")
            waiting = waiting.filter(here | Q(state=State.REQUESTED, request__in=touched))
        now = database_now()
        rows = list(waiting.select_for_update(of=("self",)).order_by("pk"))
        lock_relationships(rows)
        lines = [
            change(
                failover,
                "expire",
                words=f"{failover.number} expired: it waited behind a hold",
                ended_at=now,
                outcome="held",
                outcome_words="Expired: it waited behind a hold. Nothing was sent.",
            )
            for failover in rows
        ]
        # Only those that were found standing: whoever sets another one meanwhile was told that nothing is sent.
        lifted = Hold.objects.filter(pk__in=[each.pk for each in standing])
        lifted.update(lifted_at=now, lifted_by=actor.label)
        about, detail = f"hold:{scope or 'all'}", {"expired": len(rows)}
        lines.append(chain.Line(tag="hold.lifted", actor=actor, object=about, words="Hold lifted", detail=detail))
        chain.append_all(lines)
    return len(rows)
