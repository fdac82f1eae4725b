"""What the ledger proves of one request, from its first entry to its last: who asked and decided, what each saw, when
what was sent and answered, how it ended. Read from the ledger alone, so that a report says nothing that the entries
packed with it do not show; only the objectives, which are no part of the record, come from the settings of now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Q

from dashboard.audit.models import Entry
from dashboard.audit.tags import words_of
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Request
from dashboard.failovers.plan import Item

DECISIONS = ("decision.made", "request.approved", "request.rejected")
ENDS = (
    *("request.rejected", "request.cancelled", "request.expired"),
    *("failover.succeeded", "failover.refused", "failover.stopped", "failover.closed"),
)
ANSWERS = ("failover.reverting", "failover.answered", "failover.refused", "failover.doubt")
# What did not go as planned, whatever came of it afterwards.
DEVIATIONS = (
    *("failover.notsent", "failover.doubt", "failover.outside", "failover.concern", "failover.refused"),
    *("failover.stopped", "failover.closed", "review.overdue", "request.expired"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the ledger."""

    seq: int
    at: datetime
    tag: str
    about: str
    who: str
    account: str
    ip: str
    person: int | None
    words: str
    detail: Mapping[str, Any]
    hash: str

    @classmethod
    def of(cls, entry: Entry) -> Line:
        record = entry.record
        actor = record["actor"]
        return cls(
            seq=entry.seq,
            at=datetime.fromisoformat(record["at"]),
            tag=record["tag"],
            about=record["object"],
            who=actor["label"],
            account=actor["account"],
            ip=actor["ip"],
            person=actor["person"],
            words=record["words"] or words_of(record["tag"]),
            detail=record["detail"],
            hash=bytes(entry.hash).hex(),
        )


@dataclass(frozen=True)
class Course:
    """One item of a request, with the entries about it. `asked` is T0."""

    number: str
    item: Item
    asked: datetime
    objective: timedelta | None
    lines: Sequence[Line]

    def _last(self, *tags: str, after: int = 0) -> Line | None:
        return next((line for line in reversed(self.lines) if line.tag in tags and line.seq > after), None)

    @cached_property
    def approved(self) -> Line | None:
        """T1."""
        return self._last("request.approved")

    @cached_property
    def sent(self) -> Line | None:
        """T2: the intent that led to what came after; one that was taken back does not count."""
        sent = self._last("failover.sent")
        return None if sent is None or self._last("failover.notsent", after=sent.seq) else sent

    @cached_property
    def answered(self) -> Line | None:
        """T3: what came of the POST, or that nothing clear did."""
        if self.sent is None:
            return None
        after = [line for line in self.lines if line.seq > self.sent.seq and line.tag in ANSWERS]
        return next((line for line in after if "ms" in line.detail), None)

    @cached_property
    def end(self) -> Line | None:
        return self._last(*ENDS)

    @cached_property
    def writable_at(self) -> datetime | None:
        """T4: the first of the two readings that agree."""
        if self.end is None or self.end.tag != "failover.succeeded":
            return None
        first = self._last("failover.disconnected")
        return datetime.fromisoformat(first.detail["read_at"]) if first else None

    @property
    def recovery_time(self) -> timedelta | None:
        """T4 − T0."""
        return self.writable_at - self.asked if self.writable_at else None

    @property
    def recovery_time_from_approval(self) -> timedelta | None:
        """T4 − T1."""
        return self.writable_at - self.approved.at if self.writable_at and self.approved else None

    @property
    def recovery_point(self) -> datetime | None:
        """The one that was acted on: of the re-check before sending, else the one that was asked with."""
        raw = (self.sent.detail.get("recovery_point") if self.sent else "") or self.item.recovery_point
        return datetime.fromisoformat(raw) if raw else None

    @property
    def lost(self) -> timedelta | None:
        """T2 − recovery point: the most that was thrown away. None when nothing was sent or it is not known."""
        if self.sent is None or self.recovery_point is None:
            return None
        if self.sent.detail.get("nothing_lost"):
            return timedelta(0)
        return max(self.sent.at - self.recovery_point, timedelta(0))

    @property
    def met(self) -> bool | None:
        """Whether the recovery point was within its objective."""
        return None if self.lost is None or self.objective is None else self.lost <= self.objective


