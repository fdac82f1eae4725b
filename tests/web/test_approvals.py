"""Deciding: who sees what waits, who may decide, on which facts, and what happens to a decision that comes too late."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers import guards, holds
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Decision, Failover, Policy, Request
from dashboard.fleet.models import Relationship
from tests.conftest import PASSWORD
from tests.failovers.desk import REASON, pass_time
from tests.web.fleet import Element, Page, browser, parsed, polled
from tests.web.scene import STAGES


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def review(failover: Failover, user: User, client: Any = None) -> Element:
    return parsed((client or browser(user)).get(f"/failovers/FO-{failover.request_id}/"))


def fields(root: Element) -> dict[str, str]:
    """What a browser sends when nothing is ticked or typed; nothing when there is nothing to decide."""
    forms = [form for form in root.all("form") if form.attrs["action"].endswith("/decide/")]
    hidden = forms[0].all("input", type="hidden") if forms else []
    return {each.attrs["name"]: each.attrs["value"] for each in hidden if each.attrs["name"] != "csrfmiddlewaretoken"}


def decide(failover: Failover, user: User, verdict: str = "approve", root: Element | None = None, **more: str) -> Any:
    """Press a button of the page that `user` has open (or opens now), with what proves who it is: a confirmation is of
    one session, so an old page's is taken from a new one."""
    client = browser(user)
    now = fields(review(failover, user, client))
    proof = {"confirm_ticket": now.get("confirm_ticket", ""), "confirm_password": PASSWORD}
    sent = (fields(root) if root else now) | {"decision": verdict, "comment": "Go."} | proof | more
    return client.post(f"/failovers/FO-{failover.request_id}/decide/", sent)


def state(failover: Failover) -> str:
    failover.refresh_from_db()
    return failover.state


# ── The list ──


def test_what_waits_stands_with_its_reason_and_its_time(desk, cast):
    failover = STAGES["requested"](desk)
    root = parsed(browser(cast.osei).get("/approvals/"))
    entry = root.one("article", "req")
    assert entry.one("h3").text == f"{failover.number} Failover"
    assert REASON in entry.text
    assert "Asked by a.rivera at" in entry.text
    assert "Nothing changed since the request" in entry.text
    assert entry.one("progress").attrs["data-until"]
    assert entry.one("a", "primary").attrs["href"] == f"/failovers/{failover.number}/"
    assert "1 request waits for you. You approve for dr." in root.text


def frozen_otherwise(asked: Request, **columns: Any) -> None:
    """What a request says is frozen by the database; here the guards step aside."""
    if connection.vendor == "postgresql":  # it alters no table while foreign keys wait to be checked
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    guards.drop(connection)
    Request.objects.filter(pk=asked.pk).update(**columns)
    guards.install(connection)


def test_soonest_to_expire_comes_first(desk, cast):
    desk.world.relate(desk.world.clusters["prod"], "/prod/b/", desk.target, "/dr/b/")
    desk.read()
    first = desk.request()
    desk.row = Relationship.objects.get(target_root_path="/dr/b/")
    second = desk.request(typed="/dr/b")
    order = [each.text for each in parsed(browser(cast.osei).get("/approvals/")).all("h3")]
    assert order == [f"{first.number} Failover", f"{second.number} Failover"]
    frozen_otherwise(first, decide_by=second.decide_by + timedelta(minutes=5))
    order = [each.text for each in parsed(browser(cast.osei).get("/approvals/")).all("h3")]
    assert order == [f"{second.number} Failover", f"{first.number} Failover"]


def test_ones_own_request_is_marked_and_not_offered(desk, cast):
    STAGES["requested"](desk)
    root = parsed(browser(cast.rivera).get("/approvals/"))
    assert root.one("article").one("span", "badge").text == "You asked"
    assert root.one("article").all("a", "primary") == []


