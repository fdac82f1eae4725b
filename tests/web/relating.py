"""The page of one relationship, for tests that read it."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

from dashboard.fleet.models import Relationship
from tests.fleet.lookout import Lookout
from tests.web.fleet import Element, browser, parsed


def address(row: Relationship) -> str:
    return f"/relationships/{row.cluster.name}/{row.relationship_id}/"


def page_of(pair: Lookout, user: Any, query: str = "") -> Element:
    return parsed(browser(user).get(address(pair.row) + query))


def panel(page: Element, title: str) -> Element:
    return next(each for each in page.all("section", "panel") if [h.text for h in each.all("h2")] == [title])


def polled_page(client: Client, page: Element, *, fresh: bool = True) -> Any:
    """The next poll; `fresh` False: as if the page had been drawn long ago."""
    url = page.one("div", id="relationship").attrs["hx-get"]
    return client.get(url if fresh else re.sub(r"-\d+$", "-0", url), headers={"HX-Request": "true"})
