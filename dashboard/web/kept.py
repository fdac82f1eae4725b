"""Typed text survives a session that ended. A form that arrives signed out, or with the token of an earlier session,
is answered with the sign-in page, which carries the fields, signed; after the sign-in the form comes back filled.
Nothing is sent by that: somebody looks at it again and presses the button.

Only forms of our own pages are kept. One that another site posts would otherwise come back as if it had been typed
here.
"""

from __future__ import annotations

import posixpath
from typing import Any

from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

LARGEST = 20_000  # characters; more than any form here can hold
_SALT = "dashboard.web.kept"
_NEVER = ("csrfmiddlewaretoken", "password", "code", "answer", "secret")
_CONFIRMS = "confirm_"  # how the fields of `web.confirm` begin


def signed_out() -> HttpResponse:
    """For htmx: nothing to swap, and a mark that makes the page say so."""
    return HttpResponse(status=204, headers={"X-Signed-Out": "1"})


def signed_out_wall(request: HttpRequest) -> HttpResponse:
    """A screen in a control room shows neither a form nor data."""
    return render(request, "accounts/signed_out_wall.html", {"next": request.path})


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """The sign-in page for whoever asks for a page, or sends a form, without being signed in."""
    if request.method in ("GET", "HEAD"):
        return redirect(f"{reverse('sign-in')}?{urlencode({'next': request.get_full_path()})}")
    return render(request, "accounts/sign_in.html", {"next": form_of(request), "kept": _sign(request)})


def lead_to_account(request: HttpRequest) -> HttpResponse:
    """For somebody who lacks a second factor: to the page where it is added, which leads back to the filled form."""
    form = form_of(request)
    remember(request, form, _fields(request))
    to = f"{reverse('account')}?{urlencode({'next': form})}"
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Redirect": to})
    return redirect(to)


def put_aside(request: HttpRequest, form: str) -> None:
    """Somebody leaves a form for a moment, to confirm elsewhere that it is them: it comes back filled."""
    remember(request, form, _fields(request))


def give_back(request: HttpRequest) -> HttpResponseRedirect:
    """To somebody who is signed in, but whose page is from before that: the form again, filled."""
    remember(request, form_of(request), _fields(request))
    return redirect(form_of(request))


def restore(request: HttpRequest, carried: str) -> None:
    """After a sign-in: the fields that the sign-in page carried are laid ready for the form. A false signature is
    ignored."""
    try:
        found = signing.loads(carried, salt=_SALT, max_age=12 * 3600)
    except signing.BadSignature:
        return
    remember(request, found["form"], found["fields"])


def remember(request: HttpRequest, form: str, fields: dict[str, str]) -> None:
    if fields:
        request.session["kept"] = {"form": form, "fields": fields}


def take(request: HttpRequest) -> dict[str, str]:
    """What was typed into the form of this page before the session ended, once; {} mostly. For views with a form."""
    found: dict[str, Any] | None = request.session.get("kept")
    if not found or found["form"] != request.path:
        return {}
    del request.session["kept"]
    fields: dict[str, str] = found["fields"]
    return fields


def form_of(request: HttpRequest) -> str:
    """Where the form of a POST stands: at the same address, or one level up when that address takes nothing but POST
    (`/failovers/FO-1042/decide/` belongs to `/failovers/FO-1042/`)."""
    match = request.resolver_match
    if match is not None and getattr(match.func, "post_only", False):
        return posixpath.dirname(request.path.rstrip("/")).rstrip("/") + "/"
    return request.path


def from_our_page(request: HttpRequest) -> bool:
    """Whether the browser says that the form stood on a page of ours."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == f"{request.scheme}://{request.get_host()}"


def safe_next(request: HttpRequest, target: str) -> str:
    """An address on this desk to go on to; the first page for any other."""
    ours = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return target if ours and target.startswith("/") else "/"


def _sign(request: HttpRequest) -> str:
    fields = _fields(request)
    return signing.dumps({"form": form_of(request), "fields": fields}, salt=_SALT, compress=True) if fields else ""


def typed(request: HttpRequest) -> dict[str, str]:
    """What a form holds but for secrets, to be given back in a page; with its token, so that it can be sent again."""
    token = request.POST.get("csrfmiddlewaretoken", "")
    return _fields(request) | ({"csrfmiddlewaretoken": token} if token else {})


def _fields(request: HttpRequest) -> dict[str, str]:
    names = [name for name in request.POST if name not in _NEVER and not name.startswith(_CONFIRMS)]
    fields = {name: str(request.POST[name]) for name in names}
    return fields if sum(map(len, fields.values())) <= LARGEST else {}