def test_an_approver_who_asked_is_told_that_another_must_decide(desk, cast):
    both = cast.rivera
    both.roles = ["operator", "approver"]
    both.save()
    failover = STAGES["requested"](desk)
    root = review(failover, both)
    assert "You asked for this failover; another person must decide." in root.one(id="decide").text
    assert root.all("button", name="decision") == []
    assert "0 requests wait for you" in parsed(browser(both).get("/approvals/")).text


def test_nothing_waiting_says_so(desk, cast):
    root = parsed(browser(cast.osei).get("/approvals/"))
    assert "Nothing waits for you. Requests for dr appear here." in " ".join(" ".join(root.pieces).split())


OUTCOMES = {
    "approved": ("k.osei", "Approved, about to start"),
    "reverting": ("k.osei", "Approved, reverting"),
    "succeeded": ("k.osei", "Approved, writable"),
    "refused": ("k.osei", "Approved, refused by dr"),
    "stopped": ("k.osei", "Approved, stopped before sending"),
    "not_applied": ("k.osei", "Closed as not applied"),
    "closed": ("k.osei", "Closed by a person"),
    "rejected": ("k.osei", "Rejected"),
    "cancelled": ("a.rivera", "Cancelled"),
    "undecided": ("Nobody", "Expired"),
}


@pytest.mark.parametrize("stage", OUTCOMES)
def test_what_was_decided_stands_with_its_outcome_for_a_week(desk, cast, stage):
    failover = STAGES[stage](desk)
    cells = [cell.text for cell in parsed(browser(cast.viewer).get("/approvals/")).one("tbody").one("tr").children]
    by, outcome = OUTCOMES[stage]
    assert cells[:4] == [f"{failover.number} Failover", "dr:/dr/finance", "a.rivera", by]
    assert cells[5] == outcome
    pass_time(8 * 86400)
    assert "Nothing was decided in the last 7 days." in parsed(browser(cast.viewer).get("/approvals/")).text


def test_the_list_is_polled_and_quiet_while_nothing_changes(desk, cast):
    root = parsed(browser(cast.osei).get("/approvals/"))
    client = browser(cast.osei)
    assert polled(client, root).status_code == 204
    failover = STAGES["requested"](desk)
    answer = polled(client, root)
    found = page_of(answer)
    assert found.one(id="approvals").one("article").one("a", "primary").text == "Review"
    assert found.one(id="nav-approvals").text == "1"
    assert not failover.ended_at


def test_a_change_on_a_relationship_that_waits_is_news(desk, cast):
    STAGES["requested"](desk)
    root = parsed(browser(cast.osei).get("/approvals/"))
    Relationship.objects.update(version=F("version") + 1)
    assert polled(browser(cast.osei), root).status_code == 200


# ── Deciding ──


def test_the_approval_that_starts_it_is_red_and_says_so(desk, cast):
    root = review(STAGES["requested"](desk), cast.osei)
    red = root.all("button", "danger")
    assert [button.text for button in red] == ["Approve and start failover"]
    assert "danger" not in root.one("button", id="reject").classes
    assert "Approvals 0 of 1" in root.one(id="part-count").text


def test_the_first_button_of_the_form_is_dead_so_that_enter_decides_nothing(desk, cast):
    first = review(STAGES["requested"](desk), cast.osei).one(id="decide").one("form").all("button")[0]
    assert {"disabled", "hidden"} <= first.attrs.keys()


def test_another_person_approves(desk, cast):
    failover = STAGES["requested"](desk)
    answer = decide(failover, cast.osei)
    assert (answer.status_code, answer["Location"]) == (303, f"/failovers/{failover.number}/")
    assert state(failover) == State.APPROVED
    assert desk.posts == 0  # nothing is sent by a click


def test_what_the_approver_saw_is_kept_with_the_decision(desk, cast):
    failover = STAGES["requested"](desk)
    decide(failover, cast.osei, comment="Go.")
    decision = Decision.objects.get()
    assert decision.comment == "Go."
    seen = decision.facts_seen["items"][0]
    assert {fact["key"] for fact in seen["facts"]} >= {"state", "recovery_point", "access"}
    assert seen["checks"]
    assert re.fullmatch(r"Signed in.*; confirmed with password", decision.auth)


