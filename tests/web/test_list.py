"""The list of all relationships: what it shows, what its URL selects, and polls that bring only what is new."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import hold, observe, registry
from dashboard.fleet.health import KNOWN_STATES, Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.words import duration
from tests.conftest import Cast
from tests.fleet.lookout import Lookout, pass_time
from tests.web.fleet import Element, Fleet, browser, keep, parsed, polled, since_read

pytestmark = pytest.mark.django_db

PAYLOADS = (
    "/dr/<script>alert(1)</script>",
    '/dr/"><img src=x onerror=alert(1)>',
    "/dr/' onmouseover='alert(1)",
    "/dr/&lt;b&gt;{{ 7|add:7 }}{% now 'Y' %}",
    "/dr/\u202eecnanif\u2066\x00\x1b[31m",
)


def rows_of(page: Element) -> list[Element]:
    return [row for row in page.one("div", id="relationships").all("tr") if row.attrs.get("data-health")]


def row_with(page: Element, path: str) -> Element:
    return next(row for row in rows_of(page) if path in row.text)


def targets(page: Element) -> list[str]:
    return [row.all("bdi", "mono")[-1].text for row in rows_of(page)]


# ── What it shows ────────────────────────────────────────────────────────────


def test_every_relationship_is_a_row_with_its_health_its_state_and_both_ends(fleet: Fleet, cast: Cast) -> None:
    page = parsed(browser(cast.viewer).get("/"))
    assert len(rows_of(page)) == Relationship.objects.count() == 21
    finance = row_with(page, "/dr/dc1/finance").text
    for words in ("Established", "Read-only", "dc1-prod", "/prod/finance", "dr-west", "64 %", "No estimate", "0 B/s"):
        assert words in finance


def test_all_seven_states_are_written_in_words_with_their_glyph(fleet: Fleet, cast: Cast) -> None:
    page = parsed(browser(cast.viewer).get("/"))
    drawn = {use.attrs["href"].partition("#")[2] for use in page.all("use")}
    assert {f"s-{state}" for state in KNOWN_STATES} <= drawn
    table = page.one("tbody").text
    for word in (
        "Established",
        "Awaiting authorization",
        "Disconnecting",
        "Disconnected",
        "Reconnecting",
        "Re-establishing",
        "Ended",
    ):
        assert word in table


def test_a_state_that_is_not_known_here_is_shown_as_it_came_and_never_with_a_glyph_of_one_that_is(
    pair: Lookout, cast: Cast
) -> None:
    pair.row_says(state="THAWING_SLOWLY")
    pair.read()
    (row,) = rows_of(parsed(browser(cast.rivera).get("/")))
    assert row.attrs["data-health"] == Grade.UNKNOWN
    assert row.one("code").text == "THAWING_SLOWLY"
    assert not [use for use in row.all("use") if "#s-" in use.attrs["href"]]
    assert "Fail over" not in row.text


def test_the_worst_comes_first_and_ties_keep_their_place(fleet: Fleet, cast: Cast) -> None:
    found = targets(parsed(browser(cast.viewer).get("/")))
    expected = Relationship.objects.listed().worst_first()
    assert found == [row.target_root_path.rstrip("/") for row in expected]
    ranks = [row.grade_rank for row in expected]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 3


def test_a_row_of_a_silent_cluster_keeps_the_age_that_it_had_when_it_was_read(fleet: Fleet, cast: Cast) -> None:
    cluster = fleet.silence("dr-east")
    row = fleet.row("/dr/pacs")
    page = parsed(browser(cast.rivera).get("/"))
    mail = row_with(page, "/dr/pacs")
    age = mail.all("td")[2]
    assert "stale" in mail.classes
    assert cluster.last_read_at is not None
    assert row.recovery_point_at is not None
    assert duration(cluster.last_read_at - row.recovery_point_at) in age.text
    assert age.all("time") == []  # nothing in it ticks
    assert "data-since" not in age.one("svg").attrs
    assert "Fail over" not in mail.text
    fresh = row_with(page, "/dr/dc1/finance").all("td")[2]
    assert fresh.one("time").attrs["data-rel"] == "age"
    assert "data-since" in fresh.one("svg").attrs


def test_a_silent_cluster_is_one_banner_and_violet_words_not_one_alarm_for_each_row(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    page = parsed(browser(cast.viewer).get("/"))
    (banner,) = page.one("div", id="banners").all("section")
    assert banner.attrs["data-health"] == "unknown"
    assert "dr-east has not answered since" in banner.text
    assert "Its 5 relationships show what it last reported." in banner.text
    assert banner.one("a").text == "Show these 5"
    shown = parsed(browser(cast.viewer).get(banner.one("a").attrs["href"]))
    assert len(rows_of(shown)) == 5
    entry = next(each for each in page.one("ul", id="clusters").all("li") if "dr-east" in each.text)
    assert entry.attrs["data-health"] == "unknown"
    assert entry.text.endswith("old, not answering")


def test_many_silent_clusters_have_one_cause_and_one_banner(fleet: Fleet, cast: Cast) -> None:
    for name in ("dr-west", "dr-east", "edge-hub", "dc2-archive"):
        fleet.silence(name)
    (banner,) = parsed(browser(cast.viewer).get("/")).one("div", id="banners").all("section")
    assert banner.text.startswith("4 clusters do not answer. dr-west, dc2-archive, edge-hub, dr-east.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trouble": "sign-in", "trouble_words": "It answered 401."}, "dr-west refuses the sign-in of this dashboard."),
        (
            {"trouble": "certificate", "trouble_words": "Another one."},
            "shows another certificate than the one registered",
        ),
        ({"trouble": "identity", "trouble_words": "It is prod."}, "Another cluster has answered for dr-west."),
        ({"executor_trouble": "It answered 401."}, "dr-west refuses the executor token: no failover to it can start."),
        ({"clock_ahead": 7261}, "The clocks of dr-west and this desk differ by 2 h 1 min."),
        ({"unreadable_rows": "7f3c: state is missing."}, "dr-west lists a relationship that cannot be read."),
    ],
)
def test_what_is_wrong_with_a_cluster_is_said_in_one_sentence(
    fleet: Fleet, cast: Cast, change: dict[str, Any], words: str
) -> None:
    Cluster.objects.filter(name="dr-west").update(**change)
    (banner,) = parsed(browser(cast.viewer).get("/")).one("div", id="banners").all("section")
    assert words in banner.text
    assert str(next(iter(reversed(change.values())))).removesuffix("7261") in banner.text


def test_a_relationship_that_a_request_holds_shows_it_instead_of_the_button(fleet: Fleet, cast: Cast) -> None:
    row = fleet.row("/dr/dc1/finance")
    assert row_with(parsed(browser(cast.rivera).get("/")), "/dr/dc1/finance").all("a", "btn")
    hold.hold_rows({row.pk: "FO-1042/3"}, phase="waiting", note="0/1")
    waiting = row_with(parsed(browser(cast.rivera).get("/")), "/dr/dc1/finance")
    assert waiting.one("a", "badge").text == "FO-1042/3 0/1"
    assert waiting.one("a", "badge").attrs["href"] == "/failovers/FO-1042/"
    assert not [link for link in waiting.all("a") if "fail-over" in link.attrs["href"]]
    hold.hold_rows({row.pk: "FO-1042/3"}, phase="running", note="")
    running = row_with(parsed(browser(cast.rivera).get("/")), "/dr/dc1/finance")
    assert running.attrs["data-health"] == Grade.ACTIVE
    assert running.one("a", "badge").text == "FO-1042/3"


def test_only_who_may_ask_is_offered_a_failover(fleet: Fleet, cast: Cast) -> None:
    offered = {
        name: [link.attrs["href"] for link in parsed(browser(getattr(cast, name)).get("/")).all("a", "btn")]
        for name in ("viewer", "osei", "okafor", "admin", "rivera")
    }
    row = fleet.row("/dr/dc1/finance")
    assert f"/relationships/dr-west/{row.relationship_id}/fail-over/" in offered.pop("rivera")
    assert not any("fail-over" in "".join(links) for links in offered.values())


def test_only_who_may_see_the_audit_trail_is_led_there(fleet: Fleet, cast: Cast) -> None:
    for name, led in (("okafor", True), ("osei", True), ("admin", True), ("rivera", False), ("viewer", False)):
        client = browser(getattr(cast, name))
        pages = [parsed(client.get("/")), parsed(client.get(f"/?q={fleet.row('finance').relationship_id}"))]
        pages.append(parsed(client.get(pages[1].one("tbody").one("a", "rel").attrs["href"])))
        for page in pages:
            found = [link.attrs["href"] for link in page.all("a") if link.text == "Show in audit trail"]
            assert bool(found) is led
            assert not led or "/audit/?q=/dr/dc1/finance" in found


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


# ── Nothing there ────────────────────────────────────────────────────────────


def test_an_empty_desk_says_how_to_begin(cast: Cast) -> None:
    page = parsed(browser(cast.viewer).get("/"))
    assert page.one("h2").text == "No clusters yet"
    assert page.all("form", role="search") == []


def test_a_search_that_finds_nothing_names_what_was_searched_and_can_be_cleared(fleet: Fleet, cast: Cast) -> None:
    page = parsed(browser(cast.viewer).get("/?q=zebra&cluster=edge-hub"))
    root = page.one("div", id="relationships")
    assert "No relationship matches" in root.text
    assert "Nothing has “zebra” in its path, clusters, error or ID." in root.text
    assert root.one("a").attrs["href"] == "/?cluster=edge-hub"


def test_a_choice_that_nothing_fits_leads_back_to_all(fleet: Fleet, cast: Cast) -> None:
    root = parsed(browser(cast.viewer).get("/?failover=running")).one("div", id="relationships")
    assert "Right now none is like this." in root.text
    assert root.one("a").attrs["href"] == "/"


# ── Polls ────────────────────────────────────────────────────────────────────


def test_a_poll_with_nothing_new_is_an_empty_204_that_still_tells_ages(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    client = browser(cast.viewer)
    answer = polled(client, parsed(client.get("/")))
    assert (answer.status_code, answer.content) == (204, b"")
    assert 0 <= float(answer["X-Observed-Age"]) <= since_read()
    ages = dict(pair.split("=") for pair in answer["X-Cluster-Ages"].split(","))
    assert ages.keys() == {"dr-west", "dc2-archive", "edge-hub", "dr-east", "dc1-prod"}
    assert 0 <= float(ages["dr-west"]) <= since_read(name="dr-west")
    assert 1500 <= float(ages["dr-east"]) <= since_read(name="dr-east")
    assert answer["X-Cluster-Tries"].startswith("dr-east=")


def test_a_poll_of_somebody_signed_out_says_so_and_swaps_nothing(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    client.logout()
    answer = polled(client, page)
    assert (answer.status_code, answer.content, answer["X-Signed-Out"]) == (204, b"", "1")
    assert "X-Observed-Age" not in answer


def test_a_poll_with_nothing_new_costs_four_queries_without_redis(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?q=dr&health=normal"))
    with CaptureQueriesContext(connection) as asked:
        assert polled(client, page).status_code == 204
    assert len(asked) <= 4, [query["sql"] for query in asked]


def test_a_poll_with_nothing_new_costs_two_queries_with_redis(fleet: Fleet, cast: Cast, with_redis: str) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?q=dr&health=normal"))
    polled(client, page)  # some poll has asked within the last second
    keep(with_redis)
    with CaptureQueriesContext(connection) as asked:
        assert polled(client, page).status_code == 204
    assert len(asked) <= 2, [query["sql"] for query in asked]


def test_a_hundred_rows_cost_as_many_queries_as_one(fleet: Fleet, cast: Cast) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            parsed(client.get(url))
        return len(asked)

    client = browser(cast.viewer)
    assert queries("/") == queries("/?q=finance")
    assert queries("/live/") == queries("/live/?q=finance") <= 5


VISIBLE: dict[str, dict[str, Any]] = {
    "the state": {"state": "RECONNECTING"},
    "the target path": {"target_root_path": "/elsewhere/"},
    "the source path": {"source_root_path": "/elsewhere/"},
    "the name of the source": {"source_cluster_name": "renamed"},
    "access to the target": {"target_root_read_only": False},
    "the recovery point": {"recovery_point": "2026-01-02T03:04:05.000000001Z"},
    "the job": {"job_state": "REPLICATION_RUNNING"},
    "its progress": {"job_state": "REPLICATION_RUNNING", "replication_job_status": {"percent_complete": 12.5}},
    "the last error": {"error_from_last_job": "disk is full"},
    "the length of the last job": {"duration_of_last_job": {"nanoseconds": "123000000000"}},
    "the end reason": {"state": "ENDED", "end_reason": "gone"},
    "that it cannot be read": {"state": None},
}


@pytest.mark.parametrize("fields", VISIBLE.values(), ids=VISIBLE.keys())
def test_whatever_a_row_shows_brings_a_new_table_when_it_changes(
    pair: Lookout, cast: Cast, fields: dict[str, Any]
) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    pair.read()
    assert polled(client, page).status_code == 204
    pair.row_says(**fields)
    pair.read()
    answer = polled(client, page)
    new = parsed(answer)
    assert rows_of(new)[0].text != rows_of(page)[0].text
    assert polled(client, new).status_code == 204


CHANGED_HERE: dict[str, Callable[[Lookout], Any]] = {
    "a request holds it": lambda pair: hold.hold_rows({pair.row.pk: "FO-1001"}, phase="waiting", note="0/2"),
    "another objective": lambda pair: registry.set_objective("dr", "/dr/finance", timedelta(hours=9), actor=_cli()),
    "its cluster falls silent": lambda pair: _pass_silence(),
    "its objective has passed": lambda pair: _pass_objective(pair, 1.01),
    "twice its objective has passed": lambda pair: _pass_objective(pair, 2.01),
}


def _cli() -> Any:
    from dashboard.audit.chain import cli

    return cli()


def _pass_silence() -> None:
    pass_time(46)
    observe.regrade(database_now())


def _pass_objective(pair: Lookout, times: float) -> None:
    """Time alone: nothing is read, but the cluster counts as read just now."""
    point = pair.row.recovery_point_at
    assert point is not None
    age = (database_now() - point).total_seconds()
    pass_time(times * pair.row.objective - age)
    Cluster.objects.update(last_read_at=database_now())
    assert observe.regrade(database_now()) == 1


@pytest.mark.parametrize("change", CHANGED_HERE.values(), ids=CHANGED_HERE.keys())
def test_what_changes_here_or_by_time_alone_brings_a_new_table_too(
    pair: Lookout, cast: Cast, change: Callable[[Lookout], Any]
) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    assert polled(client, page).status_code == 204
    change(pair)
    new = parsed(polled(client, page))
    assert rows_of(new)[0].text != rows_of(page)[0].text


def test_a_row_that_the_filter_leaves_out_may_change_without_a_word(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?cluster=edge-hub"))
    shown = parsed(client.get("/?cluster=dr-west"))
    Relationship.objects.filter(target_root_path__contains="legal").update(version=F("version") + 1)
    assert polled(client, page).status_code == 204
    Relationship.objects.filter(target_root_path__contains="finance").update(version=F("version") + 1)
    assert polled(client, page).status_code == 204
    assert polled(client, shown).status_code == 200


def test_a_counter_that_changes_brings_a_new_answer_whatever_the_filter_shows(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?cluster=edge-hub"))
    hold.hold_rows({fleet.row("finance").pk: "FO-1001"}, phase="waiting", note="0/1")
    new = parsed(polled(client, page))
    assert new.one("a", id="count-approval").one("b").text == "1"
    assert new.one("nav", id="counters").attrs["hx-swap-oob"] == "true"


def test_what_changes_on_a_cluster_alone_brings_its_banner(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    Cluster.objects.filter(name="dc1-prod").update(executor_trouble="It answered 401.", version=F("version") + 1)
    new = parsed(polled(client, page))
    assert "dc1-prod refuses the executor token" in new.one("div", id="banners").text


def test_banners_are_swapped_only_when_they_say_something_else(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    fleet.silence("dr-east")
    first = parsed(polled(client, page))
    assert "dr-east has not answered" in first.one("div", id="banners").text
    Relationship.objects.filter(target_root_path__contains="finance").update(version=F("version") + 1)
    second = parsed(polled(client, first))
    assert rows_of(second)
    assert second.all("div", id="banners") == []  # it would be read aloud again


def test_a_shared_rendering_gives_nobody_a_button_that_is_not_theirs(fleet: Fleet, cast: Cast, with_redis: str) -> None:
    for user, offered in ((cast.rivera, True), (cast.viewer, False), (cast.tanaka, True), (cast.osei, False)):
        answer = parsed(browser(user).get("/live/", headers={"HX-Request": "true"}))
        assert bool([link for link in answer.all("a") if "fail-over" in link.attrs["href"]]) is offered
        assert answer.all("input", name="csrfmiddlewaretoken") == []


# ── Paging ───────────────────────────────────────────────────────────────────


def many(cluster: Cluster, number: int, like: Relationship) -> None:
    rows = []
    for position in range(number):
        row = Relationship.objects.get(pk=like.pk)
        row.pk, row.relationship_id, row.cluster = None, f"copy-{position:04d}", cluster
        row.target_root_path, row.target_root_id = f"/many/{position:04d}/", f"{position}"
        row.search = row.target_root_path
        rows.append(row)
    Relationship.objects.bulk_create(rows)


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


# ── Hostile clusters ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_cluster_sends_becomes_markup_or_turns_the_line(pair: Lookout, cast: Cast, payload: str) -> None:
    client = browser(cast.rivera)
    texts = ("source_cluster_name", "source_root_path", "target_root_path", "error_from_last_job", "end_reason")
    pair.row_says(**dict.fromkeys(texts, "/harmless"))
    pair.read()
    harmless = parsed(client.get("/"))
    pair.row_says(**dict.fromkeys(texts, payload))
    pair.read()
    answer = client.get("/")
    page = parsed(answer)
    assert page.tags() == harmless.tags()
    assert not [each for each in page.within() if any(name.startswith("on") for name in each.attrs)]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", answer.content.decode())
    written = payload.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066").replace("\x00", "\\u0000")
    assert written.replace("\x1b", "\\u001b") in rows_of(page)[0].text
    (source,) = [each for each in page.one("select", id="f-source").all("option") if each.attrs["value"]]
    assert len(rows_of(parsed(client.get("/", {"source": source.attrs["value"]})))) == 1


def test_what_had_to_be_made_visible_is_found_by_what_was_sent_and_by_what_is_shown(pair: Lookout, cast: Cast) -> None:
    pair.row_says(target_root_path="/dr/\u202eecnanif")
    pair.read()
    client = browser(cast.viewer)
    for words in ("\u202eECNANIF", "\\u202eecn"):
        assert len(rows_of(parsed(client.get("/", {"q": words})))) == 1


def test_a_path_of_four_thousand_characters_is_shown_whole(pair: Lookout, cast: Cast) -> None:
    path = "/dr/" + "x" * 3990
    pair.row_says(target_root_path=path)
    pair.read()
    assert targets(parsed(browser(cast.viewer).get("/"))) == [path]
