"""What holds for every answer: it says which build made it, it is kept by no cache, and nobody sees a page who is not
signed in. Doors are closed by default: a view is open only when it says so with `login_not_required`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import uuid4

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase

from dashboard.audit.chain import bound_to_request
from dashboard.web import kept
from dashboard.web.build import build

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
    """Whoever is not signed in gets the sign-in page; a poll gets a mark, so that the page it came from stays."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        if "\0" in request.path:
            raise Http404  # nothing has such a name, and PostgreSQL refuses to look for one
        if not getattr(view, "login_required", True) or request.user.is_authenticated:
            return None
        # Never a redirect to htmx: it would follow it and put the sign-in page where the table was.
        if request.headers.get("HX-Request") == "true" or request.path.endswith("/live/"):
            return kept.signed_out()
        if request.path.startswith("/wall/"):
            return kept.signed_out_wall(request)
        return kept.ask_to_sign_in(request)
