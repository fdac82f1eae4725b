"""A site is down, in a real browser on real processes: several relationships are chosen, asked for as one request,
approved with the tick for what changed, and followed until each is writable. And the night in which nobody answers: the
glass is broken, everybody sees it, and somebody else reviews it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.desk import Desk, Processes, demo
from tests.journeys.test_whole_job import REASON, Person

pytestmark = pytest.mark.journey
PATHS = ("/dr/dc3/reference", "/dr/dc3/publish", "/dr/dc3/projects")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: Any) -> Iterator[Desk]:
    processes = Processes(tmp_path_factory.mktemp("site"))
    try:
        yield demo(processes)
    finally:
        processes.close()


def made_writable(desk: Desk) -> dict[str, Any]:
    """Relationship by its target path, as the official client sees those of dr-west."""
    seen = desk.qq("dr-west", "replication_list_target_relationship_statuses")
    return {row["target_root_path"].rstrip("/"): row for row in seen}


def test_several_are_chosen_asked_for_approved_and_seen_through(browser, desk):
    rivera = Person(browser, desk, "a.rivera").signs_in()
    page = rivera.page
    page.locator("a.rel", has_text=PATHS[0]).wait_for()
    rivera.presses(page.get_by_role("link", name="Select several…"))
    page.get_by_label("Path, cluster, error or ID").fill("dc3")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/*q=dc3*")
    for path in PATHS:
        page.locator("label.rel", has_text=path).click()
    page.locator("#picked", has_text=re.compile(r"^3$")).wait_for()
    page.get_by_role("button", name="Continue").click()

    # The last one starts first; what is to be typed follows the boxes.
    page.get_by_label(f"Place of {PATHS[2]} in the order").fill("1")
    page.locator("input.tick").first.uncheck()
    page.get_by_text("dr-west 2", exact=True).wait_for()
    page.locator("input.tick").first.check()
    page.get_by_label("To confirm, type the target cluster and how many").fill("dr-west 3")
    page.get_by_label("Why is this failover needed?").fill(REASON)
    page.get_by_role("button", name="Request failover").click()
    page.wait_for_url("**/failovers/FO-*/")
    page.get_by_role("heading", name="Make 3 targets on dr-west writable?").wait_for()

    # On a phone: nothing to scroll sideways for.
    lind = Person(browser, desk, "j.lind").signs_in()
    lind.page.set_viewport_size({"width": 390, "height": 844})
    lind.page.goto(page.url)
    assert lind.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    lind.approves(page.url)

    # The requester's page was not touched since; its own polls carry it through.
    page.get_by_text("All 3 targets are writable.").wait_for(timeout=180_000)
    seen = made_writable(desk)
    for path in PATHS:
        assert (seen[path]["state"], seen[path]["target_root_read_only"]) == ("DISCONNECTED", False)
        assert len([post for post in desk.posts("dr-west") if seen[path]["id"] in post["path"]]) == 1
    page.locator("ol.items li").first.get_by_role("link").click()
    page.wait_for_url("**/failovers/FO-*/1/")
    page.get_by_text("The target is writable.").wait_for()
    rivera.leaves()
    lind.leaves()


def test_the_glass_is_broken_by_one_seen_by_all_and_reviewed_by_others(browser, desk):
    tanaka = Person(browser, desk, "s.tanaka").signs_in()
    page = tanaka.page
    tanaka.opens("/dr/dc1/finance")
    page.get_by_label("To confirm, type the target path").fill("/dr/dc1/finance")
    page.get_by_label("Why is this failover needed?").fill("No approver answered within 10 min. Ward systems are down.")
    page.get_by_text("Nobody can approve in time?").click()
    page.get_by_label("Your password").fill(desk.password)
    page.get_by_role("button", name="Break glass and start failover").click()
    page.wait_for_url("**/failovers/FO-*/")
    url = str(page.url)
    page.get_by_text("The target is writable.").wait_for(timeout=180_000)
    assert page.locator("h1 .glass-tag").inner_text() == "Break-glass"

    for name, done in (("k.osei", "1 of 2"), ("m.okafor", "2 of 2")):
        other = Person(browser, desk, name).signs_in()
        other.page.goto(desk.url + "/approvals/")
        other.presses(other.page.locator("article.glass").get_by_role("link", name="Review"))
        other.page.get_by_label("Your review").fill("It was right: the ward could not wait.")
        other.page.get_by_label("Your password").fill(desk.password)
        other.page.get_by_role("button", name="Record review").click()
        other.page.get_by_text(f"{done} reviews done.").wait_for()
        other.leaves()
    page.goto(url)
    page.get_by_text("It has been reviewed.").wait_for()
    tanaka.leaves()
