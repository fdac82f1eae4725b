"""The evidence pack of one request: what is in it, and the ZIP. Looking makes none; handing one out is an entry in the
ledger first."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.accounts.roles import Role
from dashboard.failovers import evidence, evidence_pack
from dashboard.failovers.evidence import Evidence
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Request
from dashboard.web import forms
from dashboard.web.guards import actor, not_for, requires, signed_in


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.AUDITOR, Role.APPROVER, Role.ADMIN)
def pack(request: HttpRequest, number: str) -> HttpResponse:
    named = Request.objects.filter(pk=forms.number_of(number))
    asked = named.visible_to(signed_in(request)).first()
    if asked is None:
        raise not_for(signed_in(request), named)
    if request.method == "POST":
        return _hand_out(request, asked)
    try:
        return _page(request, asked, evidence.collect(asked))
    except Refused as refused:
        return _page(request, asked, None, error=refused, status=422)


def _hand_out(request: HttpRequest, asked: Request) -> HttpResponse:
    forms.read(request.POST)
    try:
        made = evidence_pack.hand_out(asked, actor=actor(request))
    except Refused as refused:
        return _page(request, asked, None, error=refused, status=422)
    response = HttpResponse(made.data, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{made.name}"'
    return response


def _page(
    request: HttpRequest,
    asked: Request,
    found: Evidence | None,
    *,
    error: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "section": "relationships",
        "asked": asked,
        "number": asked.number,
        "found": found,
        "covered": found is not None and evidence_pack.covering(found) is not None,
        "contents": [(name, _(words)) for name, words in evidence_pack.CONTENTS.items()],
        "error": error,
    }
    return render(request, "evidence/page.html", context, status=status)
