"""Whose turn it is, when one request has many failovers, or many requests one cluster.

The items of a request begin in the order in which they were asked for, at most `AT_ONCE` under way on one cluster. The
limit is kept in the intent's own transaction; the order is only looked at before, and an item that cannot be read does
not hold up those behind it: it has had its turn. Nor does one that needs a person count as under way for ever.
"""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Failover


class Full(Refused):
    """As many as may run at once are under way on the cluster."""


def may_begin(failover: Failover) -> bool:
    """Asked before the cluster is read: spares it, guards nothing."""
    if failover.request.size == 1:
        return True
    earlier = Failover.objects.filter(
        request=failover.request_id,
        position__lt=failover.position,
        relationship__cluster=failover.relationship.cluster_id,
        state=State.APPROVED,
        next_step_at__lte=F("approved_at"),  # whoever has had a turn is due later than that
    )
    return not earlier.exists() and _under_way().filter(**_where(failover)).count() < settings.AT_ONCE


def refuse_too_many(failover: Failover) -> None:
    """Asked inside the intent, under the ledger's lock, with this one already counted. Or Full."""
    if _under_way().filter(**_where(failover)).count() > settings.AT_ONCE:
        raise Full("As many failovers as may run at once are under way on this cluster.")


def room() -> Counter[int]:
    """Cluster's key → how many are under way there; for the sweep, which then leaves the others alone."""
    return Counter(_under_way().values_list("relationship__cluster", flat=True))


def _under_way() -> QuerySet[Failover]:
    late = Q(state=State.SENT, sent_at__lte=Now() - TIMING.settle)
    return Failover.objects.filter(state__in=(State.SENT, State.REVERTING)).exclude(late)


def _where(failover: Failover) -> dict[str, int]:
    return {"relationship__cluster": failover.relationship.cluster_id}
