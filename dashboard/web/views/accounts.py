"""Signing in and out. A password is judged by Django, a second factor by `accounts.factors`; guessing either is limited
and everything recorded by `accounts.signin`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from dashboard.accounts import emergency, factors, oidc, sessions, signin
from dashboard.accounts.models import User
from dashboard.database import database_now
from dashboard.web import kept
from dashboard.web.guards import address, post_only, signed_in

_HALF_WAY = "half"  # who gave the password and still owes the second factor
_PATIENCE = timedelta(minutes=5)


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
    user, how = _who(request, name, sent.get("password", ""))
    if user is None:
        signin.record_failure(name, ip)
        return _form(request, target, _("The name or the password is wrong."), status=422)
    if found := factors.of(user):
        request.session[_HALF_WAY] = {
            "user": user.pk,
            "hash": user.get_session_auth_hash(),
            "how": how,
            "at": database_now().isoformat(),
            "next": target,
            "kept": sent.get("kept", "")[: 2 * kept.LARGEST],
            # Made once and kept here: what a key signs is good for this way in and no other.
            "challenge": factors.key_challenge(user) if found.keys else None,
        }
        return redirect("second-factor")
    return enter(request, user, [how], target, sent.get("kept", ""))


@login_not_required
@sensitive_post_parameters("code", "answer")
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Half way in: the code of an app, a recovery code or a security key."""
    half, user = _half_way(request)
    if user is None:
        request.session.pop(_HALF_WAY, None)
        return redirect("sign-in")
    if request.method != "POST":
        return _ask_for_factor(request, half, user)
    ip, code = address(request), not request.POST.get("answer")
    if refusal := signin.refusal(user.username, ip, code=code):
        return _ask_for_factor(request, half, user, refusal, status=429)
    found = _factor_given(request, half, user)
    if not found:
        signin.record_failure(user.username, ip, code=code)
        words = _("This is not a security key of this account.")
        if code:
            words = _("The code is wrong, or was used before.")
        return _ask_for_factor(request, half, user, words, status=422)
    del request.session[_HALF_WAY]
    return enter(request, user, [half["how"], found], half["next"], half["kept"])


@post_only
def sign_out(request: HttpRequest) -> HttpResponse:
    signin.record_sign_out(signed_in(request), address(request))
    logout(request)
    return redirect("sign-in")


def enter(
    request: HttpRequest, user: User, how: list[str], target: str, carried: str, *, provider: bool = False
) -> HttpResponse:
    """The last step of every way in."""
    signin.record_success(user, address(request), how, emergency=emergency.NAME in how)
    sessions.begin(request, user, how, provider=provider)
    kept.restore(request, carried)
    return redirect(target)


def _who(request: HttpRequest, name: str, password: str) -> tuple[User | None, str]:
    """Whom the password, or an emergency code in its place, belongs to."""
    if "\0" in name:  # no account has one in its name, and PostgreSQL refuses to look for it
        return None, ""
    user = authenticate(request, username=name, password=password)
    if isinstance(user, User):
        return user, "password"
    if settings.EMERGENCY_SIGN_IN:
        known = User.objects.select_related("person").filter(username=name, is_active=True).first()
        if known is not None and emergency.take(known, password):
            return known, emergency.NAME
    return None, ""


def _half_way(request: HttpRequest) -> tuple[dict[str, Any], User | None]:
    """The account that is half way in, if its password is still that one, and not too long ago."""
    half: dict[str, Any] = request.session.get(_HALF_WAY) or {}
    if not half or database_now() - datetime.fromisoformat(half["at"]) > _PATIENCE:
        return {}, None
    user = User.objects.select_related("person").filter(pk=half["user"], is_active=True).first()
    return (half, user) if user is not None and user.get_session_auth_hash() == half["hash"] else ({}, None)


def _factor_given(request: HttpRequest, half: dict[str, Any], user: User) -> str:
    if answer := request.POST.get("answer"):
        return factors.check_key(user, half["challenge"][1], answer) if half.get("challenge") else ""
    return factors.check_code(user, request.POST.get("code", ""))


def _ask_for_factor(
    request: HttpRequest, half: dict[str, Any], user: User, error: str = "", *, status: int = 200
) -> HttpResponse:
    shown: dict[str, Any] = {"factors": factors.of(user), "error": error}
    if half.get("challenge"):
        shown["options"] = json.dumps(half["challenge"][0])
    return render(request, "accounts/second_factor.html", shown, status=status)


def _form(request: HttpRequest, target: str, error: str = "", *, status: int = 200) -> HttpResponse:
    shown = {
        "next": target,
        "kept": request.POST.get("kept", ""),
        "username": request.POST.get("username", ""),
        "error": error,
    }
    return render(request, "accounts/sign_in.html", shown | {"provider": provider_name()}, status=status)


def provider_name() -> str:
    return settings.OIDC_NAME if oidc.is_configured() else ""
