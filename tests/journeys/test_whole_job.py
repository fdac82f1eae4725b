"""The whole job in a real browser, on real processes: one person asks, another approves, and the page walks through all
steps by itself to "The target is writable". The official `qq` sees it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.journeys.desk import Desk, Processes, demo, up

pytestmark = pytest.mark.journey
REASON = "dc1-prod lost power in row C. Finance closes its month at 06:00."


def _running(tmp_path_factory: Any, start: Callable[[Processes], Desk]) -> Iterator[Desk]:
    processes = Processes(tmp_path_factory.mktemp(start.__name__))
    try:
        yield start(processes)
    finally:
        processes.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    yield from _running(tmp_path_factory, demo)


@pytest.fixture(scope="module")
def own_desk(tmp_path_factory) -> Iterator[Desk]:
    """As an admin sets it up for clusters of their own."""
    yield from _running(tmp_path_factory, up)


class Person:
    """Somebody at a browser of their own. Whatever the browser complains about ends the test."""

    def __init__(self, browser: Any, desk: Desk, name: str, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 1000}, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.desk, self.name = desk, name

    def _hear(self, said: Any) -> None:
        if said.type == "error":
            self.complaints.append(said.text)

    def signs_in(self) -> Person:
        self.page.goto(self.desk.url + "/")
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(self.desk.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.desk.url + "/")
        return self

    def leaves(self) -> None:
        assert not self.complaints
        self.context.close()

    def presses(self, what: Any) -> None:
        """Where nothing covers it, but in one event: between the down and the up of a click a poll may put another node
        in the place."""
        what.click(trial=True)
        what.dispatch_event("click")

    def opens(self, path: str) -> None:
        """From the list to the dialog; the list has such buttons, too, one in each row."""
        self.presses(self.page.locator("a.rel", has_text=path))
        self.page.locator("h1", has_text=path).wait_for()
        self.presses(self.page.locator("a#act", has_text="Fail over…"))

    def asks(self, path: str) -> str:
        """From the list to the page of the request; gives its address."""
        page = self.page
        page.goto(self.desk.url + "/")
        self.opens(path)
        page.get_by_label("To confirm, type the target path").fill(path)
        page.get_by_label("Why is this failover needed?").fill(REASON)
        self.presses(page.get_by_role("button", name="Request failover"))
        page.wait_for_url("**/failovers/FO-*/")
        return str(page.url)

    def approves(self, url: str) -> None:
        """With the tick for what has changed since; once more when something else had, before the answer was there."""
        page = self.page
        page.goto(url)
        form = page.locator("form", has=page.locator("#approve"))
        for _ in range(3):
            page.get_by_label("Comment").fill("Go.")
            page.get_by_label("Your password").fill(self.desk.password)
            page.locator("#approve", has_text="Approve and start").click(trial=True)
            with page.expect_navigation():  # in one piece: a poll may bring another tick at any moment
                form.evaluate("it => { it.querySelector('#seen:not(:checked)')?.click(); it.approve.click() }")
            if not form.count():
                return
            page.locator("#seen-e").wait_for()
            self.complaints = [each for each in self.complaints if "422" not in each]
        raise AssertionError("something changed before each of three approvals")


@pytest.mark.parametrize("which", ["desk", "own_desk"])
def test_one_asks_another_approves_and_it_is_seen_through(request, browser, which):
    desk = request.getfixturevalue(which)
    rivera, lind = Person(browser, desk, "a.rivera").signs_in(), Person(browser, desk, "j.lind").signs_in()
    url = rivera.asks("/dr/dc3/reference")
    rivera.page.get_by_role("button", name="Cancel request").wait_for()
    assert not rivera.page.get_by_role("button", name="Approve").count()

    lind.approves(url)
    # The requester's page was not touched since; its own polls carry it through.
    for step in ("Make-writable sent", "Reverting"):
        rivera.page.get_by_text(step).first.wait_for(timeout=60_000)
    rivera.page.get_by_text("The target is writable.").wait_for(timeout=120_000)
    lind.page.get_by_text("The target is writable.").wait_for()

    seen = desk.qq("dr-west", "replication_list_target_relationship_statuses")
    made = next(row for row in seen if row["target_root_path"] == "/dr/dc3/reference/")
    assert (made["state"], made["target_root_read_only"]) == ("DISCONNECTED", False)
    assert made["recovery_point_snapshot"]["name"].startswith("revert_to_")
    assert len([post for post in desk.posts("dr-west") if made["id"] in post["path"]]) == 1
    rivera.leaves()
    lind.leaves()


def test_the_dialog_keeps_what_is_typed_and_enter_sends_nothing(browser, desk):
    rivera = Person(browser, desk, "a.rivera").signs_in()
    page = rivera.page
    page.goto(desk.url + "/")
    polls: list[str] = []
    page.on("requestfinished", lambda request: polls.append(request.url))
    rivera.opens("/dr/dc3/projects")
    field = page.get_by_label("To confirm, type the target path")
    field.fill("/dr/dc3/projects")
    page.get_by_label("Why is this failover needed?").fill(REASON)
    page.get_by_text("The path matches").wait_for()
    field.press("Enter")
    while sum("/checks/live/" in url for url in polls) < 2:  # each goes by under, or inside, the open dialog
        page.wait_for_event("requestfinished")
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
    assert "/failovers/" not in page.url
    assert field.input_value() == "/dr/dc3/projects"
    assert page.locator("dialog[open]").count() == 1
    rivera.presses(page.get_by_role("link", name="Cancel", exact=True))
    page.locator("dialog[open]").wait_for(state="detached")
    rivera.leaves()


def test_a_wrong_path_comes_back_with_what_was_typed_and_one_sentence(browser, desk):
    rivera = Person(browser, desk, "a.rivera", java_script_enabled=False).signs_in()
    page = rivera.page
    rivera.opens("/dr/dc3/projects")
    field = page.get_by_label("To confirm, type the target path")
    field.fill("/dr/dc3/project")
    page.get_by_label("Why is this failover needed?").fill(REASON)
    page.locator("form").filter(has=field).evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Request failover").click()
    page.get_by_text("The path does not match. Type /dr/dc3/projects").first.wait_for()
    assert field.input_value() == "/dr/dc3/project"
    assert page.get_by_label("Why is this failover needed?").input_value() == REASON
    rivera.context.close()  # the browser complains about the 422 of the refusal


def test_the_whole_job_works_without_javascript(browser, desk):
    rivera = Person(browser, desk, "a.rivera", java_script_enabled=False).signs_in()
    lind = Person(browser, desk, "j.lind", java_script_enabled=False).signs_in()
    url = rivera.asks("/dr/dc1/engineering")  # no other journey needs it as it was
    lind.approves(url)
    for _ in range(90):
        rivera.page.goto(url)
        if rivera.page.get_by_text("The target is writable.").count():
            break
        rivera.page.wait_for_timeout(2000)
    assert rivera.page.get_by_text("The target is writable.").count()
    rivera.leaves()
    lind.leaves()


def test_the_wall_goes_stale_by_its_own_clock_when_answers_stop(browser, desk):
    viewer = Person(browser, desk, "a.rivera").signs_in()
    page = viewer.page
    page.goto(desk.url + "/wall/")
    page.locator(".w-clusters, .w-grid").first.wait_for()
    stale = page.locator(".w-stale")
    # A desk that has just been started has read nothing yet, and says so.
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.w-stale')).visibility === 'hidden'", timeout=60_000
    )
    page.route("**/wall/live/**", lambda route: route.abort())
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.w-stale')).visibility === 'visible'", timeout=90_000
    )
    assert "STALE" in stale.inner_text()
    assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight")
    page.unroute("**/wall/live/**")
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.w-stale')).visibility === 'hidden'", timeout=60_000
    )
    viewer.context.close()  # the cut polls are complaints, and meant


def test_a_signed_out_page_keeps_what_was_typed(browser, desk):
    rivera = Person(browser, desk, "a.rivera").signs_in()
    page = rivera.page
    rivera.opens("/hub/pos-14")
    page.get_by_label("Why is this failover needed?").fill(REASON)
    rivera.context.clear_cookies()
    page.get_by_text("You are signed out").first.wait_for()
    assert page.get_by_label("Why is this failover needed?").input_value() == REASON
    rivera.leaves()
