"""The page of a failover, cut into parts: each stands in an element of its own and is known by a digest.

A poll says which parts the browser has, and its answer brings those that changed, out of band. So what a person types,
ticks or opens in the others is never touched, an alert is read out once and not at every poll, and the log grows by its
new lines. Only when the failover comes to another stage, with other forms, does the whole page change.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode

from dashboard.failovers.lifecycle import State
from dashboard.failovers.story import Line
from dashboard.web.course import Course
from dashboard.web.guards import signed_in
from dashboard.web.live import pulse
from dashboard.web.steps import steps

_FILES = {
    "hero": "failovers/_hero.html",
    "steps": "parts/_steps.html",
    "body": "failovers/_body.html",
    "count": "failovers/_count.html",
    "changes": "failovers/_changes.html",
    "buttons": "failovers/_buttons.html",
    "bar": "failovers/_bar.html",
    "closing": "failovers/_closing.html",
}
_TICKING = re.compile(r">[^<]*</time>")
_TOKEN = re.compile(r'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')  # masked anew each time


def shape(course: Course) -> str:
    """What decides which parts and forms the page has."""
    return f"{course.state}{'-decide' * course.may_decide}{'-close' * course.may_close}"


def context(request: HttpRequest, course: Course, seen: str) -> dict[str, Any]:
    """Everything that `_page.html` and `_live.html` write down; `parts` are rendered already."""
    row, number = course.failover.relationship, course.failover.number
    asking = reverse("fail-over", args=(row.cluster.name, row.relationship_id))
    found: dict[str, Any] = {
        "course": course,
        "number": number,
        "relationship_url": reverse("relationship", args=(row.cluster.name, row.relationship_id)),
        "again_url": f"{asking}?{urlencode({'again': number})}",
        "steps": [] if course.state is State.REQUESTED else steps(course),
        "seen": seen,
    }
    parts = {name: render_to_string(_FILES[name], found, request) for name in _names(course)}
    have = [f"{name}:{digest_of(part)}" for name, part in parts.items()]
    have.append(f"log:{len(course.log)}.{_digest_of_log(course.log)}")
    query = urlencode({"shape": shape(course), "have": ",".join(have)})
    live = reverse("failover-live", args=(number,))
    return found | {"parts": parts, "live_url": f"{live}?{query}"}


def whole(request: HttpRequest, course: Course, seen: str) -> str:
    """The page of another stage; what waits is counted anew, too."""
    found = context(request, course, seen)
    return render_to_string("failovers/_page.html", found, request) + _nav(request)


def changes(request: HttpRequest, course: Course, seen: str) -> str:
    """The parts that differ from those that the browser has, and the lines that the log has gained."""
    has = dict(pair.split(":", 1) for pair in request.GET.get("have", "").split(",") if ":" in pair)
    found = context(request, course, seen)
    changed = [(name, part) for name, part in found["parts"].items() if has.get(name) != digest_of(part)]
    count, _dot, known = has.get("log", "").partition(".")
    old = int(count) if count.isdecimal() and len(count) < 6 else 0
    grown = 0 < old <= len(course.log) and _digest_of_log(course.log[-old:]) == known
    lines = course.log[:-old] if grown else course.log
    found |= {"changed": changed, "lines": lines, "all_lines": not grown}
    return render_to_string("failovers/_live.html", found, request) + _nav(request)


def digest(text: str) -> str:
    """Short, and fit for a URL."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _nav(request: HttpRequest) -> str:
    return render_to_string("parts/_nav_approvals.html", {"waiting": pulse(signed_in(request)).waiting, "oob": True})


def _names(course: Course) -> list[str]:
    if course.state is State.REQUESTED:
        return ["hero", "body", "count", *(["changes", "buttons", "bar"] if course.may_decide else [])]
    return ["hero", "steps", "body", *(["closing"] if course.may_close else [])]


def digest_of(part: str) -> str:
    """Of what a part says: a time that ticks on in the browser is not news, and a token is none either."""
    return digest(_TOKEN.sub("", _TICKING.sub("></time>", part)))


def _digest_of_log(lines: list[Line]) -> str:
    return digest(repr(lines))
