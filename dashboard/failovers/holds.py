"""Holds: while one stands, nothing is sent to its scope. Setting one is quick; lifting one is an admin's act with a
reason, and first ends every request that waited behind it, because people decided on another night's facts. It is also
what a database meets that went back in time (rule 10).
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, QuerySet

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.models import Head
from dashboard.database import database_now
from dashboard.failovers import said
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.failovers.models import Failover, Hold
from dashboard.failovers.moves import change, conclude, lock_relationships


def may_hold(user: User, scope: str) -> bool:
    """An admin, or an approver of all that is held."""
    return user.has(Role.ADMIN) or (Role.APPROVER in user.roles if not scope else user.has(Role.APPROVER, scope))


def may_lift(user: User) -> bool:
    return user.has(Role.ADMIN)


def standing(scope: str) -> QuerySet[Hold]:
    """Those of exactly this scope, oldest first."""
    return Hold.objects.standing().filter(scope=scope)


def hold(*, actor: Actor, scope: str, reason: str, user: User | None = None) -> Hold:
    """Stop all sending to `scope` (a cluster's name; "" is every cluster) from the next intent on. `user`: whose act it
    is; None for the shell and for the desk itself."""
    if user is not None and not may_hold(user, scope):
        raise Refused(f"Only an approver or an admin may hold {scope or 'every cluster'}.", tag="hold.refused")
    reason = said.reason(reason, tag="hold.refused")
    with transaction.atomic():
        made = Hold.objects.create(scope=scope, reason=reason, by=actor.label, at=database_now())
        chain.append("hold.set", actor=actor, object=_about(scope), words=reason)
    return made


def hold_once(*, actor: Actor, scope: str, reason: str, user: User | None = None) -> bool:
    """As `hold`, unless one with this reason stands already: of many that find the same, and of two clicks, one writes
    it down."""
    reason = said.reason(reason, tag="hold.refused")
    with transaction.atomic():
        Head.objects.select_for_update().get(pk=1)  # whoever records waits here, so that they see each other's holds
        if standing(scope).filter(reason=reason).exists():
            return False
        hold(actor=actor, scope=scope, reason=reason, user=user)
    return True


def lift(
    *,
    actor: Actor,
    scope: str,
    reason: str,
    user: User | None = None,
    seen: Iterable[int] | None = None,
    auth: str = "",
) -> int:
    """Lift the holds of `scope`. What was requested or approved under them expires first; returns how many failovers.

    `user` as in `hold`. `seen`: keys of the holds that the page showed; when others stand by now, it is Stale. `auth`:
    how the person proved who they are.
    """
    if user is not None and not may_lift(user):
        raise Refused("Only an admin may lift a hold.", tag="hold.refused")
    reason = said.reason(reason, tag="hold.refused")
    with transaction.atomic():
        found = list(standing(scope).select_for_update())
        if not found:
            raise Stale("No such hold stands.", tag="hold.refused")
        if seen is not None and {each.pk for each in found} != set(seen):
            raise Stale("Other holds stand now than this page showed. Read them first.", tag="hold.refused")
        now = database_now()
        rows = list(waiting(scope).select_for_update(of=("self",)).order_by("pk"))
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
        lifted = Hold.objects.filter(pk__in=[each.pk for each in found])
        lifted.update(lifted_at=now, lifted_by=actor.label)
        detail: dict[str, chain.JSON] = {"expired": len(rows), "held": [each.reason for each in found], "auth": auth}
        words = f"Hold lifted: {reason}"
        lines.append(chain.Line(tag="hold.lifted", actor=actor, object=_about(scope), words=words, detail=detail))
        conclude(rows, "expire", lines)
    return len(rows)


def waiting(scope: str) -> QuerySet[Failover]:
    """What expires when the holds of `scope` are lifted."""
    found = Failover.objects.filter(state__in=(State.REQUESTED, State.APPROVED)).select_related("request")
    if not scope:
        return found
    here = Q(relationship__cluster__name=scope)
    # A request is decided as a whole: one that waits for that ends with all its items, on other clusters too.
    touched = Failover.objects.filter(here, state=State.REQUESTED).values("request")
    return found.filter(here | Q(state=State.REQUESTED, request__in=touched))


def _about(scope: str) -> str:
    return f"hold:{scope or 'all'}"