def test_a_rejection_ends_it(desk, cast):
    failover = STAGES["requested"](desk)
    assert decide(failover, cast.osei, "reject", comment="The source is back.").status_code == 303
    assert state(failover) == State.REJECTED


@pytest.mark.parametrize("who", ["rivera", "tanaka", "okafor", "admin", "viewer"])
def test_only_an_approver_decides(desk, cast, who):
    failover = STAGES["requested"](desk)
    sent = fields(review(failover, cast.osei)) | {"decision": "approve", "comment": ""}
    user = getattr(cast, who)
    assert review(failover, user).all("button", name="decision") == []
    assert browser(user).post(f"/failovers/{failover.number}/decide/", sent).status_code == 403
    assert state(failover) == State.REQUESTED


def test_nobody_approves_their_own_whatever_they_post(desk, cast):
    failover = STAGES["requested"](desk)
    sent = fields(review(failover, cast.osei)) | {"decision": "approve", "comment": ""}
    cast.rivera.roles = ["operator", "approver"]
    cast.rivera.save()
    answer = browser(cast.rivera).post(f"/failovers/{failover.number}/decide/", sent)
    assert answer.status_code == 422
    assert "You asked for this failover; another person must decide." in page_of(answer).text
    assert state(failover) == State.REQUESTED
    assert Entry.objects.latest("seq").tag == "decision.refused"


def test_a_decision_on_what_was_not_shown_is_409(desk, cast):
    failover = STAGES["requested"](desk)
    answer = decide(failover, cast.osei, digest="0" * 64)
    assert answer.status_code == 409
    assert "This page did not show the request as it is." in page_of(answer).text
    assert state(failover) == State.REQUESTED


def test_whoever_decides_second_gets_the_page_of_now(desk, cast):
    failover = STAGES["requested"](desk)
    old = review(failover, cast.lind)
    decide(failover, cast.osei)
    answer = decide(failover, cast.lind, root=old, comment="me too")
    assert answer.status_code == 409
    root = page_of(answer)
    assert root.one("h1").text == "Making /dr/finance on dr writable"
    assert re.search(rf"{failover.number} is approved", root.text)
    assert Decision.objects.count() == 1


def test_a_decision_after_the_deadline_decides_nothing(desk, cast):
    failover = STAGES["requested"](desk)
    old = review(failover, cast.osei)
    pass_time(1801)
    answer = decide(failover, cast.osei, root=old)
    assert answer.status_code == 409
    assert "Expired: nobody approved in time." in page_of(answer).text
    assert state(failover) == State.EXPIRED


def test_a_comment_that_is_too_long_comes_back_with_its_sentence(desk, cast):
    failover = STAGES["requested"](desk)
    answer = decide(failover, cast.osei, comment="x" * 2001)
    root = page_of(answer)
    assert answer.status_code == 422
    assert root.one(id="comment-e").text == "The comment is longer than 2000 characters."
    assert root.one("textarea", name="comment").text == "x" * 2001


# ── Facts that changed ──


@pytest.fixture
def changed(desk):
    """The source became read-only after the request."""
    failover = STAGES["requested"](desk)
    desk.sim.source.read_only = True
    desk.read()
    return failover


def test_changed_facts_come_first_and_are_named_in_the_box_to_tick(changed, cast):
    root = review(changed, cast.osei)
    rows = root.one("table", "diff").one("tbody").all("tr")
    assert ["changed" in row.classes for row in rows][:2] == [True, False]
    assert rows[0].text.startswith("Source access")
    box = root.one("input", id="seen")
    assert "required" in box.attrs
    assert box.parent is not None
    assert "1 fact changed since the request: Source access: Read-only." in box.parent.text
    assert "1 fact changed" in root.one(id="part-bar").text


