"""The page of one relationship. All of it is live: one root, swapped when something changed, and once a minute because
the age of a recovery point grows although nothing does.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.people import may_see_audit
from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers import policies
from dashboard.failovers.weakening import approvals
from dashboard.fleet import observe
from dashboard.fleet.models import Cluster
from dashboard.web import fields
from dashboard.web.chart import RANGES
from dashboard.web.detail import REDRAWN_EVERY, Detail, find
from dashboard.web.guards import post_only, signed_in
from dashboard.web.live import live_answer, pulse
from dashboard.words import clock

CADENCE, CADENCE_RUNNING = 5, 2


@require_safe
def relationship(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    detail = _detail(request, cluster, relationship)
    return render(request, "relationships/page.html", _context(request, detail) | {"section": "relationships"})


@require_safe
def live(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    detail = _detail(request, cluster, relationship)
    heard = pulse(signed_in(request))

    def render_root() -> str:
        context = _context(request, detail) | {"waiting": heard.waiting, "live": True}
        return render_to_string("relationships/_live_page.html", context, request)

    answer = live_answer(
        request,
        region=request.path,
        seen=_seen(detail, request.GET.get("seen", "")),
        render=render_root,
        observed_age=heard.age,
        shared=False,
        above=heard.notices,
    )
    read_at = detail.row.cluster.last_read_at
    if read_at is not None:
        answer["X-Cluster-Ages"] = f"{cluster}={max((detail.now - read_at).total_seconds(), 0):.1f}"
    return answer


@post_only
def read_now(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    row = find(signed_in(request), cluster, relationship)
    return ask_again(request, row.cluster, back=reverse("relationship", args=(cluster, relationship)))


def ask_again(request: HttpRequest, cluster: Cluster, *, back: str) -> HttpResponse:
    """Have the cluster read once more and answer at once: the poll shows what came of it. At most one reading in five
    seconds, and who asks for more is told so."""
    now = database_now()
    taken = observe.read_now(cluster, now)
    if request.headers.get("HX-Request") != "true":
        return redirect(back)
    return HttpResponse(_("Asked at %s.") % clock(now, now) if taken else _("It was asked a moment ago."))


def _detail(request: HttpRequest, name: str, identifier: str) -> Detail:
    user = signed_in(request)
    row: Any = find(user, name, identifier)
    span = request.GET.get("range", "")
    return Detail(user, row, row.now, span if span in RANGES else "6h", all_events=request.GET.get("events") == "all")


def _seen(detail: Detail, has: str) -> str:
    """The version, and when it was drawn. What the browser has stays good while the version is the same and the chart
    is not too old; its text then comes back unchanged."""
    now = int(detail.now.timestamp())
    version, _dash, drawn = has.partition("-")
    young = drawn.isdecimal() and 0 <= now - int(drawn[:12]) < REDRAWN_EVERY
    return has if version == detail.version and young else f"{detail.version}-{now}"


def _context(request: HttpRequest, detail: Detail) -> dict[str, Any]:
    row, user = detail.row, signed_in(request)
    here = reverse("relationship", args=(row.cluster.name, row.relationship_id))
    live_at = reverse("relationship-live", args=(row.cluster.name, row.relationship_id))
    more = "&events=all" if detail.all_events else ""
    rules = policies.rules_for([row])
    return {
        "detail": detail,
        "row": row,
        "r": detail.shown,
        "status": detail.status,
        "counters": fields.counters(detail.status),
        "snapshot": fields.snapshot(detail.status),
        "identity": fields.identity(row, detail.status),
        "source_side": fields.source_side(detail.source.status) if detail.source else [],
        "rules": rules,
        "needs": approvals(rules.shares),
        "here": here,
        "spans": [(f"{here}?range={key}{more}", words, key == detail.span) for key, words in detail.spans],
        "more_events": f"{here}?range={detail.span}&events=all",
        "live_url": f"{live_at}?range={detail.span}{more}",
        "seen": _seen(detail, ""),
        "cadence": CADENCE_RUNNING if row.held_phase == "running" else CADENCE,
        "may_ask": user.has(Role.OPERATOR, row.cluster.name),
        "audit": reverse("audit") if may_see_audit(user) else "",
    }
