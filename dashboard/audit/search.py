"""Finding entries in a ledger of any size: by what they are about, or by any text in them.

No index finds a text inside other texts on both engines, so a search reads backwards (or forwards) from where it
stands, in pieces that grow, until a page is full or it has been patient enough. Then it stops and says how far it has
looked; the next page goes on from there. A ledger of a million entries takes as long as one of ten thousand.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from dashboard.audit.models import Entry
from dashboard.audit.tags import REFUSALS, tags_of_kind

PAGE = 100
PATIENCE = 0.1  # seconds after which no further piece is begun
_PIECE = 5_000
_ITEMS = 200  # a request for so many relationships at most has items FO-1042/1 and on
# Entries are in order of their number; the clock may have been set back between two of them, but not by more than that.
_SLACK = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Each field is empty when it does not narrow the search. `since` is included, `until` is not."""

    q: str = ""
    who: str = ""
    kind: str = ""
    object: str = ""
    since: datetime | None = None
    until: datetime | None = None
    refused: bool = False

    @property
    def narrows(self) -> bool:
        return self != Search()

    @property
    def words(self) -> str:
        """For the record of an export: what was looked for."""
        said = {"text": self.q, "who": self.who, "kind": self.kind, "object": self.object}
        said |= {"since": self.since.isoformat() if self.since else "", "until": _iso(self.until)}
        said |= {"refused": "only" if self.refused else ""}
        return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in said.items() if value)

    def rows(self) -> QuerySet[Entry]:
        """The entries that match, in no order yet."""
        found = Q()
        if self.q:
            # The payload holds tag, people, object, words and detail. It is JSON, so what is sought is escaped alike.
            found &= Q(payload__icontains=json.dumps(self.q, ensure_ascii=False)[1:-1])
        if self.who:
            found &= Q(actor=self.who)
        if self.kind:
            found &= Q(tag__in=tags_of_kind(self.kind))
        if self.object:
            found &= Q(object__in=[self.object, *(f"{self.object}/{item}" for item in range(1, _ITEMS + 1))])
        if self.since:
            found &= Q(at__gte=self.since)
        if self.until:
            found &= Q(at__lt=self.until)
        if self.refused:
            found &= Q(tag__in=sorted(REFUSALS))
        return Entry.objects.filter(found)

    def bounds(self, head: int) -> tuple[int, int]:
        """First and last number that can match, found by the index of times."""
        by_time, first, last = Entry.objects.values_list("seq", flat=True), 1, head
        if self.since:
            first = (by_time.filter(at__lt=self.since - _SLACK).order_by("-at").first() or 0) + 1
        if self.until:
            last = (by_time.filter(at__gte=self.until + _SLACK).order_by("at").first() or head + 1) - 1
        return first, min(last, head)


def _iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page, newest first. `older` and `newer` are the numbers to go on from, None where there is nothing more;
    `looked` are the first and last number that were looked at, and `whole` says that this was every one there is on
    that side; `full` that the page holds no more.
    """

    entries: list[Entry]
    older: int | None
    newer: int | None
    looked: tuple[int, int]
    whole: bool
    full: bool = False


def page(
    search: Search,
    *,
    head: int,
    before: int | None = None,
    after: int | None = None,
    size: int = PAGE,
    patience: float = PATIENCE,
    piece: int = _PIECE,
) -> Found:
    """The newest `size` entries that match; with `before` the next older ones, with `after` the next newer ones."""
    first, last = search.bounds(head)
    rows, forwards = search.rows(), after is not None
    low, high = (max(first, after + 1), last) if after is not None else (first, min(last, (before or head + 1) - 1))
    found: list[Entry] = []
    begun, at = time.monotonic(), low if forwards else high
    while low <= at <= high and len(found) <= size:
        end = min(high, at + piece - 1) if forwards else max(low, at - piece + 1)
        some = rows.filter(seq__gte=min(at, end), seq__lte=max(at, end)).order_by("seq" if forwards else "-seq")
        found += some[: size + 1 - len(found)]
        at, piece = (end + 1 if forwards else end - 1), piece * 2
        if time.monotonic() - begun >= patience:
            break
    full, whole = len(found) > size, not low <= at <= high
    found = found[:size]
    if full:  # what was looked at ends with the last one shown
        at = found[-1].seq + (1 if forwards else -1)
    more = full or not whole
    if forwards:
        oldest = found[0].seq if found else at
        return Found(
            entries=found[::-1],
            older=oldest if oldest > first else None,
            newer=at - 1 if more else None,
            looked=(low, min(at - 1, high)),
            whole=not more,
            full=full,
        )
    return Found(
        entries=found,
        older=at + 1 if more else None,
        newer=(before - 1 if before is not None and before <= last else None),
        looked=(max(at + 1, low), high),
        whole=not more,
        full=full,
    )
