"""The scripts in a real browser, against answers that the test makes up: what turns a page stale, and what keeps it.

No server and no database: the page is rendered once, and the browser's requests are answered here, under the product's
own Content-Security-Policy. Nothing waits for a fixed time; a page that must go stale has a short --stale-after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template import engines
from django.test import RequestFactory

from dashboard import words
from tests.conftest import Cast
from tests.journeys.conftest import CHROMIUM

HOST = "http://127.0.0.1:9"  # nothing listens there; every request is answered by `Desk`
NOW = datetime(2026, 3, 14, 3, 16, 20, tzinfo=UTC)

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


def policy() -> str:
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives.items() if name != "report-uri")


class Desk:
    """A page in the browser, and the server that it believes in. `answers` is asked for each poll."""

    def __init__(self, page: Any, html: str, *, stale_after: str = "45s") -> None:
        self.page, self.html, self.stale_after = page, html, stale_after
        self.polls: list[str] = []
        self.answer: Callable[[], dict[str, Any]] = lambda: {"status": 204, "headers": fresh()}
        self.visited: list[str] = []
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.route("**/*", self._serve)
        page.goto(f"{HOST}/page/")

    def _serve(self, route: Any) -> None:
        path = route.request.url.removeprefix(HOST).partition("?")[0]
        if path.startswith("/static/"):
            body = Path(str(finders.find(path.removeprefix("/static/")))).read_text(encoding="utf-8")
            if path.endswith("tokens.css"):
                body = re.sub(r"--stale-after: \d+s", f"--stale-after: {self.stale_after}", body)
            kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rsplit(".", 1)[1]]
            route.fulfill(body=body, content_type=f"{kind}; charset=utf-8")
        elif path.endswith("/live/"):
            self.polls.append(route.request.url)
            route.fulfill(**self.answer())
        else:
            self.visited.append(path)
            route.fulfill(
                body=self.html,
                content_type="text/html; charset=utf-8",
                headers={"Content-Security-Policy": policy(), "Content-Type": "text/html; charset=utf-8"},
            )

    def poll(self) -> None:
        """One poll, from the request to the end of its answer."""
        with self.page.expect_response("**/live/**"):
            self.page.evaluate("htmx.trigger('[hx-trigger^=every]', 'poll')")
        self.page.wait_for_function("() => !document.querySelector('.htmx-request')")


def fresh(**more: str) -> dict[str, str]:
    return {"X-Build": "unhashed", "X-Observed-Age": "3.0", "Date": format_datetime(NOW, usegmt=True)} | more


def region(inside: str = "", seen: str = "1") -> str:
    return (
        f'<div class="live" id="list" hx-get="/x/live/?seen={seen}" hx-trigger="every 600s, poll" hx-swap="outerHTML">'
        f"{inside}</div>"
    )


@pytest.fixture
def render(cast: Cast) -> Callable[..., str]:
    """base.html (or another) as it is, with a polled root in it, made at NOW."""

    def render(inside: str = "", *, base: str = "base.html", block: str = "main", root: str = "") -> str:
        request = RequestFactory().get("/page/")
        request.user = cast.rivera
        source = "{% extends base %}{% block title %}Page{% endblock %}{% block BLOCK %}ROOT{% endblock %}"
        source = source.replace("BLOCK", block).replace("ROOT", root or region(inside))
        with time_machine.travel(NOW, tick=False):
            return str(engines["django"].from_string(source).render({"base": base}, request))

    return render


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def watchdog(page: Any, selector: str) -> float:
    """Where the watchdog of an element stands, in seconds."""
    return float(page.evaluate(f"document.querySelector({selector!r}).getAnimations()[0].currentTime")) / 1000


def let_it_run(page: Any, seconds: float) -> None:
    """As if so much time had passed for the watchdogs."""
    page.evaluate(
        "seconds => document.getAnimations().forEach(animation => { animation.currentTime += seconds * 1000 })", seconds
    )


def hold_the_clock(page: Any) -> None:
    """For a page that is loaded after this. What is written there stays as it was at `passed`, milliseconds after it
    came; the watchdogs are the browser's own and run."""
    page.add_init_script("window.passed = 0; performance.now = () => window.passed")


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


# ── Clocks ──


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


