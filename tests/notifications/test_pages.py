"""What the pages say of notices: who was told of a request, and, to admins, which channel is dead."""

from __future__ import annotations

from dashboard.notifications.models import Channel
from tests.notifications.ledger import tell_all, time_passes
from tests.web.fleet import browser, parsed


def page(who, asked):
    return parsed(browser(who).get(f"/failovers/{asked.number}/")).text


def test_the_page_of_a_request_says_who_was_told_and_else_whom_to_call(desk, cast, chat):
    asked = desk.request()
    assert "Being told now." in page(cast.rivera, asked)
    tell_all()
    told = page(cast.rivera, asked)
    assert "chat at" in told
    assert "Being told now." not in told
    Channel.objects.all().delete()


def test_without_any_channel_it_says_that_nobody_is_told(desk, cast):
    assert "Failover Desk tells nobody yet. Call j.lind" in page(cast.rivera, desk.request())


def test_a_dead_channel_is_shown_to_admins_on_every_page_until_it_takes_one(desk, cast, chat):
    chat.status = 500
    desk.request()
    tell_all()
    time_passes(121)
    tell_all()
    words = "Nobody is told by chat since"
    assert words in parsed(browser(cast.admin).get("/")).text
    assert words not in parsed(browser(cast.osei).get("/")).text
    chat.status = 200
    time_passes(121)
    tell_all()
    assert words not in parsed(browser(cast.admin).get("/")).text