def test_changed_facts_must_be_ticked(changed, cast):
    answer = decide(changed, cast.osei, comment="Go.")
    root = page_of(answer)
    assert answer.status_code == 422
    assert (
        root.one(id="seen-e").text
        == "Changed since the request: Source access. Look at it, and tick that you have seen it."
    )
    assert root.one("textarea", name="comment").text == "Go."
    assert state(changed) == State.REQUESTED
    assert decide(changed, cast.osei, seen="yes").status_code == 303
    assert state(changed) == State.APPROVED


def test_a_tick_is_for_the_facts_that_were_shown_and_no_later_ones(desk, changed, cast):
    old = review(changed, cast.osei)
    desk.sim.settings.replication_enabled = False
    desk.read()
    answer = decide(changed, cast.osei, root=old, seen="yes")
    assert answer.status_code == 422
    assert "Automatic replication" in page_of(answer).one(id="seen-e").text
    assert state(changed) == State.REQUESTED


def test_rejecting_needs_no_tick(changed, cast):
    assert decide(changed, cast.osei, "reject").status_code == 303
    assert state(changed) == State.REJECTED


def test_time_alone_is_no_changed_fact(desk, cast):
    """More is lost by each second; a box that had to be ticked for that would be ticked blindly."""
    failover = STAGES["requested"](desk)
    pass_time(600)
    desk.read()
    root = review(failover, cast.osei)
    assert root.all("input", id="seen") == []
    assert "more" in root.one("tr", "grown").text


def test_a_tick_is_taken_away_only_when_other_facts_changed(desk, changed, cast):
    root = review(changed, cast.osei)
    client = browser(cast.osei)
    pass_time(11)
    desk.read()
    same = polled(client, root).content.decode()
    assert "#part-body" in same  # new ages
    assert "#part-changes" not in same
    desk.sim.settings.replication_enabled = False
    desk.read()
    assert "#part-changes" in polled(client, root).content.decode()


# ── Under a hold ──


def test_an_approval_under_a_hold_is_told_to_start_nothing(desk, cast):
    failover = STAGES["requested"](desk)
    client = browser(cast.lind)
    root = parsed(client.get(f"/failovers/{failover.number}/"))
    assert "sends make-writable to dr at once" in root.one(id="part-buttons").text
    holds.hold(scope="dr", reason="Maintenance until noon.", actor=SYSTEM)
    part = parsed(polled(client, root))  # it came while the page was open
    assert "Held: nothing is sent to dr." in part.text
    assert "sends make-writable to dr at once" not in part.text
    assert (part.one("button", id="approve").text, part.all("button", "danger")) == ("Approve, nothing starts", [])
    decide(failover, cast.lind)
    assert state(failover) == State.APPROVED
    about = parsed(client.get(f"/failovers/{failover.number}/")).one(id="part-body").text
    assert "When the hold is lifted, this failover ends" in about
    assert "Waiting behind a hold" in about
    assert "The checks run again" not in about


# ── Whose approval, and how many ──


def needs(cluster: str = "", **shares: int) -> None:
    """From now on, requests need these shares; `anybody` is whoever may approve."""
    of = [{"group": "" if name == "anybody" else name, "count": count} for name, count in shares.items()]
    Policy.objects.create(name="-".join(shares), cluster=cluster, shares=of)


def group(name: str, *users: User) -> None:
    Group.objects.create(name=name).members.set([user.person for user in users])


def test_an_approval_that_leaves_the_count_short_is_ink_and_counts(desk, cast):
    needs(anybody=2)
    failover = STAGES["requested"](desk)
    root = review(failover, cast.osei)
    assert root.one("button", id="approve").text == "Approve (1 of 2)"
    assert root.all("button", "danger") == []
    decide(failover, cast.osei)
    assert state(failover) == State.REQUESTED
    assert "You approved it at" in review(failover, cast.osei).one(id="decide").text
    assert review(failover, cast.lind).one("button", id="approve").text == "Approve and start failover"
    decide(failover, cast.lind)
    assert state(failover) == State.APPROVED


