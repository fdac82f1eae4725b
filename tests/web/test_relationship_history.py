"""The history of a relationship's recovery points, drawn and in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.database import database_now
from dashboard.fleet.models import Event, RecoveryPoint
from dashboard.web.chart import Point, draw
from tests.conftest import Cast
from tests.failovers.desk import Desk
from tests.fleet.lookout import Lookout
from tests.web.fleet import browser, parsed
from tests.web.relating import address, page_of, panel, polled_page

pytestmark = pytest.mark.django_db


NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


def minutes(*pairs: tuple[float, float]) -> list[Point]:
    """(recovery point, first seen), both in minutes before NOW."""
    return [Point(NOW - timedelta(minutes=at), NOW - timedelta(minutes=seen)) for at, seen in pairs]


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def drawn(points: list[Point], current: float | None, *, span: str = "6h", until: float = 0, goal: float = 15) -> Any:
    return draw(
        points,
        current=None if current is None else NOW - timedelta(minutes=current),
        span=span,
        now=NOW,
        until=NOW - timedelta(minutes=until),
        objective=timedelta(minutes=goal),
    )


def test_the_age_rises_with_time_and_falls_when_a_job_succeeds() -> None:
    chart = drawn(minutes((370, 365), (100, 90)), 100)
    (a, b, c, d) = corners(chart.line)
    assert a[0] == 52
    assert d[0] == 684
    assert b[0] == c[0] == pytest.approx(52 + 632 * 270 / 360, abs=0.1)
    assert b[1] < a[1]  # higher up: older
    assert c[1] > b[1]  # down again
    assert chart.age == timedelta(minutes=100)
    assert chart.most == timedelta(minutes=280)
    assert chart.over


def test_the_share_of_time_within_the_objective_is_of_the_known_time() -> None:
    # Seen for the last 60 minutes: 10 min old at first, over 15 after five, and new at half time.
    chart = drawn(minutes((70, 60), (30, 30)), 30)
    assert chart.kept == pytest.approx(100 * (5 + 15) / 60)
    assert chart.kept_words == "33.3"
    assert drawn(minutes((5, 5)), 5).kept_words == "100"
    assert drawn(minutes((400, 390)), 400).kept_words == "0"
    assert drawn(minutes((600, 599)), 600, goal=599.99).kept_words != "100"


def test_before_the_first_reading_the_line_is_reckoned_and_marked_so() -> None:
    chart = drawn(minutes((120, 60)), 120)
    (start, end) = corners(chart.reckoned)
    assert start[0] == pytest.approx(52 + 632 * 240 / 360, abs=0.1)
    assert end == corners(chart.line)[0]
    assert drawn(minutes((400, 390)), 400).reckoned == ""


def test_a_recovery_point_that_history_does_not_hold_yet_counts_at_the_end() -> None:
    chart = drawn(minutes((120, 110)), 2)
    assert chart.age == timedelta(minutes=2)
    assert not chart.over
    assert chart.most == timedelta(minutes=120)


def test_the_line_of_what_is_not_read_any_more_ends_at_its_last_reading() -> None:
    chart = drawn(minutes((120, 110)), 120, until=60)
    assert chart.age == timedelta(minutes=60)
    assert float(chart.end_x) == pytest.approx(52 + 632 * 300 / 360, abs=0.1)


@pytest.mark.parametrize("points", [[], minutes((900, 890))])
def test_what_is_not_known_is_not_drawn(points: list[Point]) -> None:
    assert drawn(points, None if not points else 900, until=800) is None


def test_a_month_of_short_jobs_stays_a_small_drawing() -> None:
    points = minutes(*((5 * n + 4, 5 * n) for n in range(8640, 0, -1)))
    chart = drawn(points, 4, span="30d")
    assert len(chart.line) < 40_000
    assert chart.most == timedelta(minutes=9)
    assert [tick.words for tick in chart.ticks][-1] == "13 Mar"


@pytest.mark.parametrize(("span", "age"), [("6h", 31), ("24h", 700), ("7d", 3000), ("30d", 20000), ("6h", 3)])
def test_the_axis_has_a_few_round_lines_of_one_unit(span: str, age: float) -> None:
    chart = drawn(minutes((age, age - 0.1)), age, span=span)
    words = [label.words for label in chart.lines]
    assert words[0] == "0"
    assert 2 <= len(words) <= 6
    assert len({word.split()[1] for word in words[1:]}) == 1
    assert 3 <= len(chart.ticks) <= 8


def test_the_chart_is_told_in_words_and_its_range_is_in_the_url(pair: Lookout, cast: Cast) -> None:
    row = pair.row
    RecoveryPoint.objects.all().delete()
    now = database_now()
    RecoveryPoint.objects.create(relationship=row, at=now - timedelta(hours=9), seen_at=now - timedelta(hours=8))
    page = page_of(pair, cast.viewer, "?range=24h")
    chart = panel(page, "Recovery point age")
    assert "Recovery point age over the last 1 d: now" in chart.one("title").text
    short = panel(page_of(pair, cast.viewer), "Recovery point age")
    assert short.all("path", "lag")[-1].attrs["d"].startswith("M52.0 ")  # known since before the range
    (chosen,) = chart.all("a", aria_current="true")
    assert chosen.attrs["href"] == f"{address(row)}?range=24h"
    assert "range=24h" in page.one("div", id="relationship").attrs["hx-get"]
    assert (
        panel(page_of(pair, cast.viewer, "?range=forever"), "Recovery point age").one("a", aria_current="true").text
        == "6 h"
    )


def test_its_events_are_told_newest_first_and_all_of_them_on_demand(pair: Lookout, cast: Cast) -> None:
    for number in range(30):
        at = database_now() + timedelta(seconds=number)
        Event.objects.create(relationship=pair.row, at=at, kind="job", words=f"Event {number}", detail="<b>detail</b>")
    page = page_of(pair, cast.viewer)
    events = [item.text for item in page.one("section", id="events").all("li")]
    assert len(events) == 12
    assert "Event 29" in events[0]
    more = page.one("section", id="events").one("a").attrs["href"].partition("#")[0]
    every = parsed(browser(cast.viewer).get(more))
    assert len(every.one("section", id="events").all("li")) == 31
    assert (
        len(parsed(polled_page(browser(cast.viewer), every, fresh=False)).one("section", id="events").all("li")) == 31
    )


def test_its_failovers_are_listed_with_who_asked_and_who_approved(cast: Cast) -> None:
    desk = Desk(cast)
    done = desk.see_it_through(desk.sent())
    page = parsed(browser(cast.viewer).get(address(desk.row)))
    listed = panel(page, "Operations")
    assert listed.one("a").attrs["href"] == f"/failovers/{done.number}/"
    assert f"{done.number}: writable after" in listed.text
    assert "a.rivera, approved by k.osei" in listed.text
