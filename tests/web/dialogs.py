"""The dialog, for tests that read it and send its form."""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import reverse

from tests.failovers.desk import REASON, Desk
from tests.web.fleet import Element, Page, browser

HTMX = {"HX-Request": "true"}


GOOD = {"typed": "/dr/finance", "reason": REASON, "ticket": "INC-20719"}


def address(desk: Desk) -> str:
    return reverse("fail-over", args=("dr", desk.row.relationship_id))


def form(**changes: str) -> dict[str, str]:
    return GOOD | {"nonce": str(uuid.uuid4())} | changes


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def dialog(desk: Desk, user: Any = None, **query: str) -> Element:
    return page_of(browser(user or desk.cast.rivera).get(address(desk), query, headers=HTMX))
