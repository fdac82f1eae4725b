"""The one page of a failover before it is sent: what keeps it waiting, and taking it back."""

from __future__ import annotations

import re

import pytest

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Heartbeat, Hold
from tests.failovers.desk import pass_time
from tests.web.fleet import browser
from tests.web.following import page_of, said, show, steps
from tests.web.scene import STAGES, reverting


def test_a_hold_is_told_where_it_would_start(desk, cast):
    failover = STAGES["approved"](desk)
    Hold.objects.create(scope="dr", reason="Maintenance until noon.", by="admin", at=database_now())
    root = show(failover, cast.rivera)
    assert "Held: nothing is sent. Maintenance until noon. Since" in said(root.one(id="part-body"))
    assert ("now", "Checking again") in steps(root)


@pytest.mark.parametrize("stage", ["requested", "approved"])
def test_a_sender_that_is_late_is_told_before_it_matters(desk, cast, stage):
    failover = STAGES[stage](desk)
    beat = Heartbeat.objects.create(driver="sweep", at=database_now())
    assert "may start late" not in show(failover, cast.osei).text
    pass_time(20)
    words = said(show(failover, cast.osei).one(id="part-hero"))
    assert re.match(r"An approved failover may start late: the sender was last seen 2\d s ago\.", words), words
    beat.delete()
    words = said(show(failover, cast.osei).one(id="part-hero"))
    assert words.startswith("An approved failover may start late: no sender was ever seen."), words


def test_whoever_reads_it_first_ends_what_is_too_late(desk, cast):
    failover = STAGES["requested"](desk)
    pass_time(1801)
    assert said(show(failover, cast.viewer).one(id="part-hero")).startswith("Expired: nobody approved in time.")
    failover.refresh_from_db()
    assert failover.state == State.EXPIRED


def test_the_requester_is_told_whom_to_call_and_can_take_it_back(desk, cast):
    failover = STAGES["requested"](desk)
    root = show(failover, cast.rivera)
    panel = root.one(id="decide")
    assert "Failover Desk tells nobody yet. Call j.lind and k.osei and send them this link." in said(panel)
    assert panel.one("button", data_copy="").text == "Copy link"
    assert panel.all("textarea") == []
    action = panel.one("form").attrs["action"]
    answer = browser(cast.rivera).post(action)
    assert (answer.status_code, answer["Location"]) == (303, f"/failovers/{failover.number}/")
    failover.refresh_from_db()
    assert failover.state == State.CANCELLED


@pytest.mark.parametrize(("who", "may"), [("rivera", True), ("osei", True), ("admin", True), ("tanaka", False)])
def test_who_can_cancel(desk, cast, who, may):
    failover = STAGES["approved"](desk)
    answer = browser(getattr(cast, who)).post(f"/failovers/{failover.number}/cancel/")
    assert answer.status_code == (303 if may else 422)
    failover.refresh_from_db()
    assert (failover.state == State.CANCELLED) is may


def test_cancelling_what_was_sent_says_why_not(desk, cast):
    failover = reverting(desk)
    answer = browser(cast.rivera).post(f"/failovers/{failover.number}/cancel/")
    assert answer.status_code == 409
    assert re.search(r"It was sent at [\d:]+ UTC. It cannot be taken back from here.", said(page_of(answer)))
    assert Entry.objects.latest("seq").tag.endswith(".refused")
    failover.refresh_from_db()
    assert failover.state == State.REVERTING
