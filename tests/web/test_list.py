"""The list of all relationships: what it shows, also of hostile clusters."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboard.fleet import hold
from dashboard.fleet.health import KNOWN_STATES, Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.words import duration
from tests.conftest import Cast
from tests.fleet.lookout import Lookout
from tests.web.fleet import Element, Fleet, browser, parsed
from tests.web.listing import PAYLOADS, rows_of, targets

pytestmark = pytest.mark.django_db


def row_with(page: Element, path: str) -> Element:
    return next(row for row in rows_of(page) if path in row.text)


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
