"""The one page of a failover: what its poll brings, and what it never touches."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.web.parts import digest_of
from tests.failovers.desk import pass_time
from tests.web.fleet import Element, browser, calm, keep
from tests.web.following import page_of, show
from tests.web.scene import STAGES, reverting

HTMX = {"HX-Request": "true"}


def poll(root: Element, user: Any) -> Any:
    """The answer to the next poll of this page."""
    return browser(user).get(root.one(id="failover-poll").attrs["hx-get"], headers=HTMX)


def parts(answer: Any) -> set[str]:
    """What an answer swaps out of band."""
    found = re.findall(r'hx-swap-oob="(\w+):#([\w-]+)"', answer.content.decode())
    return {name for _how, name in found}


def test_nothing_new_is_204(desk, cast):
    failover = STAGES["doubtful"](desk)
    calm()
    answer = poll(show(failover, cast.rivera), cast.rivera)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "X-Observed-Age" in answer


@pytest.mark.parametrize("stage", ["requested", "doubtful", "reverting"])
def test_a_poll_with_nothing_new_asks_four_queries(desk, cast, stage):
    failover, client = STAGES[stage](desk), browser(cast.osei)
    calm()
    address = show(failover, cast.osei).one(id="failover-poll").attrs["hx-get"]
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 204
    assert len(asked) <= 4


def test_with_redis_a_poll_with_nothing_new_asks_two(desk, cast, with_redis):
    failover, client = STAGES["reverting"](desk), browser(cast.osei)
    calm()
    address = show(failover, cast.osei).one(id="failover-poll").attrs["hx-get"]
    client.get(address)
    keep(with_redis)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 204
    assert len(asked) <= 2


def test_a_new_reading_brings_what_changed_and_no_alert_again(desk, cast):
    failover = STAGES["doubtful"](desk)
    calm()
    root = show(failover, cast.rivera)
    desk.step(failover)
    answer = poll(root, cast.rivera)
    assert answer.status_code == 200
    assert parts(answer) == {"part-body"}  # "2 readings since it was sent"; hero and steps say the same
    assert 'role="alert"' not in answer.content.decode()


def test_a_time_that_ticks_in_the_browser_is_no_news():
    written = '<p>seen <time datetime="2026-03-14T03:12:20Z" data-rel="age">20 s</time> ago</p>{}'
    token = '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'
    was = digest_of(written.format(token.format("a")))
    assert was == digest_of(written.replace("20 s", "21 s").format(token.format("b")))
    assert was != digest_of(written.replace("seen", "heard").format(token.format("a")))
    assert was != digest_of(written.replace("03:12:20", "03:12:21").format(token.format("a")))


def test_the_log_grows_by_its_new_lines(desk, cast):
    failover = reverting(desk)
    root = show(failover, cast.rivera)
    before = len(root.one(id="failover-log").all("li"))
    desk.clock.pass_time(150)  # past three quarters
    desk.step(failover)
    found = page_of(poll(root, cast.rivera))
    new = found.one("ol", hx_swap_oob="afterbegin:#failover-log").all("li")
    assert [line.text.split(" ", 1)[1] for line in new] == ["75 % reverted"]
    assert before + 1 == len(show(failover, cast.rivera).one(id="failover-log").all("li"))


def test_the_log_is_written_anew_when_it_is_another_one(desk, cast):
    failover = reverting(desk)
    root = show(failover, cast.rivera)
    address = re.sub(r"log%3A[0-9]+\.\w+", "log%3A2.0123456789ab", root.one(id="failover-poll").attrs["hx-get"])
    desk.step(failover)
    found = page_of(browser(cast.rivera).get(address))
    assert found.one("ol", hx_swap_oob="innerHTML:#failover-log").all("li")


def test_another_stage_changes_the_whole_page(desk, cast):
    failover = STAGES["requested"](desk)
    root = show(failover, cast.rivera)
    desk.approve(failover.request)
    answer = poll(root, cast.rivera)
    assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#failover", "outerHTML")
    root = page_of(answer)
    assert root.one(id="failover").one("h1").text == "Making /dr/finance on dr writable"
    assert root.one(id="nav-approvals").text == ""  # it waits no more


def test_the_end_stops_the_polling(desk, cast):
    failover = STAGES["disconnected"](desk)
    root = show(failover, cast.rivera)
    pass_time(3)
    desk.step(failover)
    found = page_of(poll(root, cast.rivera))
    assert "hx-trigger" not in found.one(id="failover-poll").attrs
    assert found.one(id="part-hero").text.startswith("The target is writable.")


def test_a_poll_never_brings_a_field_that_somebody_types_into(desk, cast):
    failover = STAGES["requested"](desk)
    root = show(failover, cast.osei)
    desk.sim.source.read_only = True
    desk.read()
    answer = poll(root, cast.osei)
    assert "part-changes" in parts(answer)
    assert page_of(answer).all("textarea") == []
    failover = STAGES["not_seen"](desk) if desk.cancel(failover.request) else failover
    root = show(failover, cast.osei)
    desk.step(failover)
    assert page_of(poll(root, cast.osei)).all("textarea") == []


def test_a_poll_with_nonsense_in_it_is_answered_in_full(desk, cast):
    failover = reverting(desk)
    for query in ("have=,:,x:y,log:9999999", "have=log:²", "shape=%00&have=%00", "seen=%FF"):
        assert browser(cast.rivera).get(f"/failovers/{failover.number}/live/?{query}").status_code == 200
