"""The one page of a failover: a person closes what stayed in doubt."""

from __future__ import annotations

from dashboard.failovers.lifecycle import State
from tests.failovers.desk import pass_time
from tests.web.fleet import browser
from tests.web.following import page_of, said, show
from tests.web.scene import STAGES


def test_only_an_approver_who_did_not_ask_is_offered_to_close(desk, cast):
    failover = STAGES["not_seen"](desk)
    for user in (cast.rivera, cast.viewer, cast.admin):
        assert show(failover, user).all(id="close") == []
    both = cast.rivera
    both.roles = ["operator", "approver"]
    both.save()
    assert show(failover, both).all(id="close") == []
    assert show(failover, cast.osei).one(id="close").one("form").attrs["method"] == "post"


def test_nothing_is_offered_to_close_while_it_may_still_arrive(desk, cast):
    failover = STAGES["doubtful"](desk)
    assert show(failover, cast.osei).all(id="close") == []
    answer = browser(cast.osei).post(f"/failovers/{failover.number}/close/", {"outcome": "not_applied"})
    assert answer.status_code == 422
    assert "It may still arrive." in said(page_of(answer))


def test_closing_as_not_applied(desk, cast):
    failover = STAGES["not_seen"](desk)
    root = show(failover, cast.osei)
    assert "disabled" not in root.one("button", id="close-not-applied").attrs
    answer = browser(cast.osei).post(f"/failovers/{failover.number}/close/", {"outcome": "not_applied", "reason": ""})
    assert answer.status_code == 303
    failover.refresh_from_db()
    assert (failover.state, failover.outcome) == (State.CLOSED, "not_applied")


def test_an_old_reading_is_no_proof_and_the_page_says_so(desk, cast):
    failover = STAGES["not_seen"](desk)
    pass_time(11)
    root = show(failover, cast.osei)
    button = root.one("button", id="close-not-applied")
    assert "disabled" in button.attrs
    assert "a reading of the last 10 s" in root.one(id=button.attrs["aria-describedby"]).text


def test_closing_for_another_reason_needs_one(desk, cast):
    failover = STAGES["fell_back"](desk)
    assert show(failover, cast.osei).all("button", id="close-not-applied") == []
    client, address = browser(cast.osei), f"/failovers/{failover.number}/close/"
    answer = client.post(address, {"outcome": "other", "reason": "no idea"})
    root = page_of(answer)
    assert answer.status_code == 422
    assert root.one(id="reason-e").text == "Say in a few words why, at least 10 characters."
    assert root.one("textarea", name="reason").text == "no idea"
    assert client.post(address, {"outcome": "other", "reason": "Support takes over."}).status_code == 303


def test_the_requester_does_not_close(desk, cast):
    failover = STAGES["not_seen"](desk)
    cast.rivera.roles = ["operator", "approver"]
    cast.rivera.save()
    answer = browser(cast.rivera).post(f"/failovers/{failover.number}/close/", {"outcome": "not_applied"})
    assert answer.status_code == 422
    assert "Only an approver who did not ask can close a failover." in said(page_of(answer))
