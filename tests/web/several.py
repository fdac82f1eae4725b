"""A site with many relationships, and a browser that asks for several of them."""

from __future__ import annotations

import uuid
from typing import Any

from django.test import Client

from dashboard.accounts.models import User
from dashboard.fleet.models import Relationship
from tests.conftest import PASSWORD
from tests.failovers.desk import REASON, Desk
from tests.web.fleet import Element, Page, browser

ASK = "/fail-over/"


def site(desk: Desk, *names: str) -> list[Relationship]:
    """The desk's own relationship, and one more for each name, all of the same source."""
    for name in names:
        desk.world.relate(desk.world.clusters["prod"], f"/prod/{name}/", desk.target, f"/dr/{name}/")
    desk.read()
    return list(Relationship.objects.select_related("cluster").order_by("pk"))


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def form(rows: list[Relationship], **changes: str) -> dict[str, str]:
    """As the page sends it when every box is on."""
    lines = {f"order-{row.pk}": str(place) for place, row in enumerate(rows, start=1)}
    lines |= {f"take-{row.pk}": "yes" for row in rows}
    said = {"typed": f"dr {len(rows)}", "reason": REASON, "ticket": "", "mode": "unplanned", "act": "request"}
    return lines | said | {"nonce": str(uuid.uuid4())} | changes


def without(sent: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in sent.items() if name not in names}


def decide(client: Client, number: str, **more: str) -> Any:
    root = page_of(client.get(f"/failovers/{number}/"))
    hidden = next(each for each in root.all("form") if each.attrs["action"].endswith("/decide/")).all("input")
    sent = {each.attrs["name"]: each.attrs["value"] for each in hidden if each.attrs.get("type") == "hidden"}
    sent |= {"decision": "approve", "comment": "Go.", "confirm_password": PASSWORD}
    return client.post(f"/failovers/{number}/decide/", without(sent, "csrfmiddlewaretoken") | more)


def asked(user: User, rows: list[Relationship]) -> str:
    """The number of a request for all of them."""
    answer = browser(user).post(ASK, form(rows))
    assert answer.status_code == 303, page_of(answer).text
    return str(answer["Location"]).split("/")[2]