def test_who_is_missing_is_named_share_by_share(desk, cast):
    needs(storage=1, security=1)
    group("storage", cast.osei)
    group("security", cast.lind)
    failover = STAGES["requested"](desk)
    told = review(failover, cast.rivera).one(id="decide").text
    assert "One of storage and one of security must approve." in told
    assert "Still needed: one of storage k.osei can" in told
    assert "Still needed: one of security j.lind can" in told
    decide(failover, cast.osei)
    told = review(failover, cast.rivera).one(id="part-count").text
    assert "Approvals 1 of 2" in told
    assert "Approved by k.osei" in told
    assert "Still needed: one of security j.lind can" in told
    assert "one of storage" not in told


def test_a_group_that_nobody_is_in_is_told_before_the_time_is_over(desk, cast):
    needs(storage=1, security=1)
    group("storage", cast.osei)
    failover = STAGES["requested"](desk)
    told = review(failover, cast.rivera).one(id="decide").text
    assert "Still needed: one of security nobody can" in told
    assert "Nobody can complete it." in told


def test_whose_approval_would_not_count_can_only_reject(desk, cast):
    needs(security=1)
    group("security", cast.lind)
    failover = STAGES["requested"](desk)
    root = review(failover, cast.osei)
    assert [button.text for button in root.all("button", name="decision")] == ["Reject"]
    assert "Your approval would not count" in root.one(id="part-buttons").text
    answer = decide(failover, cast.osei)
    assert answer.status_code == 422
    assert "Your approval does not count here" in page_of(answer).text
    assert state(failover) == State.REQUESTED


# ── Proving, again, who it is ──


def test_a_decision_without_the_password_decides_nothing(desk, cast):
    failover = STAGES["requested"](desk)
    for password, words in (("", "type your password"), ("guess", "The password is wrong.")):
        answer = decide(failover, cast.osei, confirm_password=password, comment="Looked at it.")
        assert answer.status_code == 422
        root = page_of(answer)
        assert words in root.one(id="confirm-e").text
        assert root.one("textarea", name="comment").text == "Looked at it."
        assert Entry.objects.latest("seq").tag == "confirm.refused"
    assert state(failover) == State.REQUESTED
    assert Decision.objects.count() == 0


def test_a_confirmation_is_good_for_one_request_alone(desk, cast):
    desk.world.relate(desk.world.clusters["prod"], "/prod/b/", desk.target, "/dr/b/")
    desk.read()
    first = STAGES["requested"](desk)
    desk.row = Relationship.objects.get(target_root_path="/dr/b/")
    second = desk.request(typed="/dr/b").failovers.get()
    client = browser(cast.osei)
    other = fields(review(first, cast.osei, client))["confirm_ticket"]
    sent = fields(review(second, cast.osei, client)) | {"decision": "approve", "comment": "Go."}
    stolen = sent | {"confirm_ticket": other, "confirm_password": PASSWORD}
    assert client.post(f"/failovers/{second.number}/decide/", stolen).status_code == 422
    assert state(second) == State.REQUESTED


def test_a_decision_needs_its_comment(desk, cast):
    failover = STAGES["requested"](desk)
    for verdict in ("approve", "reject"):
        answer = decide(failover, cast.osei, verdict, comment="  ")
        assert answer.status_code == 422
        assert page_of(answer).one(id="comment-e").text == "Say in a few words what you checked, or why not."
    assert state(failover) == State.REQUESTED


@pytest.mark.parametrize("more", [{"decision": "both"}, {"again": "yes"}, {"comment": ["a", "b"]}, {"comment": "a\0b"}])
def test_what_no_page_of_ours_sends_is_400(desk, cast, more):
    failover = STAGES["requested"](desk)
    assert decide(failover, cast.osei, **more).status_code == 400
    assert state(failover) == State.REQUESTED
    assert Entry.objects.latest("seq").tag == "access.refused"
