"""Round trips: to the identity provider, to sign in or to confirm, and to the browser's security key.

The way back from the provider is a GET, as its protocol has it. It does nothing without the state that this session was
given a moment before, and that only once.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from dashboard.accounts import oidc, signin
from dashboard.failovers.lifecycle import Refused
from dashboard.web import confirm, kept
from dashboard.web.guards import address, post_only, record_refusal, signed_in
from dashboard.web.views.accounts import enter


@login_not_required
@require_POST
def sign_in_with(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider."""
    _only_if_configured()
    wanted = {
        "next": kept.safe_next(request, request.POST.get("next", "/")),
        "kept": request.POST.get("kept", "")[: 2 * kept.LARGEST],
    }
    try:
        return _go_on(request, oidc.start(request, wanted=wanted))
    except oidc.Refused as refused:
        return _failed(request, str(refused), 502)


@login_not_required
@require_safe
def sign_in_return(request: HttpRequest) -> HttpResponse:
    """Back from the identity provider."""
    _only_if_configured()
    ip = address(request)
    try:
        identity = oidc.finish(request)
    except oidc.Refused as refused:
        return _failed(request, str(refused))
    if "confirm" in identity.wanted:
        return _confirmed(request, identity)
    try:
        user = oidc.account_of(identity, ip)
    except oidc.Refused as refused:
        signin.record_failure(identity.name, ip)
        return _failed(request, str(refused))
    wanted = identity.wanted
    return enter(request, user, [settings.OIDC_NAME], wanted["next"], wanted["kept"], provider=True)


@post_only
def confirm_with(request: HttpRequest) -> HttpResponse:
    """Somebody who is signed in proves it again at the identity provider; the form they come from is kept."""
    _only_if_configured()
    try:
        return _go_on(request, confirm.go_to_provider(request))
    except Refused as refused:
        record_refusal(request, refused, object=f"person:{signed_in(request).username}")
        return _failed(request, refused.words)


@require_safe
def challenge(request: HttpRequest) -> HttpResponse:
    """For the script: what the security key signs for this form. Nothing is stored; the ticket remembers it."""
    try:
        return JsonResponse(confirm.challenge(request, request.GET.get("ticket", "")))
    except Refused as refused:
        return JsonResponse({"words": refused.words}, status=422)


def _confirmed(request: HttpRequest, identity: oidc.Identity) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect("sign-in")
    try:
        return redirect(confirm.came_back(request, identity))
    except Refused as refused:
        record_refusal(request, refused, object=f"person:{signed_in(request).username}")
        return _failed(request, refused.words)


def _go_on(request: HttpRequest, to: str) -> HttpResponse:
    """A page of ours, not a redirect: the policy of this desk lets a form lead to this desk only. A dialog is led by
    htmx."""
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Redirect": to})
    return render(request, "accounts/go_on.html", {"to": to, "provider": settings.OIDC_NAME})


def _failed(request: HttpRequest, words: str, status: int = 422) -> HttpResponse:
    shown = {"error": words, "next": "/", "provider": settings.OIDC_NAME}
    return render(request, "accounts/sign_in.html", shown, status=status)


def _only_if_configured() -> None:
    if not oidc.is_configured():
        raise Http404
