"""Whose turn it is, when one request has many failovers, or many requests one cluster.

The items of a request begin in the order in which they were asked for, at most `AT_ONCE` under way on one cluster. The
limit is kept in the intent's own transaction; the order is only looked at before, and an item that cannot be read does
not hold up those behind it: it has had its turn. Nor does one that needs a person count as under way for ever.
"""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.db.models import Count, F

from dashboard.database import database_now
from dashboard.failovers import readings
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, Refused, State
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
    return not earlier.exists() and under_way(failover.relationship.cluster_id) < settings.AT_ONCE


def refuse_too_many(failover: Failover) -> None:
    """Asked inside the intent, under the ledger's lock, with this one already counted. Or Full."""
    if under_way(failover.relationship.cluster_id) > settings.AT_ONCE:
        raise Full("As many failovers as may run at once are under way on this cluster.")


def room() -> Counter[int]:
    """Cluster's key → how many are under way there; for the sweep, which then leaves the others alone."""
    there = Failover.objects.filter(state__in=ON_THE_CLUSTER).order_by().values_list("relationship__cluster_id")
    counted = there.annotate(count=Count("pk"))
    return Counter({key: count if count < settings.AT_ONCE else under_way(key) for key, count in counted})


def under_way(cluster_pk: int) -> int:
    """How many are on the cluster and get on: those that need a person have no place there any more."""
    there = Failover.objects.filter(state__in=ON_THE_CLUSTER, relationship__cluster=cluster_pk)
    count = there.count()
    if count < settings.AT_ONCE:
        return count
    now = database_now()  # what their readings show is asked for only where it matters
    return sum(readings.concern(each, now) is None for each in there.with_request().defer("request__plan"))
