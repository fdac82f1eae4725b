"""What part of the fleet a list shows: read from the URL, written to the URL, and turned into a query.

Anything may stand in a URL. A value that no link of ours has made selects nothing or is left out; it never breaks a
page. Paging is by position, not by number: `after` names the last row of the page before and the place that it had
there, so that rows which change their place while somebody reads neither repeat the page nor tear a hole into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import DateTimeField, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import QueryDict

from dashboard.accounts.models import User
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Relationship
from dashboard.words import visible

PAGE = 100
_LONGEST = 255
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_CHOICES = {
    "health": {grade.value for grade in Grade},
    "approval": {"pending"},
    "failover": {"running"},
    "access": {"writable"},
    "sort": {"state", "target", "rpo"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Each field is "" when it does not narrow the list; `sort` "" is worst first."""

    q: str = ""
    state: str = ""
    cluster: str = ""
    source: str = ""
    health: str = ""
    approval: str = ""
    failover: str = ""
    access: str = ""
    sort: str = ""
    after: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        values: dict[str, str] = {}
        for name in cls.__slots__:
            value = query.get(name, "").replace("\0", "")[:_LONGEST]
            values[name] = value if name not in _CHOICES or value in _CHOICES[name] else ""
        return cls(**values)

    @property
    def query(self) -> str:
        """The canonical query: `?health=critical&q=fin`, or "" for the whole list."""
        values = {name: getattr(self, name) for name in self.__slots__}
        text = urlencode({name: value for name, value in values.items() if value})
        return f"?{text}" if text else ""

    def but(self, **changes: str) -> Self:
        """Another filter from the first page on."""
        return replace(self, **{"after": "", **changes})

    @property
    def narrows(self) -> bool:
        return self.but(sort="") != type(self)()

    def condition(self) -> Q:
        """What a row must be. To be used on rows that are listed, with their cluster joined."""
        found = Q()
        for word in visible(self.q).lower().split():
            found &= Q(search__contains=word)
        columns = {"state": self.state, "cluster__name": self.cluster, "grade": self.health}
        if "\\" in self.source:  # a name that had to be made visible: the column holds it as it came
            found &= Q(search__contains=self.source.lower())
        else:
            columns["source_cluster_name"] = self.source
        found &= Q(**{column: value for column, value in columns.items() if value})
        if self.approval:
            found &= WAITING
        if self.failover:
            found &= RUNNING
        if self.access:
            found &= WRITABLE
        return found

    def page(self, user: User) -> tuple[list[Relationship], str]:
        """The rows of this page, and the `after` of the next one ("" when this is the last)."""
        seen = Relationship.objects.visible_to(user).select_related("cluster")
        rows = seen.listed().filter(self.condition())
        placed = rows.annotate(place=self._place()).order_by("place", "cluster__name", "target_root_path", "pk")
        found = list(self._beyond(placed, seen)[: PAGE + 1])
        if len(found) <= PAGE:
            return found, ""
        last = found[PAGE - 1]
        return found[:PAGE], f"{last.pk}.{self._text(last)}"

    def _place(self) -> Any:
        match self.sort:
            case "state":
                return F("state")
            case "target":
                return Value("")
            case "rpo":
                return Coalesce(F("recovery_point_at"), Value(_NEVER, output_field=DateTimeField()))
            case _:
                return F("grade_rank")

    def _text(self, row: Relationship) -> str:
        """The row's place as `after` has it."""
        match self.sort:
            case "state":
                return row.state
            case "target":
                return ""
            case "rpo":
                return (row.recovery_point_at or _NEVER).isoformat()
            case _:
                return str(row.grade_rank)

    def _value(self, text: str) -> Any:
        match self.sort:
            case "state" | "target":
                return text
            case "rpo":
                value = datetime.fromisoformat(text)
                return value if value.tzinfo else value.replace(tzinfo=UTC)
            case _:
                return int(text[:4])

    def _beyond(self, rows: QuerySet[Relationship], seen: QuerySet[Relationship]) -> QuerySet[Relationship]:
        """The rows after the one of `seen` that `after` names; all of them when it names none."""
        pk, _, text = self.after.partition(".")
        if not pk.isdecimal():
            return rows
        anchor = seen.filter(pk=int(pk[:18])).first()
        try:
            place = self._value(text)
        except ValueError:
            return rows
        if anchor is None:
            return rows
        same = Q(place=place)
        cluster, path = anchor.cluster.name, anchor.target_root_path
        return rows.filter(
            Q(place__gt=place)
            | (same & Q(cluster__name__gt=cluster))
            | (same & Q(cluster__name=cluster, target_root_path__gt=path))
            | (same & Q(cluster__name=cluster, target_root_path=path, pk__gt=anchor.pk))
        )


WAITING = Q(held_phase="waiting")
RUNNING = Q(held_phase="running")
WRITABLE = Q(target_root_read_only=False, gone_at=None)
