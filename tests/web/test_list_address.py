"""The list of all relationships: what its address selects, and its pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from dashboard.database import database_now
from dashboard.fleet import hold
from dashboard.fleet.models import Relationship
from tests.conftest import Cast
from tests.fleet.lookout import Lookout
from tests.web.fleet import Fleet, browser, parsed, polled
from tests.web.listing import many, rows_of, targets

pytestmark = pytest.mark.django_db


# ── What its URL selects ─────────────────────────────────────────────────────


def test_each_counter_counts_the_fleet_and_leads_to_as_many_rows(fleet: Fleet, cast: Cast) -> None:
    hold.hold_rows({fleet.row("finance").pk: "FO-1001"}, phase="waiting", note="0/1")
    hold.hold_rows({fleet.row("projects").pk: "FO-1002"}, phase="running", note="1/1")
    client = browser(cast.viewer)
    assert targets(parsed(client.get("/?approval=pending"))) == ["/dr/dc1/finance"]
    assert targets(parsed(client.get("/?failover=running"))) == ["/dr/dc3/projects"]
    counters = parsed(client.get("/")).one("nav", id="counters").all("a")
    assert [link.one("span").text for link in counters] == [
        "All", "Critical", "Warning", "Active", "Unknown", "Normal", "Inactive",
        "Awaiting approval", "Failover running", "Writable targets",
    ]  # fmt: skip
    for link in counters:
        page = parsed(client.get(link.attrs["href"]))
        assert len(rows_of(page)) == int(link.one("b").text), link.text
        (current,) = page.one("nav", id="counters").all("a", aria_current="true")
        assert current.attrs["id"] == link.attrs["id"]
        assert ("zero" in link.classes) is (link.one("b").text == "0")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=dc1/finance", {"/dr/dc1/finance"}),
        ("q=FINANCE", {"/dr/dc1/finance"}),
        ("q=edge-hub cctv", {"/hub/cctv-11", "/hub/cctv-12"}),
        ("q=quota+limit", {"/hub/cctv-11"}),
        ("q=100%25", set()),
        ("q=_", set()),
        ("state=RECONNECTING", {"/dr/pacs"}),
        ("cluster=edge-hub", {"/hub/cctv-11", "/hub/cctv-12", "/hub/pos-14"}),
        ("source=lab-north", {"/vault/sequencer", "/vault/old-2019"}),
        ("source=lab-north&health=inactive", {"/vault/old-2019"}),
        ("cluster=edge-hub&q=pos", {"/hub/pos-14"}),
        ("cluster=nowhere", set()),
        ("access=writable", {"/dr/dc3/render", "/vault/sequencer", "/vault/old-2019"}),
    ],
)
def test_the_url_narrows_the_list(fleet: Fleet, cast: Cast, query: str, found: set[str]) -> None:
    assert set(targets(parsed(browser(cast.viewer).get(f"/?{query}")))) == found


def test_a_relationship_is_found_by_its_id(fleet: Fleet, cast: Cast) -> None:
    row = fleet.row("/vault/legal")
    page = parsed(browser(cast.viewer).get(f"/?q={row.relationship_id[:13].upper()}"))
    assert targets(page) == ["/vault/legal"]


@pytest.mark.parametrize("sort", ["state", "target", "rpo"])
def test_the_list_can_be_sorted_and_says_so(fleet: Fleet, cast: Cast, sort: str) -> None:
    page = parsed(browser(cast.viewer).get(f"/?sort={sort}"))
    rows = list(Relationship.objects.select_related("cluster"))
    never = database_now() + timedelta(days=9)
    key: dict[str, Callable[[Relationship], Any]] = {
        "state": lambda row: row.state,
        "target": lambda row: "",
        "rpo": lambda row: row.recovery_point_at or never,
    }
    rows.sort(key=lambda row: (key[sort](row), row.cluster.name, row.target_root_path))
    assert targets(page) == [row.target_root_path.rstrip("/") for row in rows]
    (sorted_by,) = [head for head in page.all("th") if "aria-sort" in head.attrs]
    assert sorted_by.one("a").attrs["href"] == f"/?sort={sort}"


@pytest.mark.parametrize(
    "query",
    [
        "q=%00", "q=%ff%fe", "q=" + "x" * 5000, "q=<script>", "state=%00", "cluster=%00", "source=%F0%9F%92%A9",
        "health=evil", "health=", "sort=password", "after=1", "after=99999999999999999999999.1", "after=x.y",
        "after=1.2.3", "sort=rpo&after=1.yesterday", "sort=rpo&after=1.2026-03-14", "after=1.99999999999999999999999",
        "after=%00", "approval=x&failover=y&access=z", "banners=%00", "seen=%00", "q=a&q=b", "unknown=1",
    ],
)  # fmt: skip
def test_nothing_in_the_url_breaks_the_list_or_its_poll(fleet: Fleet, cast: Cast, query: str) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(f"/?{query}"))
    assert page.one("div", id="relationships").attrs["hx-get"].startswith("/live/")
    assert client.get(f"/live/?{query}", headers={"HX-Request": "true"}).status_code == 200
    assert polled(client, page).status_code == 204


def test_the_search_field_gets_the_table_and_the_address_of_what_it_found(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?cluster=edge-hub&sort=rpo"))
    form = page.one("form", role="search")
    fields = {each.attrs["name"]: each.attrs.get("value", "") for each in form.all("input")}
    assert fields == {"sort": "rpo", "q": ""}
    chosen = [each for each in form.all("option") if "selected" in each.attrs]
    assert [each.attrs["value"] for each in chosen] == ["edge-hub"]

    answer = client.get(form.attrs["hx-get"], {"q": "pos", "cluster": "edge-hub", "sort": "rpo", "state": ""})
    assert answer["HX-Replace-Url"] == "/?q=pos&cluster=edge-hub&sort=rpo"
    assert targets(parsed(answer)) == ["/hub/pos-14"]
    assert "HX-Replace-Url" not in polled(client, page)  # a poll is no visit


# ── Paging ───────────────────────────────────────────────────────────────────


def walk(client: Client, url: str) -> list[list[str]]:
    pages = []
    while url:
        page = parsed(client.get(url))
        pages.append(targets(page))
        following = [link.attrs["href"] for link in page.all("a", "btn") if link.text == "Next 100"]
        url = following[0] if following else ""
        assert len(pages) < 9, "the pages go round in a circle"
    return pages


@pytest.mark.parametrize("sort", ["", "state", "target", "rpo"])
def test_pages_of_a_hundred_hold_every_row_once(pair: Lookout, cast: Cast, sort: str) -> None:
    many(pair.cluster, 250, pair.row)
    Relationship.objects.filter(target_root_path__endswith="7/").update(recovery_point_at=None, state="ENDED")
    pages = walk(browser(cast.viewer), f"/?sort={sort}" if sort else "/")
    assert [len(page) for page in pages] == [100, 100, 51]
    found = [path for page in pages for path in page]
    assert len(set(found)) == 251


def test_rows_that_differ_in_nothing_but_their_key_are_paged_all_the_same(pair: Lookout, cast: Cast) -> None:
    """An id that came back leaves twins: same cluster, same path."""
    many(pair.cluster, 150, pair.row)
    Relationship.objects.update(target_root_path="/same/")
    assert [len(page) for page in walk(browser(cast.viewer), "/")] == [100, 51]


def test_a_page_stays_where_it_is_while_rows_before_it_get_better_or_worse(pair: Lookout, cast: Cast) -> None:
    many(pair.cluster, 150, pair.row)
    client = browser(cast.viewer)
    first = parsed(client.get("/"))
    following = next(link.attrs["href"] for link in first.all("a", "btn") if link.text == "Next 100")
    before = targets(parsed(client.get(following)))
    # The last row of the first page, after which the second begins, becomes critical: it moves to the very top.
    moved = targets(first)[-1]
    Relationship.objects.filter(target_root_path=f"{moved}/").update(grade="critical", grade_rank=0)
    assert targets(parsed(client.get(following))) == before


def test_a_page_says_how_many_of_how_many_it_shows(pair: Lookout, cast: Cast) -> None:
    many(pair.cluster, 150, pair.row)
    client = browser(cast.viewer)
    assert parsed(client.get("/")).one("caption").text.startswith("100 of 151 relationships, worst first.")
    found = parsed(client.get("/?q=many")).one("caption").text
    assert found.startswith("100 of 150 that match, of 151 relationships, worst first.")
