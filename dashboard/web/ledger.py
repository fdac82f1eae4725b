"""The entries of the ledger as pages show them, and what somebody looks for among them, as it stands in an address."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.audit.search import Search
from dashboard.audit.tags import tags_of_kind, words_of
from dashboard.failovers.lifecycle import Refused

FIELDS = ("q", "who", "kind", "object", "since", "until", "refused")
LONGEST = 200

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
    "review.overdue": ("warning", gettext_noop("Overdue")),
    "signin.failed": ("warning", gettext_noop("Failed")),
    "hold.set": ("warning", gettext_noop("Held")),
    "notice.failed": ("warning", gettext_noop("Failed")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry as a table shows it."""

    seq: int
    at: datetime
    who: str
    kind: str
    what: str
    why: str
    health: str
    result: str
    broke_glass: bool
    hash: str


def line(entry: Entry) -> Line:
    record = entry.record
    actor = mapping(record.get("actor"))
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
        broke_glass=entry.tag == "request.break-glass",
        hash=bytes(entry.hash).hex()[:8],
    )


def _why(record: dict[str, Any]) -> list[str]:
    """The second line: what it is about, what people said, where they sat. Nothing may be relied on: an entry that
    somebody damaged is listed, too."""
    detail = mapping(record.get("detail"))
    plan = _plan(detail) if record.get("tag") == "request.made" else {}
    said = detail.get("comment") or detail.get("reason") or plan.get("reason")
    ip = mapping(record.get("actor")).get("ip")
    parts = (record.get("object"), plan.get("ticket"), f"“{said}”" if said else "", _("From %s") % ip if ip else "")
    return [str(part) for part in parts if part]


def _plan(detail: dict[str, Any]) -> dict[str, Any]:
    try:
        return mapping(json.loads(detail.get("plan") or "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def search(values: Mapping[str, str]) -> Search:
    """What is looked for. Days are those of UTC, and the last one is included. Raises Refused for what is none."""
    told = {name: chain.clean(values.get(name, "").strip()[:LONGEST]) for name in FIELDS}
    if told["kind"] and not tags_of_kind(told["kind"]):
        raise Refused(_("There is no kind of entry “%s”.") % told["kind"], field="kind")
    since, until = _day(told["since"], "since"), _day(told["until"], "until")
    if since and until and until < since:
        raise Refused(_("The last day is before the first one."), field="until")
    return Search(
        q=told["q"],
        who=told["who"],
        kind=told["kind"],
        object=told["object"],
        since=since,
        until=until + timedelta(days=1) if until else None,
        refused=bool(told["refused"]),
    )


def _day(text: str, field: str) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        day = None
    if day is None or not 2000 <= day.year < 2100:
        raise Refused(_("“%s” is no day; write it as 2026-03-14.") % text, field=field)
    return day
