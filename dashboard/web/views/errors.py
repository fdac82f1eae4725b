"""Pages for what went wrong. Each says what it means for the clusters: nothing, replication goes on."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from dashboard.web import kept, outage
from dashboard.web.middleware import REFERENCE

log = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/400.html", {"words": _words(exception)}, status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/403.html", {"words": _words(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - the name Django uses
    # What the exception says is left out: it lists the routes.
    return render(request, "errors/404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Made without a database, a session or a context processor: any of them may be what failed. Called while the
    exception is handled."""
    if (unavailable := outage.answer(request)) is not None:
        return unavailable
    reference = request.META.get(REFERENCE, "")
    log.error("Reference %s was shown for %s %s.", reference, request.method, request.path)
    return HttpResponse(render_to_string("errors/500.html", {"reference": reference}), status=500)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a good token. From a page of ours that is older than the last sign-in, it comes back filled."""
    if not kept.from_our_page(request):
        log.warning("A form from elsewhere was refused for %s: %s", request.path, reason)
        return render(
            request, "errors/403.html", {"words": _("The form was not sent by a page of this desk.")}, status=403
        )
    htmx = request.headers.get("HX-Request") == "true"
    if not request.user.is_authenticated:
        return kept.signed_out() if htmx else kept.ask_to_sign_in(request)
    back = kept.give_back(request)
    return HttpResponse(status=204, headers={"HX-Redirect": back.url}) if htmx else back


def _words(exception: Exception) -> str:
    """The sentence that one of our own views gave, if it gave one."""
    return str(exception.args[0]) if exception.args and isinstance(exception.args[0], str) else ""
