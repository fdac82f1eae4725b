"""What time alone makes worth telling: a request that expires soon, a review that is overdue, a failover that needs a
person. Each is told once, as an entry in the ledger, from which notices are made. Nothing here moves a failover.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Count

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import readings
from dashboard.failovers.conduct import REVIEW_WITHIN, REVIEWERS
from dashboard.failovers.lifecycle import CONCERN_WORDS, ON_THE_CLUSTER, Concern, State
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
            _tell_once("request.expiring", asked, asked.number, partial(_expires, asked))


def _expires(asked: Request) -> str:
    left = asked.decide_by - database_now()
    waits = left > timedelta(0) and asked.failovers.filter(state=State.REQUESTED).exists()
    return f"{asked.number} expires in {duration(left)} unless others approve" if waits else ""


def _overdue(now: datetime) -> None:
    for asked in overdue(now):
        _tell_once("review.overdue", asked, asked.number, partial(_lacks_reviews, asked))


def _lacks_reviews(asked: Request) -> str:
    words = f"{asked.number} was started by break-glass, and {REVIEWERS} people have not reviewed it within 24 h"
    return words if asked.reviews.count() < REVIEWERS else ""


def _concerns(now: datetime) -> None:
    on = Failover.objects.filter(state__in=ON_THE_CLUSTER).with_request().defer("request__plan")
    for failover in on:
        concern = readings.concern(failover, now)
        if concern:
            still = partial(_concerned, failover.pk, concern)
            _tell_once("failover.concern", failover.request, failover.number, still, kind=concern)


def _concerned(failover_pk: int, concern: Concern) -> str:
    failover = Failover.objects.with_request().get(pk=failover_pk)
    still = readings.concern(failover, database_now()) is concern
    return f"{failover.number} needs a person: {CONCERN_WORDS[concern]}" if still else ""


def _tell_once(tag: str, asked: Request, about: str, say: Callable[[], str], *, kind: str = "") -> None:
    """Once for each `kind`. `say` is asked when nobody can change the request any more; "": it is not so any longer."""
    told = Entry.objects.filter(tag=tag, object=about, payload__contains=f'"kind":"{kind}"')
    if told.exists():
        return
    with transaction.atomic():
        # Two sweeps stand in line here, and the second finds the entry of the first; so does whoever decides.
        Request.objects.select_for_update(of=("self",)).get(pk=asked.pk)
        words = "" if told.exists() else say()
        if words:
            chain.append(tag, actor=SYSTEM, object=about, words=words, detail={"kind": kind})
