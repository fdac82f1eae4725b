"""Pages for machines: is the desk alive, and what did a browser refuse to load."""

from __future__ import annotations

import logging
from datetime import datetime

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from dashboard.audit import checkpoints
from dashboard.database import database_now
from dashboard.failovers import policy_lint
from dashboard.failovers.models import Heartbeat
from dashboard.web.linted import linted

log = logging.getLogger(__name__)

LARGEST_REPORT = 8192


@login_not_required
@require_safe
def health(_request: HttpRequest) -> JsonResponse:
    """200 when pages can be made, else 503. `sweep_seconds_ago` is news, not a verdict: restarting the web server
    does not help a sweep that is late. Nor is `policies`: `red: 2` are two ways to be stuck in the night. Nor is
    `checkpoints`: what it calls late has not left the database yet."""
    try:
        now = database_now()
        beat: datetime | None = Heartbeat.objects.filter(driver="sweep").values_list("at", flat=True).first()
        policies = policy_lint.summary(linted())
        record = checkpoints.standing(now)
    except DatabaseError:
        log.exception("The database does not answer.")
        return JsonResponse({"ok": False, "database": "does not answer"}, status=503)
    late = None if beat is None else round((now - beat).total_seconds(), 1)
    signed = {"entry": record.seq, "late": record.late}
    answer = {"ok": True, "database": "answers", "sweep_seconds_ago": late, "policies": policies, "checkpoints": signed}
    return JsonResponse(answer)


@csrf_exempt
@login_not_required
@require_POST
def csp_report(request: HttpRequest) -> HttpResponse:
    """What a browser refused to load or run, into the log. Anybody can post here, so it is short and stays text."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_REPORT:
        return HttpResponse(status=413)
    log.warning("Content-Security-Policy: %s", ascii(request.read(LARGEST_REPORT).decode("utf-8", "replace")))
    return HttpResponse(status=204)