@dataclass(frozen=True)
class Evidence:
    """All entries about one request, in order, and what they say."""

    number: str
    lines: Sequence[Line]
    holds: Sequence[Line]
    courses: Sequence[Course]
    deciders_since: Mapping[int, Line] = field(default_factory=dict)  # decision's seq → since when they had the role

    @property
    def asked(self) -> Line:
        return self.lines[0]

    @cached_property
    def plan(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.asked.detail["plan"])
        return found

    @property
    def digest(self) -> str:
        return str(self.asked.detail["digest"])

    @property
    def digest_matches(self) -> bool:
        return hashlib.sha256(self.asked.detail["plan"].encode()).hexdigest() == self.digest

    @property
    def decisions(self) -> list[Line]:
        """Votes. The approval of many items is one vote, told once for each; what was seen stands with the first."""
        return [line for line in self.lines if line.tag in DECISIONS and "seen" in line.detail]

    @property
    def reviews(self) -> list[Line]:
        return [line for line in self.lines if line.tag == "review.made"]

    @property
    def deviations(self) -> list[Line]:
        odd = [line for line in self.lines if line.tag in DEVIATIONS or line.tag.endswith(".refused")]
        return sorted({line.seq: line for line in [*odd, *self.holds]}.values(), key=lambda line: line.seq)

    @property
    def last(self) -> Line:
        return self.lines[-1]

    @property
    def sequences(self) -> frozenset[int]:
        """Numbers of the entries that are evidence; those between them belong to others."""
        return frozenset(line.seq for line in (*self.lines, *self.holds))

    @property
    def ended(self) -> bool:
        return all(course.end for course in self.courses)


def collect(asked: Request) -> Evidence:
    """Raises Refused when an entry about the request cannot be read: a damaged ledger is no evidence."""
    failovers = list(asked.failovers.select_related("relationship__cluster").order_by("position"))
    for failover in failovers:
        failover.request = asked  # one request, whose plan is then read once
    names = [asked.number, *(failover.number for failover in failovers)]
    # That somebody packed it is told by the ledger, and is no part of it: packing twice gives the same.
    about = Entry.objects.filter(object__in=names).exclude(tag="evidence.exported").order_by("seq")
    lines = _read(about)
    if not lines or lines[0].tag != "request.made":
        raise Refused(f"The audit trail lacks the first entry of {asked.number}. Run manage.py verifyaudit.")
    scopes = {"hold:all", *(f"hold:{failover.relationship.cluster.name}" for failover in failovers)}
    within = Q(seq__gt=lines[0].seq, seq__lt=lines[-1].seq)
    holds = _read(Entry.objects.filter(within, object__in=scopes, tag__in=("hold.set", "hold.lifted")).order_by("seq"))
    courses = [
        Course(
            number=failover.number,
            item=failover.item,
            asked=lines[0].at,
            objective=failover.relationship.objective_time,
            # An entry about the request as a whole, such as a vote that left it short, is no step of an item.
            lines=[line for line in lines if line.about == failover.number],
        )
        for failover in failovers
    ]
    found = Evidence(asked.number, lines, holds, courses)
    since = {line.seq: _approver_since(line) for line in found.decisions}
    return Evidence(asked.number, lines, holds, courses, {seq: line for seq, line in since.items() if line})


def _read(entries: Any) -> list[Line]:
    lines = []
    for entry in entries:
        try:
            lines.append(Line.of(entry))
        except (KeyError, TypeError, ValueError):
            raise Refused(f"Entry {entry.seq} of the audit trail is damaged. Run manage.py verifyaudit.") from None
    return lines


def _approver_since(vote: Line) -> Line | None:
    """The entry that gave the account of a vote the role that it voted with."""
    about = Entry.objects.filter(object=f"person:{vote.account}", seq__lt=vote.seq, tag__startswith="person.")
    found: Line | None = None
    for line in _read(about.order_by("-seq")):
        roles = line.detail.get("roles")
        if roles is None:
            continue
        if not any(str(role).partition("@")[0] == "approver" for role in roles):
            break
        found = line
    return found
