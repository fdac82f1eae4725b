"""One's own account: how one signs in, and the second factors. Every change is confirmed in its own form."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.core import signing
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts import enrolment, factors, sessions
from dashboard.failovers.lifecycle import Refused
from dashboard.web import confirm, forms, kept
from dashboard.web.guards import actor, record_refusal, signed_in

OPERATION = "factor"
_SALT = "dashboard.web.views.account"


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    how, since = sessions.how(request.session)
    shown = {
        "account": user,
        "factors": factors.of(user),
        "missing": factors.is_missing(user, request.session),
        "waiting": "kept" in request.session,
        "off": settings.SECOND_FACTOR == "off",
        "how": how,
        "since": since,
        "next": kept.safe_next(request, request.GET.get("next", "")) if "next" in request.GET else "",
        "section": "account",
    }
    return render(request, "accounts/account.html", shown)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def add_app(request: HttpRequest) -> HttpResponse:
    """GET: a new secret as a picture. POST: the first code that the app makes of it."""
    _only_if_on()
    user = signed_in(request)
    if request.method != "POST":
        return _app_page(request, enrolment.new_secret())
    values = forms.read(request.POST, ("secret", "code", *confirm.FIELDS))
    secret: str = _unsigned(request, values["secret"])
    try:
        confirm.prove(request, OPERATION, "add app")
        enrolment.add_app(user, secret, values["code"], actor=actor(request))
    except (Refused, enrolment.Refused) as refused:
        return _app_page(request, secret, _told(request, refused, "code"))
    return _codes_or_account(request)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def add_key(request: HttpRequest) -> HttpResponse:
    _only_if_on()
    user = signed_in(request)
    if request.method != "POST":
        return _key_page(request)
    values = forms.read(request.POST, ("name", "challenge", "answer", *confirm.FIELDS))
    state: dict[str, Any] = _unsigned(request, values["challenge"])
    try:
        confirm.prove(request, OPERATION, "add key")
        enrolment.add_key(user, state, values["answer"], values["name"], actor=actor(request))
    except (Refused, enrolment.Refused) as refused:
        return _key_page(request, values["name"], _told(request, refused, "answer"))
    return _codes_or_account(request)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def codes(request: HttpRequest) -> HttpResponse:
    """New recovery codes, which make the old ones void."""
    _only_if_on()
    user = signed_in(request)
    shown: dict[str, Any] = {"factors": factors.of(user)}
    status = 200
    if request.method == "POST":
        forms.read(request.POST, confirm.FIELDS)
        try:
            confirm.prove(request, OPERATION, "codes")
            return _codes(request, enrolment.new_codes(user, actor=actor(request)))
        except (Refused, enrolment.Refused) as refused:
            shown["error"], status = _told(request, refused, "codes"), 422
    shown["confirm"] = confirm.offer(request, OPERATION, "codes")
    return render(request, "accounts/codes.html", shown, status=status)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def remove_factor(request: HttpRequest, pk: int) -> HttpResponse:
    user = signed_in(request)
    found = factors.of(user)
    row = next((row for row in found.rows if row.pk == pk), None)
    if row is None or row.type == factors.Kind.RECOVERY_CODES:
        raise Http404
    shown: dict[str, Any] = {"row": row, "last": len(found.keys) + bool(found.app) == 1}
    status = 200
    if request.method == "POST":
        forms.read(request.POST, confirm.FIELDS)
        try:
            confirm.prove(request, OPERATION, f"remove {pk}")
            update_session_auth_hash(request, enrolment.remove(user, pk, actor=actor(request)))
            return redirect("account")
        except (Refused, enrolment.Refused) as refused:
            shown["error"], status = _told(request, refused, "factor"), 422
    shown["confirm"] = confirm.offer(request, OPERATION, f"remove {pk}")
    return render(request, "accounts/remove_factor.html", shown, status=status)


def _app_page(request: HttpRequest, secret: str, error: Refused | None = None) -> HttpResponse:
    user = signed_in(request)
    picture = enrolment.totp_picture(user, secret)
    shown = {
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "signed": signing.dumps([user.pk, secret], salt=_SALT),
        "picture": f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}",
        "confirm": confirm.offer(request, OPERATION, "add app"),
        "error": error,
    }
    return render(request, "accounts/add_app.html", shown, status=422 if error else 200)


def _key_page(request: HttpRequest, name: str = "", error: Refused | None = None) -> HttpResponse:
    user = signed_in(request)
    options, state = enrolment.new_key_challenge(user)
    shown = {
        "options": json.dumps(options),
        "signed": signing.dumps([user.pk, state], salt=_SALT),
        "confirm": confirm.offer(request, OPERATION, "add key"),
        "error": error,
        "name": name,
    }
    return render(request, "accounts/add_key.html", shown, status=422 if error else 200)


def _codes_or_account(request: HttpRequest) -> HttpResponse:
    """The first second factor brings its recovery codes along: without them a lost phone locks the person out."""
    user = signed_in(request)
    if factors.of(user).codes_left:
        return redirect("account")
    return _codes(request, enrolment.new_codes(user, actor=actor(request)))


def _codes(request: HttpRequest, made: list[str]) -> HttpResponse:
    waiting = request.session.get("kept", {}).get("form") or reverse("account")
    return render(request, "accounts/new_codes.html", {"codes": made, "go_on": waiting})


def _unsigned(request: HttpRequest, signed: str) -> Any:
    """What this page gave to this account within the hour."""
    try:
        pk, value = signing.loads(signed, salt=_SALT, max_age=3600)
    except (signing.BadSignature, ValueError):
        raise BadRequest(_("The page is too old. Open it again.")) from None
    if pk != signed_in(request).pk:
        raise BadRequest(_("The page was made for another account. Open it again."))
    return value


def _told(request: HttpRequest, refused: Refused | enrolment.Refused, field: str) -> Refused:
    """The sentence for the page. What failed to confirm is in the record; a mistyped code of one's own is not news."""
    if isinstance(refused, enrolment.Refused):
        return Refused(str(refused), field=field)
    record_refusal(request, refused, object=f"person:{signed_in(request).username}")
    return refused


def _only_if_on() -> None:
    if settings.SECOND_FACTOR == "off":
        raise Http404
