"""Signing in and out. The password is judged by Django, guessing is limited and everything recorded by
`dashboard.accounts.signin`.
"""

from __future__ import annotations

from django.contrib.auth import authenticate, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from dashboard.accounts import sessions, signin
from dashboard.accounts.models import User
from dashboard.web import kept
from dashboard.web.guards import address, post_only, signed_in


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """GET: the form. POST: sign in and go on to `next`, with the fields that the page carried laid ready."""
    sent = request.POST
    target = kept.safe_next(request, sent.get("next") or request.GET.get("next", "/"))
    if request.method != "POST":
        return redirect(target) if request.user.is_authenticated else _form(request, target)
    name, ip = sent.get("username", "").strip()[:150], address(request)
    if refusal := signin.refusal(name, ip):
        return _form(request, target, refusal, status=429)
    # No account has a NUL in its name, and PostgreSQL refuses to look for one.
    user = None if "\0" in name else authenticate(request, username=name, password=sent.get("password", ""))
    if not isinstance(user, User):
        signin.record_failure(name, ip)
        return _form(request, target, _("The name or the password is wrong."), status=422)
    signin.record_success(user, ip)
    sessions.begin(request, user, ["password"])
    kept.restore(request, sent.get("kept", ""))
    return redirect(target)


@post_only
def sign_out(request: HttpRequest) -> HttpResponse:
    signin.record_sign_out(signed_in(request), address(request))
    logout(request)
    return redirect("sign-in")


def _form(request: HttpRequest, target: str, error: str = "", *, status: int = 200) -> HttpResponse:
    shown = {
        "next": target,
        "kept": request.POST.get("kept", ""),
        "username": request.POST.get("username", ""),
        "error": error,
    }
    return render(request, "accounts/sign_in.html", shown, status=status)
