"""The audit trail, newest first, and each entry with everything that was hashed.

Of the chain the page says only what it has just verified itself: on the newest page that the entries shown are whole,
in order and end at the head; on an older one that they follow one another; of a search that each matches its own hash.
Whether the whole chain is sound, `manage.py verifyaudit` says, and the file that auditors are given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.models import Person
from dashboard.accounts.roles import Role
from dashboard.audit import chain, checkpoints, export, verifier
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.audit.search import Found, Search, page
from dashboard.audit.tags import KINDS, Tag, words_of
from dashboard.audit.verifier import Bad
from dashboard.database import database_now
from dashboard.failovers.lifecycle import Refused
from dashboard.web import forms, ledger
from dashboard.web.guards import actor, post_only, requires, signed_in

LARGEST = 2**63  # of an integer column
_FORMATS = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}
MAY_SEE = (Role.AUDITOR, Role.APPROVER, Role.ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was verified just now. `kind`: "all", "newest", "older", "each", "one", or "none" (nothing to verify)."""

    kind: str
    at: datetime
    head: str = ""
    bad: Bad | None = None


@require_safe
@requires(*MAY_SEE, everywhere=True)
def audit(request: HttpRequest) -> HttpResponse:
    return _trail(request, request.GET)


def _trail(request: HttpRequest, query: Mapping[str, str], *, error: str = "", status: int = 200) -> HttpResponse:
    head = Head.objects.values_list("seq", flat=True).get()
    before, after = _place(query, "before"), _place(query, "after")
    chosen = {name: query[name] for name in ledger.FIELDS if query.get(name)}
    try:
        search = ledger.search(chosen)
        found = page(search, head=head, before=before, after=None if before else after)
    except Refused as refused:
        search, error = Search(), error or refused.words
        found = Found(entries=[], older=None, newer=None, looked=(head + 1, head), whole=True)
    older = found.newer is not None
    context = {
        "section": "audit",
        "chosen": chosen,
        "error": error,
        "selects": _selects(chosen),
        "narrows": search.narrows,
        "found": found,
        "lines": [ledger.line(entry) for entry in found.entries],
        "total": head,
        "older": older,
        "newest_url": _url(chosen),
        "newer_url": _url(chosen, after=found.newer) if found.newer is not None else "",
        "next_url": _url(chosen, before=found.older) if found.older is not None else "",
        "verified": _verify(found.entries, older=older, searched=search.narrows),
        "may_export": Role.AUDITOR in signed_in(request).roles,
        "notary": checkpoints.standing(database_now()),
    }
    return render(request, "audit/trail.html", context, status=status)


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
            "line": ledger.line(shown),
            "record": {name: str(value or "") for name, value in record.items()},
            "actor": {name: str(value or "") for name, value in ledger.mapping(record.get("actor")).items()},
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


@post_only
@requires(Role.AUDITOR, everywhere=True)
def export_trail(request: HttpRequest) -> HttpResponseBase:
    """What is found, or a range of it, as a file. That it was taken is recorded before the first byte leaves."""
    values = forms.read(request.POST, (*ledger.FIELDS, "first", "last", "format"))
    if values["format"] not in _FORMATS:
        raise BadRequest("The form names no format that there is.")
    try:
        search = ledger.search(values)
        moment = export.now()
        first, last = _range(values, moment.head)
    except Refused as refused:
        return _trail(request, values, error=refused.words, status=422)
    rows = search.rows().filter(seq__gte=first, seq__lte=last)
    count = rows.count() if search.narrows else last - first + 1
    with transaction.atomic():
        chain.append(
            Tag.AUDIT_EXPORTED,
            actor=actor(request),
            object=f"audit:{first}-{last}",
            words=f"Exported {count} entries of {first} to {last} as {values['format'].upper()}.",
            detail={"format": values["format"], "first": first, "last": last, "count": count, "filter": search.words},
        )
    if values["format"] == "jsonl":
        data = export.jsonl(rows, moment, first=first, last=last, selection=search.words)
    else:
        data = export.table(rows, moment)
    name = f"audit-{first}-{last}{'-selected' if search.narrows else ''}.{values['format']}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(data, content_type=_FORMATS[values["format"]], headers=headers)


@require_safe
@requires(*MAY_SEE, everywhere=True)
def program(_request: HttpRequest) -> FileResponse:
    """The verifier: one file that needs nothing but Python."""
    file = Path(verifier.__file__).open("rb")  # noqa: SIM115 - the response closes it
    return FileResponse(file, as_attachment=True, filename="verify.py", content_type="text/x-python")


def _range(values: Mapping[str, str], head: int) -> tuple[int, int]:
    first, last = _number(values["first"], "first") or 1, min(_number(values["last"], "last") or head, head)
    if first > last:
        raise Refused(_("There are no entries from %(first)s to %(last)s.") % {"first": first, "last": last})
    return first, last


def _number(text: str, field: str) -> int:
    text = text.strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 20 and 0 < int(text) < LARGEST):
        raise Refused(_("“%s” is no number of an entry.") % text[:30], field=field)
    return int(text or 0)


def _place(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    usable = text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < LARGEST
    return int(text) if usable else None


def _url(chosen: dict[str, str], **place: int | None) -> str:
    query = urlencode(chosen | {name: str(value) for name, value in place.items()})
    return reverse("audit") + (f"?{query}" if query else "")


def _selects(chosen: dict[str, str]) -> list[dict[str, Any]]:
    kinds = [(name, _(words)) for name, (words, _tags) in KINDS.items()]
    people = [*Person.objects.order_by("label").values_list("label", flat=True), SYSTEM.label]
    who = [(name, name) for name in people]
    for options, name in ((kinds, "kind"), (who, "who")):
        value = chosen.get(name, "")
        if value and value not in dict(options):  # an address may name a single tag, or somebody who was renamed
            options.append((value, words_of(value) if name == "kind" else value))
    return [
        {"name": "kind", "label": _("What kind"), "any": _("Anything"), "options": kinds, "value": chosen.get("kind")},
        {"name": "who", "label": _("Who"), "any": _("Anyone"), "options": who, "value": chosen.get("who")},
    ]


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
