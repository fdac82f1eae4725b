"""When the database is away, full, or takes nothing: one clear page with 503 instead of "this page could not be made".

Nothing was done then: a verb and its entry are one transaction. Only where the answer to its COMMIT was lost nobody
knows, and where an entry of this request is committed already it may be what was asked for; the page says so. What was
typed stays in the page, but for proofs of identity, and can be sent once more. What is sent to the clusters meanwhile a
page without a database cannot know, and it says nothing about it.
"""

from __future__ import annotations

import sys

from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from dashboard.audit import chain
from dashboard.postgres import CommitUnknown
from dashboard.web.kept import from_our_page, typed

RETRY_AFTER = 5  # seconds


def answer(request: HttpRequest) -> HttpResponse | None:
    """The page for the exception that is being handled; None when it is not one of the database's state. Made without a
    database, a session or a context processor."""
    error = sys.exception()
    words = _words(error) if isinstance(error, DatabaseError | InterfaceError) else ""
    if not words:
        return None
    fields = _fields(request)
    unknown = request.method == "POST" and (chain.has_committed() or _is_unknown(error))
    context = {"words": words, "posted": request.method == "POST", "fields": fields, "at": request.path}
    context["unknown"] = unknown
    if "csrfmiddlewaretoken" in fields:
        context["csrf_token"] = fields.pop("csrfmiddlewaretoken")
    page = render_to_string("errors/503.html", context)
    # For pages that are open: freshness.js shows these words above what somebody was typing, and whether it is known
    # that nothing was changed.
    headers = {"Retry-After": str(RETRY_AFTER), "X-Unavailable": words} | ({"X-Unknown": "1"} if unknown else {})
    return HttpResponse(page, status=503, headers=headers)


def _words(error: BaseException) -> str:
    """One sentence; "" for an error that is a mistake of ours, or a rule of the database that said no."""
    code = getattr(error.__cause__, "sqlstate", None) or ""
    said = str(error)
    if code == "53100" or "disk is full" in said:
        return "The database takes no entry: its disk is full."
    if code in ("25006", "42501") or "readonly database" in said:
        return "The database takes no entry: it may only be read."
    if isinstance(error, OperationalError | InterfaceError):
        return "The database does not answer."
    return ""


def _is_unknown(error: BaseException | None) -> bool:
    """Whether a COMMIT got no answer. What was raised then may be hidden by the next try to connect."""
    while error is not None and not isinstance(error, CommitUnknown):
        error = error.__context__
    return error is not None


def _fields(request: HttpRequest) -> dict[str, str]:
    try:
        return typed(request) if request.method == "POST" and from_our_page(request) else {}
    except (OSError, SuspiciousOperation):  # the form itself did not arrive, or is no form
        return {}
