"""The log of a request, newest first: its entries in the ledger, and between them what the readings showed (a change of
state, each quarter of the revert, silence and its end). Nothing is told that is not recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

from dashboard.audit.models import Entry
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.changes import state_words
from dashboard.fleet.models import Observation

QUARTERS = (25, 50, 75)
# The silhouette that a line gets; the others get a dot.
KINDS = {
    "failover.doubt": "unknown",
    "failover.refused": "critical",
    "failover.stopped": "warning",
    "failover.outside": "warning",
    "failover.succeeded": "good",
}


@dataclass(frozen=True, slots=True)
class Line:
    at: datetime
    words: str
    detail: str = ""
    kind: str = ""


MOST_OF_SEVERAL = 60
MOST = 500  # lines of the ledger; a request for many relationships has more, and each of them its own page


def log(asked: Request, only: Failover | None = None) -> list[Line]:
    """Of a request and all that it carries, or of it and the one failover of a page. What the readings of many showed
    stands on the page of each."""
    failovers = [only] if only else list(asked.failovers.select_related("relationship__cluster"))
    names = {asked.number, *(failover.number for failover in failovers)}
    entries = Entry.objects.filter(object__in=names).order_by("-seq")[:MOST]
    if len(failovers) > 1:
        lines = _of_several(list(reversed(entries)), asked)
    else:
        lines = [_entry(entry) for entry in reversed(entries)]
        lines += _readings(failovers[0])
    # Reversed after sorting: of what one reading showed, the later stands above, too.
    return sorted(lines, key=lambda line: line.at)[::-1]


def _of_several(entries: list[Entry], asked: Request) -> list[Line]:
    """The newest. Each says whose it is, `/3`; what was decided on all at once is told once."""
    lines: list[Line] = []
    decided: set[tuple[str, str]] = set()
    for entry in entries:
        line = _entry(entry)
        if entry.tag in ("request.approved", "request.rejected"):
            if (entry.tag, line.words) not in decided:
                lines.append(line)
            decided.add((entry.tag, line.words))
        else:
            whose = entry.object.removeprefix(asked.number)
            lines.append(replace(line, words=f"{whose} {line.words}" if whose else line.words))
    return lines[-MOST_OF_SEVERAL:]


def _entry(entry: Entry) -> Line:
    record = json.loads(entry.payload)
    words, who = record["words"], record["actor"]
    if who["kind"] != "system":
        words = f"{who['label']}: {words}"
    return Line(entry.at, words, _detail(record), KINDS.get(entry.tag, ""))


def _detail(record: dict[str, object]) -> str:
    detail = record["detail"]
    if not isinstance(detail, dict):
        return ""
    if record["tag"] == "failover.sent":
        checks = detail.get("checks") or []
        warnings = sum(check["verdict"] == "warn" for check in checks)
        passed = sum(check["verdict"] == "pass" for check in checks)
        return f"Checked again: {warnings} warnings, {passed} passed"
    if "ms" in detail and detail.get("http_status"):
        ms = int(detail["ms"])
        took = f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms} ms"
        return f"Answer {detail['http_status']} after {took}"
    comment = detail.get("comment")
    return f"“{comment}”" if comment else ""


def _readings(failover: Failover) -> list[Line]:
    """Only what differs from the reading before it."""
    target = failover.relationship.cluster.name
    seen = Observation.objects.filter(relationship=failover.relationship_id, held_by=failover.number)
    lines: list[Line] = []
    state, silent, quarter, failures = "", False, 0, 0
    for row in seen.order_by("at", "pk").only("at", "state", "percent", "words").iterator():
        if not row.state:
            failures += 1
            if not silent:
                lines.append(Line(row.at, f"{target} gave no usable answer", row.words.partition(": ")[2], "unknown"))
            silent = True
            continue
        if silent:
            lines.append(Line(row.at, f"{target} answers again", f"After {failures} failed readings"))
            silent, failures = False, 0
        if row.state != state:
            lines.append(Line(row.at, f"State is {state_words(row.state)}"))
            state = row.state
        reached = max((q for q in QUARTERS if row.percent is not None and row.percent >= q), default=0)
        if row.state == "DISCONNECTING" and reached > quarter:
            quarter = reached
            lines.append(Line(row.at, f"{quarter} % reverted"))
    return lines
