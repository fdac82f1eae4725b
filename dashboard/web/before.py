"""What is known of a failover before it is asked for: what was done before."""

from __future__ import annotations

from datetime import timedelta

from django.urls import reverse

from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover


def page_of(number: str) -> str:
    """Of `FO-1042`, or of `FO-1042/3` among those of its request."""
    asked, _slash, place = number.partition("/")
    return reverse("failover-item", args=(asked, int(place))) if place else reverse("failover", args=(asked,))


def took_last(relationship_pk: int) -> timedelta | None:
    """How long the last failover of this relationship took, from sending to writable; None when there was none."""
    done = Failover.objects.filter(relationship=relationship_pk, state=State.SUCCEEDED).order_by("-ended_at").first()
    return done.ended_at - done.sent_at if done and done.ended_at and done.sent_at else None
