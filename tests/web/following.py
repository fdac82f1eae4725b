"""The one page of a failover, for tests that read it and its polls."""

from __future__ import annotations

import re
from typing import Any

from dashboard.failovers.models import Failover
from tests.web.fleet import Element, Page, browser


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def show(failover: Failover, user: Any) -> Element:
    answer = browser(user).get(f"/failovers/{failover.number}/")
    assert answer.status_code == 200
    return page_of(answer)


def said(element: Element) -> str:
    """What is written there, with a blank between any two elements and none before a full stop."""
    return re.sub(r" (?=[.,:;”%])", "", " ".join(" ".join(element.pieces).split()))


def steps(root: Element) -> list[tuple[str, str]]:
    return [(li.classes[0], li.one("b").text.partition(": ")[2]) for li in root.one("ol", "steps").all("li")]
