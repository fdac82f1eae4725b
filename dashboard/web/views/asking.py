"""Asking for a failover: the dialog, which is a page of its own where no script runs.

Nothing is sent by asking. What the form says is judged by the verb; when it says no, the form comes back with what was
typed and the one sentence at its field, and the ledger keeps the refusal. The checks repeat inside the open dialog, and
with them whether its button works.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers import asking, eyes, policies, preflight, reading
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Request
from dashboard.failovers.preflight import Verdict
from dashboard.fleet.models import Relationship
from dashboard.web import forms
from dashboard.web.course import listed, took_last
from dashboard.web.detail import find
from dashboard.web.guards import actor, kept, record_refusal, requires, signed_in
from dashboard.web.live import live_answer, pulse
from dashboard.web.parts import digest
from dashboard.words import duration


@require_http_methods(["GET", "HEAD", "POST"])
def fail_over(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    """The dialog: for htmx the fragment, else a page of its own. POST asks."""
    row = find(signed_in(request), cluster, relationship)
    if request.method == "POST":
        return _ask(request, row)
    typed = kept(request)
    if typed:
        return _dialog(request, row, typed, signed_out=True)
    return _dialog(request, row, _asked_before(request, row))


def _asked_before(request: HttpRequest, row: Relationship) -> dict[str, str]:
    """Reason and ticket of the request that is asked again. The path is typed anew."""
    asked = Request.objects.visible_to(signed_in(request)).filter(pk=forms.number_of(request.GET.get("again", "")))
    before = asked.filter(failovers__relationship=row).first()
    return {"reason": before.reason, "ticket": before.ticket} if before else {}


@requires(Role.OPERATOR)
def _ask(request: HttpRequest, row: Relationship) -> HttpResponse:
    form = forms.Ask.of(request.POST)
    try:
        made = asking.request(
            user=signed_in(request),
            actor=actor(request),
            relationships=[row],
            typed=form.typed,
            reason=form.reason,
            ticket=form.ticket,
            nonce=form.nonce,
        )
    except Refused as refused:
        record_refusal(request, refused, object=str(row))
        typed = {"typed": form.typed, "reason": form.reason, "ticket": form.ticket}
        return _dialog(request, row, typed, error=refused, nonce=form.nonce)
    page = reverse("failover", args=(made.number,))
    if _htmx(request):
        return HttpResponse(status=204, headers={"HX-Redirect": page})
    return HttpResponse(status=303, headers={"Location": page})


@require_safe
def fail_over_checks(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    """The checks inside the open dialog, and with them whether its button works."""
    row = find(signed_in(request), cluster, relationship)
    context = _judged(request, row)
    checks = [(check.verdict, check.words) for check in context["checks"]]
    seen = digest(repr((checks, context["situation"].read_at)))
    context |= {"seen": seen, "back": _relationship_url(row)}

    def render() -> str:
        foot = render_to_string("failovers/_dialog_foot.html", context | {"oob": True})
        return render_to_string("failovers/_dialog_checks.html", context) + foot

    return live_answer(
        request, region="", seen=seen, render=render, observed_age=pulse(signed_in(request)).age, shared=False
    )


def _dialog(
    request: HttpRequest,
    row: Relationship,
    typed: dict[str, str],
    *,
    error: Refused | None = None,
    nonce: UUID | None = None,
    signed_out: bool = False,
) -> HttpResponse:
    page = not _htmx(request)
    expected = reading.expected_typing([row])
    job = row.facts.replication_job_status if row.job_running else None
    context = _judged(request, row) | {
        "row": row,
        "page": page,
        "modal": page,
        "section": "relationships",
        "action": reverse("fail-over", args=(row.cluster.name, row.relationship_id)),
        "back": _relationship_url(row),
        "running_percent": job.percent_complete if job else None,
        "took_last": took_last(row.pk),
        "expected": expected,
        "pattern": forms.pattern_of(expected) + "/?",  # the cluster writes it with a slash at its end
        "names": listed(eyes.approvers([row.cluster.name], excluding=signed_in(request).person)),
        "decide": duration(policies.rules_for([row]).decide),
        "typed": typed,
        "error": error,
        "signed_out": signed_out,
        "nonce": nonce or uuid4(),
        "seen": "",
    }
    if not page:
        return render(request, "failovers/_dialog.html", context)  # htmx swaps no 4xx: the sentence is in the form
    return render(request, "failovers/confirm.html", context, status=422 if error else 200)


def _judged(request: HttpRequest, row: Relationship) -> dict[str, Any]:
    situation = reading.situation(row, now=database_now(), user=signed_in(request))
    checks = preflight.judge(situation)
    return {
        "target": row.cluster.name,
        "situation": situation,
        "loss": reading.loss(situation),
        "checks": checks,
        "passed": sum(check.verdict is Verdict.PASS for check in checks),
        "blocks": len(preflight.blocks(checks)),
        "old": situation.read_at is None or situation.now - situation.read_at > TIMING.fresh,
        "read_now_url": reverse("relationship-read-now", args=(row.cluster.name, row.relationship_id)),
        "url": reverse("fail-over-checks", args=(row.cluster.name, row.relationship_id)),
    }


def _relationship_url(row: Relationship) -> str:
    return reverse("relationship", args=(row.cluster.name, row.relationship_id))


def _htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"
