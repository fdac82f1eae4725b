"""The wall: everything fits, the worst is always on it, and one poll brings the whole screen."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.audit.chain import SYSTEM
from dashboard.database import database_now
from dashboard.failovers import holds
from dashboard.fleet import hold, observe
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import scenarios
from dashboard.web import screen
from tests.conftest import Cast
from tests.failovers.desk import Desk
from tests.fleet.lookout import Lookout
from tests.web import scene
from tests.web.fleet import Element, Fleet, browser, parsed, polled, since_read
from tests.web.listing import PAYLOADS, many

pytestmark = pytest.mark.django_db


def wall(user: Any, query: str = "") -> Element:
    return parsed(browser(user).get(f"/wall/{query}"))


def columns(page: Element) -> dict[str, Element]:
    return {each.one("h2").text: each for each in page.all("section", "w-cluster")}


def side(page: Element, title: str) -> Element:
    found = [each for each in page.all("section") if title in [h.text for h in each.all("h2")]]
    assert len(found) == 1, [each.text for each in page.all("section")]
    return found[0]


# ── Columns ──────────────────────────────────────────────────────────────────


def test_each_cluster_is_a_column_with_its_lit_tiles_before_its_calm_rows(fleet: Fleet, cast: Cast) -> None:
    Relationship.objects.filter(target_root_path__contains="finance").update(objective=900)
    page = wall(cast.viewer)
    found = columns(page)
    assert list(found) == ["dr-west", "dc2-archive", "edge-hub", "dr-east"]  # as added; a mere source is no column
    hub = found["edge-hub"]
    assert [tile.one("h3").text for tile in hub.all("article")] == ["cctv-11"]
    assert hub.one("article").one("p").text == "9 h 46 min of 1 h"
    assert [row.all("span")[0].text for row in hub.one("ul", "w-calm").all("li")] == ["cctv-12", "pos-14"]
    assert all(row.all("svg", "gauge") for row in hub.one("ul", "w-calm").all("li"))
    masters = next(tile for tile in found["dc2-archive"].all("article") if "masters" in tile.text)
    assert masters.attrs["data-health"] == "active"
    assert masters.one("progress").attrs["value"] == "12"


def test_the_headline_counts_every_health_and_the_quiet_ones_step_back(fleet: Fleet, cast: Cast) -> None:
    head = wall(cast.viewer).one("header", "w-head")
    counts = {
        each.one("span").text: (each.one("b").text, "calm" in each.classes) for each in head.all("div", "w-count")
    }
    grades = Relationship.objects.values_list("grade", flat=True)
    for word, (number, calm) in counts.items():
        expected = sum(grade == word.lower() for grade in grades)
        assert int(number) == expected
        assert calm is (word in ("Normal", "Inactive") or not expected)
    assert list(counts) == ["Critical", "Warning", "Unknown", "Active", "Normal", "Inactive"]


def test_a_silent_cluster_is_one_tile_and_its_rows_keep_their_names_without_figures(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    east = columns(wall(cast.viewer))["dr-east"]
    (tile,) = east.all("article")
    assert tile.text.replace("\u00a0", " ") == "Silent for 25 min"
    rows = east.one("ul", "w-calm").all("li")
    assert {row.text for row in rows} == {"mail", "pacs", "branch-04", "branch-07", "branch-09"}
    assert east.all("svg", "gauge") == []


def test_a_calm_fleet_says_so_in_one_line(pair: Lookout, cast: Cast) -> None:
    page = wall(cast.viewer)
    assert page.one("p", "w-all").text == "All 1 normal"
    assert "Its cluster answers." in page.one("header", "w-head").text
    assert side(page, "Failover running").one("p", "w-fig").text == "None"
    assert side(page, "Waiting for approval").one("p", "w-fig").text == "0"
    assert side(page, "Nearest to its objective").one("p", "w-fig").text.endswith(" %")


def test_what_does_not_fit_is_counted_and_never_cut_off(pair: Lookout, cast: Cast) -> None:
    many(pair.cluster, 20, pair.row)
    Relationship.objects.filter(target_root_path__endswith="5/").update(grade="warning", grade_rank=1)
    column = columns(wall(cast.viewer))["dr"]
    shown = len(column.all("article")) + len(column.all("li"))
    more = re.fullmatch(r"(\d+) more normal", column.one("p", "w-more").text)  # the worst are on the screen
    assert more is not None
    assert shown + int(more[1]) == 21
    assert {tile.one("h3").text for tile in column.all("article")} == {"0005", "0015"}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("late", [0, 3, 9, 24])
def test_no_column_is_higher_than_the_screen(pair: Lookout, cast: Cast, late: int, count: int) -> None:
    others = [Cluster(pk=1000 + number, name=f"c{number}", added_at=database_now()) for number in range(count - 1)]
    many(pair.cluster, 23, pair.row)
    rows = list(Relationship.objects.select_related("cluster"))
    for row in rows[:late]:
        row.grade, row.reason, row.reason_since = "critical", "Job stalled {for}", row.first_seen_at
    column, *_others = screen.columns(rows, [pair.cluster, *others], database_now())
    holds = screen.letters(count)  # the narrower the columns, the sooner a line takes two
    height = sum(tile.height(holds) for tile in column.tiles) + sum(row.height for row in column.calm)
    assert height + (4.6 if column.more else 0) <= 47
    assert len(column.tiles) == min(late, len(column.tiles))
    assert bool(column.tiles) is bool(late)


# ── Lamps ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("clusters", "relationships"), [(1, 60), (4, 30), (8, 22), (15, 12), (20, 100)])
def test_a_large_fleet_becomes_lamps_that_all_fit_or_are_counted(cast: Cast, clusters: int, relationships: int) -> None:
    fleet = _large(clusters, relationships)
    fleet.silence(min(fleet.world.clusters))
    page = wall(cast.viewer)
    grid = page.one("div", "w-grid")
    fields = grid.all("ul", "w-lamps")
    assert len(fields) == min(clusters, 15)
    for field in fields:
        lamps = [lamp for lamp in field.all("li") if "data-health" in lamp.attrs]
        more = sum(int(lamp.text.removeprefix("+")) for lamp in field.all("li", "more"))
        assert len(lamps) + more == relationships
    if clusters > 15:
        assert page.one("aside", "w-list").all("p", "sub")[-1].text == f"{clusters - 15} more clusters"


def _large(clusters: int, relationships: int) -> Fleet:
    """Read one list for real, and copy its row: a thousand rows take no time then."""
    world = scenarios.large(clusters, 1)
    fleet = Fleet(world, *[name for name in world.clusters if name.startswith("dr-")])
    like = Relationship.objects.first()
    assert like is not None
    for cluster in Cluster.objects.all():
        many(cluster, relationships - 1, like)
    return fleet


def test_the_worst_of_a_large_fleet_are_a_list_and_the_rest_of_them_a_number(cast: Cast) -> None:
    fleet = _large(4, 20)
    fleet.silence("dr-001")
    late = Relationship.objects.filter(cluster__name="dr-000")[:9]
    Relationship.objects.filter(pk__in=[row.pk for row in late]).update(grade="warning", grade_rank=1, reason="Late")
    worst = Relationship.objects.filter(cluster__name="dr-002").first()
    assert worst is not None
    Relationship.objects.filter(pk=worst.pk).update(grade="critical", grade_rank=0, reason="Very late")
    listed = wall(cast.viewer).one("aside", "w-list")
    assert [tile.attrs["data-health"] for tile in listed.all("article")] == ["critical", "unknown", *["warning"] * 5]
    assert "dr-001 silent" in listed.all("article")[1].text
    assert "20 relationships. Silent since" in listed.all("article")[1].text
    assert listed.one("h2").text == "Worst first, 4 more warning not shown"


def test_a_wall_can_be_of_some_clusters_only(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/?cluster=edge-hub&cluster=dr-east&cluster=nowhere"))
    assert list(columns(page)) == ["edge-hub", "dr-east"]
    total = sum(int(each.one("b").text) for each in page.all("div", "w-count"))
    assert total == 8
    again = client.get(page.one("div", "w-screen").attrs["hx-get"].partition("&seen")[0])
    assert list(columns(parsed(again))) == ["edge-hub", "dr-east"]


# ── The side ─────────────────────────────────────────────────────────────────


def test_the_worst_recovery_point_is_the_one_furthest_beyond_its_objective(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    Relationship.objects.filter(target_root_path__contains="/dr/pacs").update(objective=1)  # silent: not known
    worst = side(wall(cast.viewer), "Worst recovery point")
    assert worst.one("p", "w-fig").text.replace("\u00a0", " ") == "9 h 46 min"
    assert "cctv-11, objective 1 h" in worst.text.replace("\u00a0", " ")
    assert "edge-hub, 9.8 × its objective" in worst.text


def test_what_waits_for_approval_is_counted_with_the_time_that_is_left(cast: Cast) -> None:
    desk = Desk(cast)
    desk.request()
    waiting = side(wall(cast.viewer), "Waiting for approval")
    assert waiting.one("p", "w-fig").text.replace("\u00a0", " ") == "1 29 min left"
    assert "finance" in waiting.text


def test_a_running_failover_shows_how_far_it_is(cast: Cast) -> None:
    desk = Desk(cast)
    failover = scene.reverting(desk)
    running = side(wall(cast.viewer), "Failover running")
    assert re.match(r"\d+ %", running.one("p", "w-fig").text)
    assert running.one("progress").attrs["value"]
    assert f"dr, {failover.number}" in running.text
    assert "finance, back to" in running.text


def test_a_running_failover_without_figures_shows_how_long_it_takes(cast: Cast) -> None:
    scene.without_figures(Desk(cast))
    running = side(wall(cast.viewer), "Failover running")
    assert running.one("p", "w-fig").one("time").attrs["data-rel"] == "age"
    assert "value" not in running.one("progress").attrs


def test_an_unknown_outcome_is_not_shown_as_a_running_failover(cast: Cast) -> None:
    scene.doubtful(Desk(cast))
    page = wall(cast.viewer)
    assert side(page, "Failover, outcome unknown").attrs["data-health"] == "unknown"
    assert [h for h in page.all("h2") if h.text == "Failover running"] == []


def test_a_failover_that_needs_a_person_says_so(cast: Cast) -> None:
    failover = scene.not_seen(Desk(cast))
    needs = side(wall(cast.viewer), "Needs a person")
    assert needs.one("p", "w-fig").text == "1"
    assert failover.number in needs.text


def test_a_hold_says_that_nothing_is_sent(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="", reason="The ledger's chain is being checked.")
    held = side(wall(cast.viewer), "Held: nothing is sent")
    assert "The ledger's chain is being checked." in held.text
    holds.hold(actor=SYSTEM, scope="elsewhere", reason="Another cluster is held.")
    assert "Another cluster" not in wall(cast.viewer).text


# ── Polls ────────────────────────────────────────────────────────────────────


def test_a_wall_with_nothing_new_costs_an_empty_204_and_four_queries(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/"))
    with CaptureQueriesContext(connection) as asked:
        answer = polled(client, page)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(asked) <= 4, [query["sql"] for query in asked]
    assert 0 <= float(answer["X-Observed-Age"]) <= since_read()


def test_whatever_changes_brings_the_whole_screen(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/"))
    hold.hold_rows({fleet.row("projects").pk: "FO-1001"}, phase="running", note="1/1")
    new = parsed(polled(client, page))
    assert "Failover" in next(tile for tile in new.all("article") if "projects" in tile.text).text
    assert new.one("div", "w-screen").attrs["id"] == "wall-screen"
    assert new.all("div", "w-stale") == []  # the veil must outlive every answer


def test_the_screen_is_drawn_again_before_its_ages_are_wrong(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/"))
    url = page.one("div", "w-screen").attrs["hx-get"]
    assert client.get(url).status_code == 204
    drawn = int(url.rpartition("-")[2])
    assert client.get(url.replace(f"-{drawn}", f"-{drawn - 21}")).status_code == 200


def test_the_age_is_that_of_the_newest_reading_so_one_silent_cluster_is_no_veil(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    page = wall(cast.viewer)
    assert "data-stale" not in page.one("div", "w-stale").attrs
    for name in ("dr-west", "dc2-archive", "edge-hub", "dc1-prod"):
        fleet.silence(name, minutes=4)
    assert "data-stale" in wall(cast.viewer).one("div", "w-stale").attrs


def test_somebody_signed_out_sees_no_data_and_no_form(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/"))
    client.logout()
    assert polled(client, page)["X-Signed-Out"] == "1"
    nothing = parsed(Client().get("/wall/"))
    assert nothing.all("form") == []
    assert "finance" not in nothing.text


def test_everybody_who_is_signed_in_may_open_it(fleet: Fleet, cast: Cast) -> None:
    for name in ("rivera", "osei", "okafor", "admin", "viewer"):
        assert wall(getattr(cast, name)).one("div", "w-screen")


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("size", [1, 30])
def test_nothing_that_a_cluster_sends_becomes_markup(pair: Lookout, cast: Cast, payload: str, size: int) -> None:
    many(pair.cluster, size, pair.row)
    client = browser(cast.viewer)

    def say(words: str) -> tuple[Element, str]:
        rows = Relationship.objects.filter(target_root_path=pair.row.target_root_path)
        rows.update(target_root_path=words, source_cluster_name=words, grade="warning", grade_rank=1, state="X")
        answer = client.get("/wall/")
        return parsed(answer), answer.content.decode()

    (harmless, _), (page, markup) = say("/harmless"), say(payload.replace("\x00", ""))  # the edge stores no NUL
    assert page.tags() == harmless.tags()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", markup)


def test_lengths_are_written_in_minutes_and_never_broken() -> None:
    assert screen.coarse(timedelta(seconds=59)) == "59\u00a0s"
    assert screen.coarse(timedelta(minutes=34, seconds=20)) == "34\u00a0min"
    assert screen.coarse(timedelta(days=1, hours=19, minutes=5)) == "1\u00a0d\u00a019\u00a0h"


def test_time_alone_changes_the_wall(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/wall/"))
    fleet.silence("edge-hub", minutes=1)
    assert observe.regrade(database_now()) == 0  # the silence was stored by `silence` already
    assert "Silent" in columns(parsed(polled(client, page)))["edge-hub"].text


def test_a_wall_of_hundreds_costs_as_many_queries_as_one_of_few(pair: Lookout, cast: Cast) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            wall(cast.viewer)
        return len(asked)

    wall(cast.viewer)
    few = queries()
    many(pair.cluster, 300, pair.row)
    Relationship.objects.filter(target_root_path__endswith="5/").update(grade="warning", grade_rank=1)
    assert queries() == few
