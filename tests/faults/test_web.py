"""People's clicks and verbs, cut off in the middle; and a wall whose session ends."""

from __future__ import annotations

import html
import re
import signal
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.faults.auditor import audit
from tests.faults.site import Said, Site
from tests.faults.worlds import UNHURRIED, paths, quick

KILLED = -signal.SIGKILL


@pytest.mark.row("F1")
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_an_approval_that_was_committed_is_carried_out_though_the_web_process_died(make_site, browse, engine):
    """No bell is heard by anybody; the approver sees a broken page, and after loading it again what became of it."""
    site = make_site(engine=engine, world=quick(), scale=UNHURRIED)
    site.redis()
    site.web(CRASH_AT="approve.after_commit")
    failover, page = _click_and_lose(site, browse)
    assert site.state(failover) == "approved"
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    assert "The target is writable." in page().text
    audit(site)


@pytest.mark.row("F2")
def test_an_approval_that_was_not_committed_never_happened(make_site, browse):
    site = make_site(world=quick(), scale=UNHURRIED)
    site.redis()
    web = site.web(CRASH_AT="approve.changed")
    before = site.query("SELECT count(*) AS entries FROM audit_entry")
    failover, page = _click_and_lose(site, browse)
    site.sweep()
    assert site.state(failover) == "requested"
    assert site.query("SELECT * FROM failovers_decision") == []
    tags = [entry["tag"] for entry in site.query("SELECT tag FROM audit_entry ORDER BY seq")[before[0]["entries"] :]]
    assert not {"decision.made", "request.approved"} & set(tags)
    assert 'name="decision"' in page().text  # it still waits for somebody
    site.stop(web, signal.SIGKILL)
    site.web()
    browse(site, "j.lind").approve(site.act("number", failover=failover))
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


def _click_and_lose(site: Site, browse: Callable[..., Any]) -> tuple[int, Callable[[], httpx.Response]]:
    """k.osei clicks, and the process that was to answer dies. Returns the failover, and a way to load its page."""
    (failover,) = site.asked(*paths(site.world))["failovers"]
    number = site.act("number", failover=failover)
    browser = browse(site, "k.osei")
    with pytest.raises(httpx.TransportError):
        browser.approve(number)
    return failover, lambda: browser.http.get(f"/failovers/{number}/")


def test_whatever_a_person_does_is_done_whole_or_not_at_all(make_site):
    """Killed in the transaction, nothing has happened, and the same act is good afterwards; killed behind the commit,
    everything has, and the same form sent again finds it."""
    site = make_site(world=quick(3), scale=UNHURRIED)
    first, second, third = paths(site.world)
    form = {"paths": [first], "nonce": str(uuid.uuid4())}
    assert site.act("die", at="request.in_commit", doing="request", **form) == KILLED
    assert site.query("SELECT * FROM failovers_request") == []
    assert site.act("die", at="request.after_commit", doing="request", **form) == KILLED
    (made,) = site.query("SELECT id, request_id FROM failovers_failover")
    assert site.act("request", **form)["failovers"] == [made["id"]]

    cancelled, rejected = (site.asked(path) for path in (second, third))
    for place, verb, asked, tag in (
        ("reject.changed", "reject", rejected, "request.rejected"),
        ("cancel.changed", "cancel", cancelled, "request.cancelled"),
    ):
        (failover,) = asked["failovers"]
        assert site.act("die", at=place, doing=verb, request=asked["request"]) == KILLED
        assert (site.state(failover), tag in site.tags(failover)) == ("requested", False)
        site.act(verb, request=asked["request"])
        assert (site.state(failover), tag in site.tags(failover)) == (tag.partition(".")[2], True)
        with pytest.raises(Said):
            site.act(verb, request=asked["request"])
    site.act("reject", request=made["request_id"])
    assert site.posts == []
    audit(site)


@pytest.mark.row("F43")
def test_a_wall_whose_session_ends_shows_nothing_but_that_with_its_next_poll(make_site, browse):
    """Revoked, because the account was removed, or over by itself; polled over HTTP as the page's own script does."""
    site = make_site()
    site.web()
    screens = [browse(site, name).http for name in ("s.tanaka", "k.osei")]
    for screen in screens:
        assert "finance" in screen.get("/wall/").text
        answer = _poll(screen)
        assert (answer.status_code, "X-Signed-Out" in answer.headers) == (200, False)
        assert "finance" in answer.text
    site.manage("person", "remove", "s.tanaka")
    _goes_blank(screens[0])
    assert "X-Signed-Out" not in _poll(screens[1]).headers
    with closing(sqlite3.connect(site.folder / "desk.sqlite3", timeout=30)) as database, database:
        database.execute("UPDATE django_session SET expire_date = '2020-01-01 00:00:00'")
    _goes_blank(screens[1])
    audit(site)


def _poll(screen: httpx.Client, seen: str = "") -> httpx.Response:
    return screen.get("/wall/live/", params={"seen": seen}, headers={"HX-Request": "true"})


def _goes_blank(screen: httpx.Client) -> None:
    """The poll says so, without a word of data; the script then loads the page, which says it to people."""
    answer = _poll(screen)
    assert (answer.status_code, answer.headers.get("X-Signed-Out"), answer.content) == (204, "1", b"")
    page = screen.get("/wall/").text
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "Signed out" in words
    assert "This screen shows nothing." in words
    assert "finance" not in page
    assert "hx-get" not in page
