"""Requests that wait for a decision, soonest to expire first, and what was decided in the last seven days.

Everybody who is signed in sees them; who may decide is said at each, and enforced by the verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover
from dashboard.fleet.models import Cluster
from dashboard.web.course import Course, listed
from dashboard.web.guards import signed_in
from dashboard.web.live import Pulse, cached_seen, live_answer, pulse
from dashboard.web.parts import digest

CADENCE = 5
SHOWN_FOR = timedelta(days=7)
_AGES_AFTER = 10  # seconds after which waiting requests are told anew, because time alone may have changed their words


@dataclass(frozen=True, slots=True)
class Decided:
    """One line of the past. `health` gives its mark, which is flat: nothing here asks for anything any more."""

    failover: Failover
    by: str
    at: datetime | None
    health: str
    outcome: str


@require_safe
def approvals(request: HttpRequest) -> HttpResponse:
    context = _context(request, _seen(request, pulse(signed_in(request))))
    return render(request, "approvals/list.html", context | {"section": "approvals"})


@require_safe
def approvals_live(request: HttpRequest) -> HttpResponse:
    now = pulse(signed_in(request))
    seen = _seen(request, now)

    def render_list() -> str:
        context = _context(request, seen) | {"pulse": now}
        return render_to_string("approvals/_live.html", context, request)

    return live_answer(request, region="", seen=seen, render=render_list, observed_age=now.age, shared=False)


def _seen(request: HttpRequest, now: Pulse) -> str:
    """Of all requests that this person sees, the relationships that wait, and the clusters; and while one waits, of the
    time."""
    user = signed_in(request)

    def ask() -> str:
        waits = Q(state=State.REQUESTED)
        found = Failover.objects.visible_to(user).aggregate(
            n=Count("pk"),
            versions=Sum("version"),
            rows=Sum("relationship__version", filter=waits),
            votes=Count("request__decisions", filter=waits),
        )
        return repr(sorted(found.items()))

    age = int(database_now().timestamp()) // _AGES_AFTER if now.waiting else 0
    return digest(f"{now.seen} {cached_seen(user, 'approvals', ask)} {age}")


def _context(request: HttpRequest, seen: str) -> dict[str, Any]:
    user, now = signed_in(request), database_now()
    rows = (
        Failover.objects.visible_to(user)
        .select_related("request__requester", "relationship__cluster")
        .filter(position=0)
    )
    waiting = [
        Course(failover, user, now)
        for failover in rows.filter(state=State.REQUESTED).order_by("request__decide_by", "pk")
    ]
    recent = Q(ended_at__gte=now - SHOWN_FOR) | Q(approved_at__gte=now - SHOWN_FOR)
    past = rows.filter(recent).exclude(state=State.REQUESTED).prefetch_related("request__decisions")
    decided = sorted((_decided(failover) for failover in past), key=lambda line: line.at or now, reverse=True)
    return {
        "waiting": waiting,
        "mine": sum(course.may_decide for course in waiting),
        "is_approver": user.has(Role.APPROVER),
        "clusters": listed(list(Cluster.objects.visible_to(user).values_list("name", flat=True))),
        "decided": decided,
        "seen": seen,
        "cadence": CADENCE,
    }


def _decided(failover: Failover) -> Decided:
    votes = list(failover.request.decisions.all())
    by = listed([vote.person_label for vote in votes]) or failover.ended_by or _("Nobody")
    at = votes[-1].at if votes else failover.ended_at
    health, outcome = _outcome(failover)
    return Decided(failover, by, at, health, outcome)


def _outcome(failover: Failover) -> tuple[str, str]:
    target = failover.relationship.cluster.name
    not_applied = failover.outcome == "not_applied"
    outcomes = {
        State.APPROVED: ("active", _("Approved, about to start")),
        State.SENT: ("active", _("Approved, sent")),
        State.REVERTING: ("active", _("Approved, reverting")),
        State.SUCCEEDED: ("good", _("Approved, writable")),
        State.REFUSED: ("critical", _("Approved, refused by %s") % target),
        State.STOPPED: ("warning", _("Approved, stopped before sending")),
        State.CLOSED: ("inactive", _("Closed as not applied")) if not_applied else ("unknown", _("Closed by a person")),
        State.REJECTED: ("inactive", _("Rejected")),
        State.CANCELLED: ("inactive", _("Cancelled")),
        State.EXPIRED: ("inactive", _("Expired")),
    }
    return outcomes[State(failover.state)]
