"""The scripts in a real browser, against answers that the test makes up: what turns a page stale, and what keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.journeys.scripting import Desk, fresh, hold_the_clock, let_it_run, region

pytestmark = pytest.mark.journey


def watchdog(page: Any, selector: str) -> float:
    """Where the watchdog of an element stands, in seconds."""
    return float(page.evaluate(f"document.querySelector({selector!r}).getAnimations()[0].currentTime")) / 1000


# ── Notices: why nothing is sent ──


def test_a_poll_says_which_notices_the_page_has_and_puts_others_in(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render())
    had: list[str | None] = []
    page.on("request", lambda asked: had.append(asked.headers.get("x-notices")) if "/live/" in asked.url else None)
    told = '<div id="notices" class="stack" data-version="7" hx-swap-oob="true"><p>Held: nothing is sent.</p></div>'
    desk.answer = lambda: {"status": 200, "headers": fresh(**{"HX-Reswap": "none"}), "body": told}
    page.evaluate("document.getElementById('list').dataset.same = 'yes'")
    desk.poll()
    assert page.locator("#notices").is_visible()
    assert page.locator("#notices").inner_text() == "Held: nothing is sent."
    assert page.locator("#list").get_attribute("data-same") == "yes", "the rest of the page stays as it is"
    desk.answer = lambda: {"status": 204, "headers": fresh()}
    desk.poll()
    assert had == ["0", "7"]


def test_a_desk_whose_database_is_away_says_so_above_what_was_typed(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render('<input id="typed" hx-preserve>'))
    page.locator("#typed").fill("/dr/dc1/finance")
    words = "The database does not answer."
    desk.answer = lambda: {"status": 503, "headers": fresh(**{"X-Unavailable": words}), "body": "not for the page"}
    desk.poll()
    banner = page.locator("[data-unavailable]")
    assert banner.is_visible()
    assert banner.inner_text().startswith(words)
    assert page.locator("#typed").input_value() == "/dr/dc1/finance"
    desk.answer = lambda: {"status": 204, "headers": fresh()}
    desk.poll()
    assert banner.is_hidden()


def test_what_may_have_been_done_stays_said_when_the_database_is_back(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render())
    words = {"X-Unavailable": "The database does not answer.", "X-Unknown": "1"}
    desk.answer = lambda: {"status": 503, "headers": fresh(**words), "body": "not for the page"}
    desk.poll()
    desk.answer = lambda: {"status": 204, "headers": fresh()}
    desk.poll()
    banner = page.locator("[data-unavailable]")
    assert "may have been done, or not" in banner.inner_text()
    assert "Nothing was changed" not in banner.inner_text()


# ── Freshness ──


@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_with_young_data_winds_the_watchdogs_up_to_the_age_of_the_data(
    page: Any, render: Callable[..., str], status: int
) -> None:
    desk = Desk(page, render())
    desk.answer = lambda: {"status": status, "headers": fresh(), "body": region() if status == 200 else ""}
    let_it_run(page, 40)
    desk.poll()
    for part in (".live", "#fresh > .if-live", "#fresh > .if-stale"):
        assert 3 <= watchdog(page, part) < 20, part
    assert page.locator("#fresh .if-live").is_visible()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Build": "b1"}, id="no age"),
        pytest.param({"X-Build": "b1", "X-Observed-Age": ""}, id="an empty age"),
        pytest.param({"X-Build": "b1", "X-Observed-Age": "45"}, id="an age at the limit"),
        pytest.param({"X-Build": "b1", "X-Observed-Age": "NaN"}, id="an age that is no number"),
        pytest.param({"X-Build": "b1", "X-Observed-Age": "-7200"}, id="an age in the future"),
        pytest.param({"X-Observed-Age": "1"}, id="no build: not ours"),
    ],
)
def test_an_answer_without_young_data_winds_nothing_up(
    page: Any, render: Callable[..., str], headers: dict[str, str]
) -> None:
    desk = Desk(page, render())
    desk.answer = lambda: {"status": 204, "headers": headers}
    let_it_run(page, 40)
    desk.poll()
    assert watchdog(page, ".live") >= 40
    assert watchdog(page, "#fresh > .if-stale") >= 40


@pytest.mark.parametrize("silence", ["204 without an age", "500", "cut"])
def test_without_young_data_the_page_turns_stale_by_itself(page: Any, render: Callable[..., str], silence: str) -> None:
    desk = Desk(page, render(), stale_after="2s")
    answers: dict[str, dict[str, Any]] = {
        "204 without an age": {"status": 204, "headers": {"X-Build": "b1"}},
        "500": {"status": 500},
    }
    desk.answer = lambda: answers[silence]
    if silence == "cut":
        page.route("**/live/**", lambda route: route.abort())
    page.evaluate("htmx.trigger('#list', 'poll')")
    page.locator("#fresh .if-stale").wait_for(state="visible")
    page.wait_for_function("() => getComputedStyle(document.querySelector('.live')).filter === 'grayscale(1)'")
    assert page.locator("#fresh .if-live").is_hidden()


def test_a_page_that_went_stale_recovers_with_the_next_young_answer(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render())
    let_it_run(page, 60)
    page.locator("#fresh .if-stale").wait_for(state="visible")
    desk.poll()
    page.locator("#fresh .if-live").wait_for(state="visible")
    assert page.locator("#fresh .if-stale").is_hidden()


def test_data_that_was_never_read_is_stale_on_arrival_until_it_is_read(page: Any, render: Callable[..., str]) -> None:
    hold_the_clock(page)
    desk = Desk(page, render())
    assert page.locator("#fresh").get_attribute("data-stale") is not None
    assert page.locator("#fresh .if-stale").is_visible()
    desk.poll()
    assert page.locator("#fresh").inner_text() == "Data 3 s old"


def test_a_page_without_a_polled_root_claims_nothing_about_freshness(page: Any, render: Callable[..., str]) -> None:
    Desk(page, render(root='<div id="list">ended</div>'))
    assert page.locator("#fresh").is_hidden()


def test_a_page_of_a_proxy_with_status_200_is_never_swapped_in(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render("<b id='mine'>mine</b>"))
    desk.answer = lambda: {"status": 200, "body": "<h1 id='portal'>Accept the terms</h1>"}
    desk.poll()
    assert page.locator("#mine").is_visible()
    assert page.locator("#portal").count() == 0
    desk.answer = lambda: {"status": 200, "headers": fresh(), "body": region("<b id='new'>new</b>", seen="2")}
    desk.poll()
    assert page.locator("#new").is_visible()
    assert desk.polls[-1].endswith("seen=1")
    desk.poll()
    assert desk.polls[-1].endswith("seen=2")


# ── What a swap must not lose ──


def test_open_menus_and_the_focus_survive_a_swap(page: Any, render: Callable[..., str]) -> None:
    row = (
        '<details class="menu" id="m1"><summary id="s1">More</summary>'
        '<ul><li><a id="a1" href="#x">x</a></li></ul></details>'
        '<details class="menu"><summary>Other</summary></details>'
    )
    desk = Desk(page, render(row))
    page.locator("#s1").click()
    page.locator("#a1").focus()
    desk.answer = lambda: {"status": 200, "headers": fresh(), "body": region(row + "<i id='swapped'></i>", seen="2")}
    desk.poll()
    assert page.locator("#swapped").count() == 1
    assert page.locator("#m1").get_attribute("open") is not None
    assert page.evaluate("document.activeElement.id") == "a1"


def test_a_poll_leaves_what_is_typed_elsewhere_alone(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render(root='<input id="q" type="search">' + region()))
    page.keyboard.press("/")
    page.keyboard.type("fin")
    desk.answer = lambda: {"status": 200, "headers": fresh(), "body": region("<i id='swapped'></i>", seen="2")}
    desk.poll()
    page.keyboard.type("ance")
    assert page.locator("#swapped").count() == 1
    assert page.locator("#q").input_value() == "finance"


# ── Signed out ──


def test_signed_out_the_page_says_so_and_keeps_its_text(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render(root='<textarea id="why"></textarea>' + region("<b id='mine'>mine</b>")))
    page.locator("#why").fill("Row C lost power.")
    desk.answer = lambda: {"status": 204, "headers": {"X-Build": "b1", "X-Signed-Out": "1"}}
    desk.poll()
    page.locator("#signed-out").wait_for(state="visible")
    assert page.locator("#why").input_value() == "Row C lost power."
    assert page.locator("#mine").is_visible()
    assert desk.visited == ["/page/"]
    desk.answer = lambda: {"status": 204, "headers": fresh()}
    desk.poll()
    assert page.locator("#signed-out").is_hidden()
