"""The scripts in a real browser: times run on the clock of the server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from dashboard import words
from tests.journeys.scripting import NOW, Desk, fresh, hold_the_clock, region

pytestmark = pytest.mark.journey


def test_times_run_on_the_clock_of_the_server(page: Any, render: Callable[..., str]) -> None:
    """The browser's clock is what this machine's is: months away from NOW."""
    hold_the_clock(page)
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    two_minutes_ago, soon = (f"{NOW - timedelta(seconds=125):{stamp}}", f"{NOW + timedelta(hours=1):{stamp}}")
    desk = Desk(
        page,
        render(
            f'<time id="age" datetime="{two_minutes_ago}" data-rel="age"></time>'
            f'<time id="left" datetime="{soon}" data-rel="left"></time>'
            f'<time id="today" datetime="{two_minutes_ago}" data-rel="clock"></time>'
            '<time id="before" datetime="2026-03-13T22:08:41Z" data-rel="clock"></time>'
        ),
    )
    assert page.locator("#age").inner_text() == "2 min 5 s"
    assert page.locator("#today").inner_text() == "03:14:15 UTC"
    assert page.locator("#before").inner_text() == "2026-03-13 22:08:41 UTC"
    assert page.locator(".utc").inner_text().startswith("03:16:20")
    page.evaluate("passed = 4000")
    page.wait_for_function("() => document.querySelector('#age').textContent === '2 min 9 s'")
    tomorrow = NOW + timedelta(days=1)
    desk.answer = lambda: {"status": 204, "headers": fresh(Date=format_datetime(tomorrow, usegmt=True))}
    desk.poll()
    assert page.locator("#age").inner_text() == "1 d"
    assert page.locator("#left").inner_text() == "0 s"
    assert page.locator("#today").inner_text() == "2026-03-14 03:14:15 UTC"
    assert page.locator(".utc").inner_text().startswith("03:16:20")


def test_a_second_of_jitter_in_the_date_does_not_move_the_clock(page: Any, render: Callable[..., str]) -> None:
    hold_the_clock(page)
    desk = Desk(page, render())
    desk.poll()
    before = page.evaluate("desk.now() - performance.now()")
    for passed in (100, 900, 1900):
        page.evaluate("passed => { window.passed = passed }", passed)
        said = page.evaluate("new Date(Math.floor(desk.now() / 1000) * 1000).toUTCString()")
        desk.answer = lambda said=said: {"status": 204, "headers": fresh(Date=said)}  # type: ignore[misc]
        desk.poll()
        assert page.evaluate("desk.now() - performance.now()") == before


def test_the_browser_writes_lengths_and_moments_in_the_words_of_the_server(
    page: Any, render: Callable[..., str]
) -> None:
    Desk(page, render())
    lengths = [-5, 0, 0.9, 1, 59, 60, 61, 600, 3599, 3600, 3660, 3661, 86399, 86400, 90000, 154800, 864000, 86400 * 400]
    assert page.evaluate("all => all.map(desk.duration)", lengths) == [words.duration(length) for length in lengths]
    moments = [NOW - timedelta(seconds=length) for length in lengths] + [NOW.replace(hour=0, minute=0, second=0)]
    assert page.evaluate(
        "([all, now]) => all.map(each => desk.clock(Date.parse(each), Date.parse(now)))",
        [[moment.isoformat() for moment in moments], NOW.isoformat()],
    ) == [words.clock(moment, NOW) for moment in moments]


def test_a_gauge_grows_with_the_age_that_it_shows(page: Any, render: Callable[..., str]) -> None:
    hold_the_clock(page)
    html = render(
        root="{% gauge 0.5 'normal' 'x' since=since objective=600 %}".replace("since=since", "since=desk.now")
        + region()
    )
    desk = Desk(page, html)
    later = format_datetime(NOW + timedelta(minutes=15), usegmt=True)
    desk.answer = lambda: {"status": 204, "headers": fresh(Date=later)}
    desk.poll()
    assert page.locator(".gauge .used").get_attribute("width") == "50%"
    assert float(str(page.locator(".gauge .over").get_attribute("width")).rstrip("%")) == pytest.approx(25, abs=1)


def test_at_the_deadline_the_buttons_go_dead_and_the_page_says_so(page: Any, render: Callable[..., str]) -> None:
    ends = (NOW + timedelta(minutes=30)).isoformat()
    inside = (
        f'<section data-ends="{ends}"><p data-ended hidden>The time is over.</p>'
        '<button name="decision" value="approve">Approve</button><button name="other">Copy</button></section>'
    )
    desk = Desk(page, render(inside))
    button, words = page.locator("button[name=decision]"), page.get_by_text("The time is over.")
    assert button.is_enabled()
    assert words.is_hidden()
    late = format_datetime(NOW + timedelta(minutes=31), usegmt=True)
    desk.answer = lambda: {"status": 204, "headers": fresh(Date=late)}
    desk.poll()  # the server's clock says it, whatever the browser's says
    words.wait_for(state="visible")
    assert button.is_disabled()
    assert page.locator("button[name=other]").is_enabled()
