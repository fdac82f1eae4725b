"""The scripts in a real browser: dialogs, what is typed into them, and the theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.journeys.scripting import Desk, fresh, region

pytestmark = pytest.mark.journey


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
