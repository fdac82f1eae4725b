"""What time alone makes worth telling: a request that expires soon, a review that is overdue, a failover that needs a
person. Each is told once, as an entry in the ledger, from which notices are made. Nothing here moves a failover.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers import readings
from dashboard.failovers.conduct import REVIEW_WITHIN, REVIEWERS
from dashboard.failovers.lifecycle import CONCERN_WORDS, ON_THE_CLUSTER, State
from dashboard.failovers.models import Failover, Request
from dashboard.words import duration

SOON = timedelta(minutes=5)


def remind(now: datetime) -> None:
    """One round, by the sweep."""
    _expiring(now)
    _overdue(now)
    _concerns(now)


def overdue(now: datetime) -> list[Request]:
    """Break-glass requests whose two reviews are not there a day later, oldest first."""
    late = Request.objects.filter(break_glass=True, made_at__lte=now - REVIEW_WITHIN)
    return list(late.annotate(done=Count("reviews")).filter(done__lt=REVIEWERS).order_by("pk"))


def _expiring(now: datetime) -> None:
    waiting = Failover.objects.filter(state=State.REQUESTED, request__decide_by__lte=now + SOON)
    for asked in Request.objects.filter(pk__in=waiting.values("request"), decide_by__gt=now):
        if asked.decide_by - asked.made_at > 2 * SOON:  # who has ten minutes in all was told a moment ago
            left = duration(asked.decide_by - now)
            _tell_once(
                asked, "request.expiring", asked.number, f"{asked.number} expires in {left} unless others approve"
            )


def _overdue(now: datetime) -> None:
    for asked in overdue(now):
        words = f"{asked.number} was started by break-glass, and {REVIEWERS} people have not reviewed it within 24 h"
        _tell_once(asked, "review.overdue", asked.number, words)


def _concerns(now: datetime) -> None:
    on = Failover.objects.filter(state__in=ON_THE_CLUSTER).select_related("request", "relationship__cluster")
    for failover in on:
        concern = readings.concern(failover, now)
        if concern:
            words = f"{failover.number} needs a person: {CONCERN_WORDS[concern]}"
            _tell_once(failover.request, "failover.concern", failover.number, words)


def _tell_once(asked: Request, tag: str, about: str, words: str) -> None:
    if Entry.objects.filter(tag=tag, object=about).exists():
        return
    with transaction.atomic():
        # Two sweeps stand in line here, and the second finds the entry of the first.
        Request.objects.select_for_update(of=("self",)).get(pk=asked.pk)
        if not Entry.objects.filter(tag=tag, object=about).exists():
            chain.append(tag, actor=SYSTEM, object=about, words=words)
