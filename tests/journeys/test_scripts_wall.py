"""The scripts in a real browser: the wall, which nobody is there to load again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.journeys.scripting import Desk, fresh, let_it_run

pytestmark = pytest.mark.journey


SCREEN = (
    '<div class="w-screen" id="wall-screen" hx-get="/wall/live/?seen=1" hx-trigger="every 600s, poll"'
    ' hx-swap="outerHTML"></div>'
)


def wall(page: Any, render: Callable[..., str], **more: str) -> Desk:
    return Desk(page, render(base="wall_base.html", block="wall", root=SCREEN), **more)


def test_the_wall_says_stale_over_the_whole_screen_and_recovers(page: Any, render: Callable[..., str]) -> None:
    desk = wall(page, render)
    desk.poll()
    page.locator(".w-stale").wait_for(state="hidden")
    let_it_run(page, 70)
    page.locator(".w-stale").wait_for(state="visible")
    box = page.locator(".w-stale > div").bounding_box()
    assert box["width"] == 1440
    assert re.search(r"No new data for \d+ s, since 03:16:\d\d UTC", page.locator(".w-stale").inner_text())
    desk.poll()
    page.locator(".w-stale").wait_for(state="hidden")


def test_the_wall_reloads_once_for_a_new_build_and_not_again_within_a_minute(
    page: Any, render: Callable[..., str]
) -> None:
    desk = wall(page, render)
    desk.poll()
    assert desk.visited == ["/page/"]
    desk.answer = lambda: {"status": 204, "headers": fresh(**{"X-Build": "b2"})}
    with page.expect_navigation():
        desk.page.evaluate("htmx.trigger('#wall-screen', 'poll')")
    desk.poll()
    desk.answer = lambda: {"status": 204, "headers": fresh(**{"X-Build": "b3"})}
    desk.poll()
    assert desk.visited == ["/page/", "/page/"]
    page.evaluate("sessionStorage.setItem('reloaded', JSON.stringify({build: 'b2', at: Date.now() - 61000}))")
    with page.expect_navigation():
        desk.page.evaluate("htmx.trigger('#wall-screen', 'poll')")


def test_a_signed_out_wall_asks_for_its_page_again(page: Any, render: Callable[..., str]) -> None:
    desk = wall(page, render)
    desk.answer = lambda: {"status": 204, "headers": {"X-Build": "unhashed", "X-Signed-Out": "1"}}
    with page.expect_navigation():
        desk.page.evaluate("htmx.trigger('#wall-screen', 'poll')")
    assert desk.visited == ["/page/", "/page/"]
