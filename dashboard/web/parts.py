"""The page of a failover, or of a request with several, cut into parts: each stands in an element of its own and is
known by a digest.

A poll says which parts the browser has, and its answer brings those that changed, out of band. So what a person types,
ticks or opens in the others is never touched, an alert is read out once and not at every poll, and the log grows by its
new lines. Only when the page comes to another stage, with other forms, does the whole of it change.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode

from dashboard.failovers import story
from dashboard.failovers.lifecycle import State
from dashboard.notifications.told import tells_anybody, told
from dashboard.web.course import Course
from dashboard.web.live import pulse
from dashboard.web.standing import STANDINGS, standing, standing_words
from dashboard.web.steps import steps
from dashboard.web.whole import Whole

_FILES = {
    "hero": "failovers/_hero.html",
    "steps": "parts/_steps.html",
    "body": "failovers/_body.html",
    "standing": "failovers/_standing.html",
    "items": "failovers/_items.html",
    "cancel": "failovers/_cancel.html",
    "count": "failovers/_count.html",
    "told": "failovers/_told.html",
    "changes": "failovers/_changes.html",
    "buttons": "failovers/_buttons.html",
    "bar": "failovers/_bar.html",
    "closing": "failovers/_closing.html",
    "reviews": "failovers/_reviews.html",
}
_TICKING = re.compile(r">[^<]*</time>")
_TOKEN = re.compile(r'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')  # masked anew each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One link above the failovers of a request: how many stand like this."""

    key: str
    words: str
    href: str
    current: bool


@dataclass(frozen=True)
class Sheet:
    """One page: of `whole`, or of `course`, one of several. `only` shows those that stand like this, of STANDINGS."""

    whole: Whole
    course: Course | None = None
    only: str = ""

    @property
    def address(self) -> str:
        if self.course is not None and self.whole.many:
            return reverse("failover-item", args=(self.whole.number, self.course.place))
        return reverse("failover", args=(self.whole.number,))

    @property
    def query(self) -> dict[str, str]:
        return {"only": self.only} if self.only else {}

    @property
    def number(self) -> str:
        return self.whole.number if self.course is None else self.course.failover.number

    @property
    def decides(self) -> bool:
        """Whether the decision stands on it. A failover among several has none of its own."""
        return self.whole.waiting and (self.course is None or not self.whole.many)

    @property
    def cadence(self) -> int | None:
        return None if self.course is not None and self.course.ended else self.whole.cadence

    @property
    def shape(self) -> str:
        """What decides which parts and forms the page has."""
        whole, course = self.whole, self.course
        stage = course.state if course else "waiting" if whole.waiting else "ended" if whole.ended else "started"
        marks = {
            "decide": self.decides and whole.may_decide,
            "approve": self.decides and whole.may_approve,
            "close": course is not None and course.may_close,
            "review": whole.may_review and not whole.waiting,
        }
        return "-".join((stage, *(name for name, there in marks.items() if there)))

    @property
    def parts(self) -> list[str]:
        names = ["hero"]
        if self.course is None:
            names += ["standing", "items", "cancel"]
        elif not self.whole.waiting:
            names += ["steps", "body"]
        else:
            names += ["body"]
        if self.decides:
            names += ["count", "told", *(["changes", "buttons", "bar"] if self.whole.may_decide else [])]
        if self.course is not None and self.course.may_close:
            names.append("closing")
        if self.whole.asked.break_glass and (self.course is None or not self.whole.many):
            names.append("reviews")
        return names

    @cached_property
    def log(self) -> list[story.Line]:
        return story.log(self.whole.asked, self.course.failover if self.course else None)

    @property
    def counters(self) -> list[Counter]:
        counts = self.whole.standings
        found = [(name, standing_words(name, counts[name])) for name in STANDINGS if counts[name]]
        return [
            Counter(key=name, words=words, href=f"?only={name}" if name else "?", current=name == self.only)
            for name, words in [("", str(len(self.whole.courses))), *found]
        ]

    @cached_property
    def shown(self) -> list[tuple[Course, str]]:
        """The failovers in the order in which they start, each with how it stands."""
        found = [(course, standing(course.failover, self.whole.now)) for course in self.whole.courses]
        return [(course, name) for course, name in found if not self.only or name == self.only]


def context(request: HttpRequest, sheet: Sheet, seen: str) -> dict[str, Any]:
    """Everything that `_page.html` and `_live.html` write down; `parts` are rendered already."""
    course, whole = sheet.course, sheet.whole
    row = (course or whole.one).failover.relationship
    found: dict[str, Any] = {
        "sheet": sheet,
        "whole": whole,
        "course": course,
        "asked": whole.asked,
        "number": sheet.number,
        "relationship_url": reverse("relationship", args=(row.cluster.name, row.relationship_id)),
        "again_url": _again(sheet),
        "steps": steps(course) if course is not None and course.state != State.REQUESTED else [],
        "seen": seen,
    }
    if sheet.decides:
        found |= {"told": told(whole.number), "tells_anybody": tells_anybody(), "call": whole.approvers}
    parts = {name: render_to_string(_FILES[name], found, request) for name in sheet.parts}
    have = [f"{name}:{digest_of(part)}" for name, part in parts.items()]
    have.append(f"log:{len(sheet.log)}.{_digest_of_log(sheet.log)}")
    query = urlencode({"shape": sheet.shape, "have": ",".join(have)} | sheet.query)
    return found | {"parts": parts, "live_url": f"{sheet.address}live/?{query}"}


def whole(request: HttpRequest, sheet: Sheet, seen: str) -> str:
    """The page of another stage; what waits is counted anew, too."""
    found = context(request, sheet, seen)
    return render_to_string("failovers/_page.html", found, request) + _nav(sheet)


def changes(request: HttpRequest, sheet: Sheet, seen: str) -> str:
    """The parts that differ from those that the browser has, and the lines that the log has gained."""
    has = dict(pair.split(":", 1) for pair in request.GET.get("have", "").split(",") if ":" in pair)
    found, log = context(request, sheet, seen), sheet.log
    changed = [(name, part) for name, part in found["parts"].items() if has.get(name) != digest_of(part)]
    count, _dot, known = has.get("log", "").partition(".")
    old = int(count) if count.isdecimal() and len(count) < 6 else 0
    grown = 0 < old <= len(log) and _digest_of_log(log[-old:]) == known
    lines = log[:-old] if grown else log
    found |= {"changed": changed, "lines": lines, "all_lines": not grown}
    return render_to_string("failovers/_live.html", found, request) + _nav(sheet)


def _again(sheet: Sheet) -> str:
    """Where the same is asked again; of several, only what was not made writable."""
    whole = sheet.whole
    if sheet.course is None:
        query = urlencode([*(("r", str(pk)) for pk in whole.again), ("again", whole.number)])
        return f"{reverse('fail-over-several')}?{query}"
    row = sheet.course.failover.relationship
    query = urlencode({"again": whole.number})
    return f"{reverse('fail-over', args=(row.cluster.name, row.relationship_id))}?{query}"


def digest(text: str) -> str:
    """Short, and fit for a URL."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _nav(sheet: Sheet) -> str:
    return render_to_string("parts/_nav_approvals.html", {"waiting": pulse(sheet.whole.user).waiting, "oob": True})


def digest_of(part: str) -> str:
    """Of what a part says: a time that ticks on in the browser is not news, and a token is none either."""
    return digest(_TOKEN.sub("", _TICKING.sub("></time>", part)))


def _digest_of_log(lines: list[story.Line]) -> str:
    return digest(repr(lines))
