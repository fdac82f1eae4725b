"""Asking for a failover: the dialog, which is a page of its own where no script runs.

Nothing is sent by asking, unless somebody breaks the glass. What the form says is judged by the verb; when it says no,
the form comes back with what was typed and the one sentence at its field, and the ledger keeps the refusal. The checks
repeat inside the open dialog, and with them whether its button works.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers import asking, preflight, reading
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Mode, Request
from dashboard.failovers.preflight import Verdict
from dashboard.fleet.models import Relationship
from dashboard.web import confirm, forms
from dashboard.web.before import took_last
from dashboard.web.detail import find
from dashboard.web.guards import actor, kept, record_refusal, requires, signed_in
from dashboard.web.live import live_answer, pulse
from dashboard.web.parts import digest
from dashboard.web.votes import terms


@require_http_methods(["GET", "HEAD", "POST"])
def fail_over(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    """The dialog: for htmx the fragment, else a page of its own. POST asks."""
    row = find(signed_in(request), cluster, relationship)
    if request.method == "POST":
        return _ask(request, row)
    typed = kept(request)
    if typed:
        return _dialog(request, row, typed, nonce=forms.nonce_of(typed), signed_out=True)
    return _dialog(request, row, asked_before(request, [row]))


def asked_before(request: HttpRequest, rows: list[Relationship]) -> dict[str, str]:
    """Reason, ticket and mode of the request that is asked again. What confirms is typed anew."""
    asked = Request.objects.visible_to(signed_in(request)).filter(pk=forms.number_of(request.GET.get("again", "")))
    before = asked.filter(failovers__relationship__in=rows).first()
    return {"reason": before.reason, "ticket": before.ticket, "mode": before.mode} if before else {}


@requires(Role.OPERATOR)
def _ask(request: HttpRequest, row: Relationship) -> HttpResponse:
    form = forms.Ask.of(request.POST)
    try:
        made = ask(request, [row], [row], form)
    except Refused as refused:
        record_refusal(request, refused, object=str(row))
        return _dialog(request, row, form.kept, error=refused, nonce=form.nonce)
    page = reverse("failover", args=(made.number,))
    if _htmx(request):
        return HttpResponse(status=204, headers={"HX-Redirect": page})
    return HttpResponse(status=303, headers={"Location": page})


def ask(request: HttpRequest, shown: list[Relationship], rows: list[Relationship], form: forms.Ask) -> Request:
    """The verb, on what was typed and on those `rows` of the `shown` that were left in. Whoever breaks the glass proves
    before that it is they: for this form, and for no relationships but those that it showed."""
    auth = confirm.prove(request, "break-glass", _shown(shown, form.nonce)).words if form.break_glass else ""
    return asking.request(
        user=signed_in(request),
        actor=actor(request),
        relationships=rows,
        typed=form.typed,
        reason=form.reason,
        ticket=form.ticket,
        nonce=form.nonce,
        mode=form.mode,
        auth=auth,
        break_glass=form.break_glass,
    )


def _shown(rows: list[Relationship], nonce: UUID) -> str:
    return " ".join([str(nonce), *(str(key) for key in sorted(row.pk for row in rows))])


@require_safe
def fail_over_checks(request: HttpRequest, cluster: str, relationship: str) -> HttpResponse:
    """The checks inside the open dialog, for the mode that is chosen, and with them whether its button works."""
    row = find(signed_in(request), cluster, relationship)
    context = _judged(request, row, mode_of(request.GET.get("mode", "")))
    checks = [(check.verdict, check.words) for check in context["checks"]]
    seen = digest(repr((checks, context["situation"].read_at, context["mode"])))
    context |= {"seen": seen, "back": _relationship_url(row)}

    def render() -> str:
        foot = render_to_string("failovers/_dialog_foot.html", context | {"oob": True})
        return render_to_string("failovers/_dialog_checks.html", context) + foot

    return live_answer(
        request, region="", seen=seen, render=render, observed_age=pulse(signed_in(request)).age, shared=False
    )


def mode_of(text: str) -> str:
    """One that there is; anything else is for the verb to refuse, and looks unplanned until then."""
    return text if text in Mode.values else Mode.UNPLANNED


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
    context = _judged(request, row, mode_of(typed.get("mode", ""))) | form_context(request, [row], nonce or uuid4())
    context |= {
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
        "typed": typed,
        "error": error,
        "signed_out": signed_out,
        "seen": "",
    }
    if not page:
        return render(request, "failovers/_dialog.html", context)  # htmx swaps no 4xx: the sentence is in the form
    return render(request, "failovers/confirm.html", context, status=422 if error else 200)


def form_context(request: HttpRequest, rows: list[Relationship], nonce: UUID) -> dict[str, Any]:
    """What every form that asks shows of policies and modes, for one and for several."""
    asked = terms(rows, signed_in(request))
    return {
        "nonce": nonce,
        "terms": asked,
        "confirm": confirm.offer(request, "break-glass", _shown(rows, nonce)) if asked.rules.break_glass else None,
    }


def _judged(request: HttpRequest, row: Relationship, mode: str) -> dict[str, Any]:
    situation = reading.situation(row, now=database_now(), user=signed_in(request), mode=mode)
    checks = preflight.judge(situation)
    address = reverse("fail-over-checks", args=(row.cluster.name, row.relationship_id))
    return {
        "target": row.cluster.name,
        "situation": situation,
        "mode": mode,
        "loss": (loss := reading.loss(situation)),
        "bytes": reading.in_bytes(row, loss),
        "checks": checks,
        "passed": sum(check.verdict is Verdict.PASS for check in checks),
        "blocks": len(preflight.blocks(checks)),
        "old": situation.read_at is None or situation.now - situation.read_at > TIMING.fresh,
        "read_now_url": reverse("relationship-read-now", args=(row.cluster.name, row.relationship_id)),
        "checks_url": address,
        "url": f"{address}?{urlencode({'mode': mode})}",
    }


def _relationship_url(row: Relationship) -> str:
    return reverse("relationship", args=(row.cluster.name, row.relationship_id))


def _htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"