# ── Dialogs and manners ──


def test_what_is_to_be_typed_follows_the_boxes(page: Any, render: Callable[..., str]) -> None:
    boxes = "".join(
        f'<input class="tick" type="checkbox" data-target="{target}" data-typed="{typed}" checked>'
        for target, typed in (("dr-west", "/dr/a"), ("dr-west", "/dr/b (1)"), ("dr-east", "/dr/c"))
    )
    form = (
        f'<form data-counts="#picked" data-confirms="#typed">{boxes}<b id="picked">0</b>'
        '<p id="typed-h"><code></code></p><input id="typed" required></form>'
    )
    Desk(page, render(root=form))
    told, field = page.locator("#typed-h code"), page.locator("#typed")

    def fits(text: str) -> bool:
        field.fill(text)
        return bool(field.evaluate("node => node.validity.valid"))

    assert (told.inner_text(), page.locator("#picked").inner_text()) == ("dr-east 1, dr-west 2", "3")
    assert fits("dr-east 1, dr-west 2")
    assert not fits("dr-west 3")
    page.locator("input.tick").nth(0).uncheck()
    assert told.inner_text() == "dr-east 1, dr-west 1"
    page.locator("input.tick").nth(2).uncheck()
    assert (told.inner_text(), page.locator("#picked").inner_text()) == ("/dr/b (1)", "1")
    assert fits("/dr/b (1)")
    assert not fits("/dr/b 1")


DIALOG = (
    '<dialog open id="failover-dialog" data-back="/back/"><form method="post"><input id="typed">'
    '<a class="btn" id="cancel" data-close href="/back/" autofocus>Cancel</a></form></dialog>'
)


def test_a_dialog_that_is_a_page_becomes_modal_and_leads_back(page: Any, render: Callable[..., str]) -> None:
    html = render().replace('<div id="dialog-slot"></div>', f'<div id="dialog-slot">{DIALOG}</div>')
    html = html.replace('<header class="bar">', '<header class="bar" inert>')
    desk = Desk(page, html)
    assert page.locator("#failover-dialog").evaluate("node => node.matches(':modal')")
    assert page.evaluate("document.activeElement.id") == "cancel"
    assert page.locator("header.bar").get_attribute("inert") is None
    page.keyboard.press("Escape")
    page.wait_for_url("**/back/")
    assert desk.visited == ["/page/", "/back/"]


def test_a_fetched_dialog_survives_polls_and_gives_the_focus_back(page: Any, render: Callable[..., str]) -> None:
    opener = '<button id="open" hx-get="/dialog/live/" hx-target="#dialog-slot" hx-swap="innerHTML">Fail over…</button>'
    desk = Desk(page, render(opener))
    desk.answer = lambda: {"status": 200, "headers": fresh(), "body": DIALOG}
    page.locator("#open").click()
    page.locator("#failover-dialog:modal").wait_for()
    page.locator("#typed").fill("/dr/dc1/finance")
    again = region(opener + "<i id='swapped'></i>", seen="2")  # the button that opened it is another node now
    desk.answer = lambda: {"status": 200, "headers": fresh(), "body": again}
    desk.poll()
    assert page.locator("#swapped").count() == 1
    assert page.locator("#failover-dialog").evaluate("node => node.matches(':modal')")
    assert page.locator("#typed").input_value() == "/dr/dc1/finance"
    page.locator("#cancel").click()
    page.locator("dialog").wait_for(state="detached")  # the browser tells of a closed dialog in a task of its own
    assert page.evaluate("document.activeElement.id") == "open"
    assert desk.visited == ["/page/"]


def test_the_theme_is_kept_and_set_before_the_page_is_painted(page: Any, render: Callable[..., str]) -> None:
    Desk(page, render())
    page.locator("#account summary").click()
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 16, 15)"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("#account summary").click()
    page.get_by_role("button", name="Theme: follow system").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") is None


def test_everything_holds_under_the_policy_and_the_sprite_is_drawn(page: Any, render: Callable[..., str]) -> None:
    desk = Desk(page, render("{% health 'critical' %}"))
    desk.poll()
    page.keyboard.press("/")
    assert desk.said == []
    page.wait_for_function("() => document.querySelector('.tag use').getBBox().width > 0")


# ── The wall ──

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
