"""Requests that wait for a decision, those that this person can decide first; break-glass that is to be reviewed; and
what was decided in the last seven days.

Everybody who is signed in sees the requests of their clusters; who may decide is said at each, and enforced by the
verbs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers.conduct import REVIEWERS
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.models import Cluster
from dashboard.web.course import listed
from dashboard.web.guards import signed_in
from dashboard.web.live import Pulse, cached_seen, live_answer, pulse
from dashboard.web.parts import digest
from dashboard.web.standing import outcome, standing, summary
from dashboard.web.whole import wholes

CADENCE = 5
SHOWN_FOR = timedelta(days=7)
_AGES_AFTER = 10  # seconds after which waiting requests are told anew, because time alone may have changed their words


@dataclass(frozen=True, slots=True)
class Decided:
    """One line of the past. `health` gives its mark, which is flat: nothing here asks for anything any more."""

    asked: Request
    one: Failover
    by: str
    at: datetime | None
    health: str
    outcome: str


@require_safe
def approvals(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    context = _context(user, _seen(user, pulse(user)))
    return render(request, "approvals/list.html", context | {"section": "approvals"})


@require_safe
def approvals_live(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    now = pulse(user)
    seen = _seen(user, now)

    def render_list() -> str:
        return render_to_string("approvals/_live.html", _context(user, seen) | {"pulse": now}, request)

    return live_answer(
        request, region="", seen=seen, render=render_list, observed_age=now.age, shared=False, above=now.notices
    )


def _seen(user: User, now: Pulse) -> str:
    """Of all requests that this person sees, the relationships that wait, and the clusters; and while one waits, of the
    time."""

    def ask() -> str:
        waits = Q(state=State.REQUESTED)
        found = Failover.objects.visible_to(user).aggregate(
            n=Count("pk"),
            versions=Sum("version"),
            rows=Sum("relationship__version", filter=waits),
            votes=Count("request__decisions", filter=waits),
            reviews=Count("request__reviews"),
        )
        return repr(sorted(found.items()))

    age = int(database_now().timestamp()) // _AGES_AFTER if now.waiting else 0
    return digest(f"{now.seen} {cached_seen(user, 'approvals', ask)} {age}")


def _context(user: User, seen: str) -> dict[str, Any]:
    now = database_now()
    requests = Request.objects.visible_to(user).select_related("requester")
    asked = requests.filter(failovers__state=State.REQUESTED).distinct().order_by("decide_by", "pk")
    waiting = wholes(asked, user, now)
    waiting.sort(key=lambda whole: not whole.may_approve)  # stable: soonest to expire first within both
    broken = requests.filter(break_glass=True).annotate(done=Count("reviews")).filter(done__lt=REVIEWERS)
    return {
        "waiting": waiting,
        "mine": sum(whole.may_decide for whole in waiting),
        "is_approver": user.has(Role.APPROVER),
        "clusters": listed(_approves_for(user)),
        "to_review": wholes(broken.order_by("pk"), user, now),
        "decided": _decided(user, now),
        "seen": seen,
        "cadence": CADENCE,
    }


def _approves_for(user: User) -> list[str]:
    """Clusters whose requests this person may decide on; for others, those that they see."""
    names = list(Cluster.objects.visible_to(user).values_list("name", flat=True))
    return [name for name in names if user.has(Role.APPROVER, name)] or names


def _decided(user: User, now: datetime) -> list[Decided]:
    recent = Q(ended_at__gte=now - SHOWN_FOR) | Q(approved_at__gte=now - SHOWN_FOR)
    keys = Failover.objects.visible_to(user).filter(recent).exclude(state=State.REQUESTED).values("request")
    rows = Failover.objects.filter(request__in=keys).select_related("request", "relationship__cluster")
    found: defaultdict[int, list[Failover]] = defaultdict(list)
    for failover in rows.prefetch_related("request__decisions").order_by("request", "position"):
        found[failover.request_id].append(failover)
    lines = [_line(failovers, now) for failovers in found.values()]
    return sorted(lines, key=lambda line: line.at or now, reverse=True)


def _line(failovers: list[Failover], now: datetime) -> Decided:
    one = failovers[0]
    asked = one.request
    votes = list(asked.decisions.all())
    by = listed([vote.person_label for vote in votes]) or one.ended_by or _("Nobody")
    if asked.break_glass:
        by = _("Nobody: break-glass")
    at = votes[-1].at if votes else asked.made_at if asked.break_glass else one.ended_at
    health, words = _outcome(failovers, now)
    return Decided(asked, one, by, at, health, words)


def _outcome(failovers: list[Failover], now: datetime) -> tuple[str, str]:
    """Of all of them together, when there are several."""
    standings = [standing(failover, now) for failover in failovers]
    one = failovers[0]
    if len(failovers) == 1 or set(standings) == {"left"}:
        health, words = outcome(one, standings[0])
        if one.approved_at and not one.request.break_glass and one.state != State.CLOSED:
            words = _("Approved, %s") % (words[:1].lower() + words[1:])
        return health, words
    words = summary(failovers, now)
    for name, health in (("person", "warning"), ("running", "active"), ("turn", "active")):
        if name in standings:
            return health, words
    return ("good" if set(standings) == {"done"} else "warning"), words
