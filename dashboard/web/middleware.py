"""What holds for every answer: it says which build made it, it is kept by no cache, and nobody sees a page who is not
signed in. Doors are closed by default: a view is open only when it says so with `login_not_required`.

A session that was left alone opens nothing but the wall. A click keeps it alive, a poll does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast
from uuid import uuid4

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from dashboard.accounts import factors, sessions, signin
from dashboard.audit.chain import bound_to_request
from dashboard.web import kept
from dashboard.web.build import build
from dashboard.web.guards import address, signed_in

REFERENCE = "desk.reference"
GetResponse: TypeAlias = Callable[[HttpRequest], HttpResponseBase]


class BuildMiddleware:
    """`X-Build` on every answer (without it, freshness.js lets nothing in), no caching, and one reference for a
    request, its error page and the ledger entries that it causes."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        reference = uuid4().hex[:12]
        request.META[REFERENCE] = reference
        with bound_to_request(reference):
            response = self.get_response(request)
        response["X-Build"] = build()
        response["X-Request-Id"] = reference
        response.setdefault("Cache-Control", "no-store")
        return response


class SignInMiddleware:
    """Whoever is not signed in gets the sign-in page; a poll gets a mark, so that the page it came from stays. Whoever
    may ask or decide must have a second factor before they send a form, where the desk requires one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_wall(request):
            known, asked = request.user, cast("Any", request)
            # Lazy: a page that asks for nobody reads no session.
            asked.user = SimpleLazyObject(lambda: AnonymousUser() if sessions.is_idle(request.session) else known)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        if "\0" in request.path:
            raise Http404  # nothing has such a name, and PostgreSQL refuses to look for one
        if not getattr(view, "login_required", True):
            return None
        if not request.user.is_authenticated:
            return _signed_out(request)
        if not _is_poll(request) and not _is_wall(request):
            sessions.touch(request.session)
        if request.method not in _READING and _needs_a_factor(request):
            return kept.lead_to_account(request)
        return None


_READING = ("GET", "HEAD", "OPTIONS")


def _signed_out(request: HttpRequest) -> HttpResponse:
    # Never a redirect to htmx: it would follow it and put the sign-in page where the table was.
    if request.headers.get("HX-Request") == "true" or _is_poll(request):
        return kept.signed_out()
    if _is_wall(request):
        return kept.signed_out_wall(request)
    if (user := sessions.left_alone(request.session)) is not None:
        signin.record_left_alone(user, address(request))
    return kept.ask_to_sign_in(request)


def _is_poll(request: HttpRequest) -> bool:
    return request.path.endswith("/live/")


def _is_wall(request: HttpRequest) -> bool:
    return request.path.startswith("/wall/")


def _needs_a_factor(request: HttpRequest) -> bool:
    """Not to add the missing factor, and not to leave."""
    if request.path.startswith("/account/") or request.path == "/sign-out/":
        return False
    return factors.is_missing(signed_in(request), request.session)
