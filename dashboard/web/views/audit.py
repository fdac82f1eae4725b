"""The audit trail, newest first, and each entry with everything that was hashed.

Of the chain the page says only what it has just verified itself: on the newest page that the entries shown are whole,
in order and end at the head; on an older one that they follow one another; of a search that each matches its own hash.
Whether the whole chain is sound, `manage.py verifyaudit` says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.http import require_safe

from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.models import Entry, Head
from dashboard.audit.tags import words_of
from dashboard.database import database_now
from dashboard.web.guards import requires

PAGE = 100
LONGEST_SEARCH = 200
LARGEST = 2**63  # of an integer column
MAY_SEE = (Role.AUDITOR, Role.APPROVER, Role.ADMIN)

# Tag → mark and word of what came of it. All of this is past, so the marks are flat; the rest is merely recorded.
_RESULTS = {
    "request.made": ("inactive", gettext_noop("Waiting")),
    "request.approved": ("good", gettext_noop("Approved")),
    "request.rejected": ("inactive", gettext_noop("Rejected")),
    "request.cancelled": ("inactive", gettext_noop("Cancelled")),
    "request.expired": ("inactive", gettext_noop("Expired")),
    "failover.sent": ("active", gettext_noop("Sent")),
    "failover.notsent": ("warning", gettext_noop("Not sent")),
    "failover.doubt": ("unknown", gettext_noop("Unknown")),
    "failover.reverting": ("active", gettext_noop("Reverting")),
    "failover.succeeded": ("good", gettext_noop("Succeeded")),
    "failover.refused": ("critical", gettext_noop("Refused")),
    "failover.stopped": ("warning", gettext_noop("Stopped")),
    "failover.closed": ("unknown", gettext_noop("Closed")),
    "failover.outside": ("warning", gettext_noop("From outside")),
    "signin.failed": ("warning", gettext_noop("Failed")),
    "hold.set": ("warning", gettext_noop("Held")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry as the table shows it."""

    seq: int
    at: datetime
    who: str
    kind: str
    what: str
    why: str
    health: str
    result: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was verified just now. `kind`: "all", "newest", "older", "each", "one", or "none" (nothing to verify)."""

    kind: str
    at: datetime
    head: str = ""
    bad: chain.Bad | None = None


@require_safe
@requires(*MAY_SEE, everywhere=True)
def audit(request: HttpRequest) -> HttpResponse:
    q = chain.clean(request.GET.get("q", "").strip()[:LONGEST_SEARCH])
    before = request.GET.get("before", "")
    entries = Entry.objects.order_by("-seq")
    if q:
        # The payload holds tag, people, object, words and detail. It is JSON, so what is searched is escaped alike.
        entries = entries.filter(payload__icontains=json.dumps(q, ensure_ascii=False)[1:-1])
    older = before.isascii() and before.isdecimal() and len(before) < 20 and int(before) < LARGEST
    if older:
        entries = entries.filter(seq__lt=int(before))
    found = list(entries[: PAGE + 1])
    shown = found[:PAGE]
    next_page = {"before": shown[-1].seq} | ({"q": q} if q else {}) if len(found) > PAGE else {}
    return render(
        request,
        "audit/trail.html",
        {
            "section": "audit",
            "q": q,
            "lines": [_line(entry) for entry in shown],
            "total": Head.objects.values_list("seq", flat=True).get(),
            "older": older,
            "newest_url": f"{reverse('audit')}?{urlencode({'q': q})}" if q else reverse("audit"),
            "next_url": f"{reverse('audit')}?{urlencode(next_page)}" if next_page else "",
            "verified": _verify(shown, older=older, searched=bool(q)),
        },
    )


@require_safe
@requires(*MAY_SEE, everywhere=True)
def entry(request: HttpRequest, seq: int) -> HttpResponse:
    """One entry: everything that it records, the text that was hashed, and both hashes."""
    pair = list(Entry.objects.filter(seq__in=(seq - 1, seq)).order_by("seq")) if seq < LARGEST else []
    if not pair or pair[-1].seq != seq:
        raise Http404
    shown, record = pair[-1], pair[-1].record
    report = chain.verify(start=pair[0].seq, entries=pair)
    return render(
        request,
        "audit/entry.html",
        {
            "section": "audit",
            "line": _line(shown),
            "record": {name: str(value or "") for name, value in record.items()},
            "actor": {name: str(value or "") for name, value in _object(record.get("actor")).items()},
            "tag_words": words_of(shown.tag),
            "payload": shown.payload,
            "detail": json.dumps(record.get("detail"), indent=2, ensure_ascii=False),
            "hash": bytes(shown.hash).hex(),
            "prev_hash": bytes(shown.prev_hash).hex(),
            "verified": Verified(kind="one", at=database_now(), bad=report.bad),
            "follows": len(pair) == 2,
            "has_next": Entry.objects.filter(seq=seq + 1).exists(),
        },
    )


def _verify(shown: list[Entry], *, older: bool, searched: bool) -> Verified:
    now = database_now()
    if not shown:
        return Verified(kind="none", at=now)
    if searched:
        reports = (chain.verify(start=each.seq, entries=[each]) for each in shown)
        return Verified(kind="each", at=now, bad=next((report.bad for report in reports if report.bad), None))
    oldest = shown[-1].seq
    if older:
        return Verified(kind="older", at=now, bad=chain.verify(start=oldest, entries=reversed(shown)).bad)
    report = chain.verify(start=oldest)
    return Verified(kind="all" if oldest == 1 else "newest", at=now, head=report.head[1][:8], bad=report.bad)


def _line(entry: Entry) -> Line:
    record = entry.record
    actor = _object(record.get("actor"))
    health, result = _RESULTS.get(entry.tag, ("warning", "Refused") if entry.tag.endswith(".refused") else ("", ""))
    return Line(
        seq=entry.seq,
        at=entry.at,
        who=str(actor.get("label") or entry.actor),
        kind=str(actor.get("kind") or ""),
        what=str(record.get("words") or words_of(entry.tag)),
        why=". ".join(_why(record)),
        health=health,
        result=_(result) if result else _("Recorded"),
        hash=bytes(entry.hash).hex()[:8],
    )


def _why(record: dict[str, Any]) -> list[str]:
    """The second line: what it is about, what people said, where they sat. Nothing may be relied on: an entry that
    somebody damaged is listed, too."""
    detail = _object(record.get("detail"))
    plan = _plan(detail) if record.get("tag") == "request.made" else {}
    said = detail.get("comment") or detail.get("reason") or plan.get("reason")
    ip = _object(record.get("actor")).get("ip")
    parts = (record.get("object"), plan.get("ticket"), f"“{said}”" if said else "", _("From %s") % ip if ip else "")
    return [str(part) for part in parts if part]


def _plan(detail: dict[str, Any]) -> dict[str, Any]:
    try:
        return _object(json.loads(detail.get("plan") or "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
