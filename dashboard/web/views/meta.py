"""Pages for machines: is the desk alive, and what did a browser refuse to load."""

from __future__ import annotations

import logging
import math
import threading
import time
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import checkpoints
from dashboard.database import database_now
from dashboard.failovers import policy_lint, recording
from dashboard.failovers.models import Heartbeat, Hold
from dashboard.failovers.readings import LATE_SENDER
from dashboard.web.linted import linted

log = logging.getLogger(__name__)

LARGEST_REPORT = 8192
EVERY = 0.5  # seconds
_TOLD = (Role.ADMIN, Role.AUDITOR)
_asking = threading.Lock()
_last = (-math.inf, "")  # when, by the monotonic clock, and what


@login_not_required
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 when pages can be made, else 503, with one word for monitors: `ok`, `late` (the sweep does not come round, or
    the ledger takes no entry), `held`, `down`. Only 503 says that restarting the web server could help.

    Anybody may ask, so it costs at most three queries in EVERY seconds, however often it is asked, and for whoever
    shows a session that session. An admin or auditor who is signed in learns the rest: see `_details`.
    """
    word = _judged()
    if word == "down":
        return JsonResponse({"ok": False, "status": word}, status=503)
    try:
        user = request.user if settings.SESSION_COOKIE_NAME in request.COOKIES else None
        told = _details() if isinstance(user, User) and any(user.has(role) for role in _TOLD) else {}
    except (DatabaseError, InterfaceError):
        log.exception("The database does not answer.")
        return JsonResponse({"ok": False, "status": "down"}, status=503)
    return JsonResponse({"ok": True, "status": word, **told})


def forget() -> None:
    """The next one who asks is answered anew; for tests, which change the world quicker than it does."""
    global _last  # noqa: PLW0603
    _last = (-math.inf, "")


def _judged() -> str:
    """`ok`, `late`, `held` or `down`, at most EVERY seconds old. Those who ask meanwhile wait for the same answer."""
    global _last  # noqa: PLW0603 - one for each process
    with _asking:
        at, word = _last
        if time.monotonic() - at >= EVERY:
            try:
                word = _judge()
            except (DatabaseError, InterfaceError):
                log.exception("The database does not answer.")
                word = "down"
            _last = (time.monotonic(), word)
    return word


def _judge() -> str:
    now, beats = database_now(), _beats()
    swept = beats.get("sweep")
    if swept is None or now - swept > LATE_SENDER or recording.refused_since(swept, beats.get("ledger"), now):
        return "late"
    return "held" if Hold.objects.standing().exists() else "ok"


def _details() -> dict[str, Any]:
    """`policies`: `red: 2` are two ways to be stuck in the night. What `checkpoints` calls late has not left the
    database yet. `recorded`: seconds since the ledger was seen to take an entry. `held`: what, and why."""
    now, beats, record = database_now(), _beats(), checkpoints.standing(database_now())
    return {
        "sweep_seconds_ago": _ago(beats.get("sweep"), now),
        "recorded_seconds_ago": _ago(beats.get("ledger"), now),
        "held": [{"scope": hold.scope, "reason": hold.reason} for hold in Hold.objects.standing()],
        "policies": policy_lint.summary(linted()),
        "checkpoints": {"entry": record.seq, "late": record.late},
    }


def _beats() -> dict[str, datetime]:
    return dict(Heartbeat.objects.values_list("driver", "at"))


def _ago(beat: datetime | None, now: datetime) -> float | None:
    return None if beat is None else round((now - beat).total_seconds(), 1)


@csrf_exempt
@login_not_required
@require_POST
def csp_report(request: HttpRequest) -> HttpResponse:
    """What a browser refused to load or run, into the log. Anybody can post here, so it is short and stays text."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_REPORT:
        return HttpResponse(status=413)
    log.warning("Content-Security-Policy: %s", ascii(request.read(LARGEST_REPORT).decode("utf-8", "replace")))
    return HttpResponse(status=204)
