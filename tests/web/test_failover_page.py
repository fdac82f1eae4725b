"""The one page of a failover: what it says at each stage, what its poll brings, and what it never claims."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Heartbeat, Hold
from dashboard.fleet.models import Observation
from dashboard.simulator import State as ApiState
from dashboard.simulator import faults
from dashboard.web.parts import digest_of
from tests.failovers.desk import REASON, pass_time
from tests.web.fleet import Element, Page, browser, calm, keep
from tests.web.scene import ENDED, STAGES, reverting

HTMX = {"HX-Request": "true"}


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def show(failover: Failover, user: Any) -> Element:
    answer = browser(user).get(f"/failovers/{failover.number}/")
    assert answer.status_code == 200
    return page_of(answer)


def said(element: Element) -> str:
    """What is written there, with a blank between any two elements and none before a full stop."""
    return re.sub(r" (?=[.,:;”%])", "", " ".join(" ".join(element.pieces).split()))


def poll(root: Element, user: Any) -> Any:
    """The answer to the next poll of this page."""
    return browser(user).get(root.one(id="failover-poll").attrs["hx-get"], headers=HTMX)


def parts(answer: Any) -> set[str]:
    """What an answer swaps out of band."""
    found = re.findall(r'hx-swap-oob="(\w+):#([\w-]+)"', answer.content.decode())
    return {name for _how, name in found}


def steps(root: Element) -> list[tuple[str, str]]:
    return [(li.classes[0], li.one("b").text.partition(": ")[2]) for li in root.one("ol", "steps").all("li")]


# ── Each stage ──

TITLES = {
    "requested": "Make /dr/finance on dr writable?",
    "succeeded": "Made /dr/finance on dr writable",
    "refused": "Could not make /dr/finance on dr writable",
    "stopped": "Could not make /dr/finance on dr writable",
    "closed": "Making /dr/finance on dr writable, closed",
    **dict.fromkeys(
        ("undecided", "not_started", "rejected", "cancelled", "not_applied"),
        "Did not make /dr/finance on dr writable",
    ),
}
HEROES = {
    "unreachable": "dr gives no usable answer. The cluster could not be reached. It is tried again until",
    "doubtful": "Outcome unknown. Still watching. Make-writable was sent at",
    "silent": "Outcome unknown. Still watching. Make-writable was sent at",
    "not_seen": "A person must look. Make-writable was sent, and the relationship is still established and read-only.",
    "fell_back": "A person must look. The revert had begun, and the relationship is established again.",
    "succeeded": "The target is writable. Verified",
    "refused": "Refused: dr refused make-writable. It answered 409 replication_relationship_state_error: "
    "“The relationship is being modified.” at",
    "stopped": "Stopped before sending. The relationship is being reconnected.",
    "undecided": "Expired: nobody approved in time.",
    "not_started": "Expired: not started in time.",
    "rejected": "Rejected by k.osei. “The source is back.”",
    "cancelled": "Cancelled by a.rivera.",
    "not_applied": "Closed by k.osei: not applied.",
    "closed": "Closed by k.osei. What became of it is not known here. “The revert failed; support is on it.”",
}
NOTHING_SENT = {"stopped", "undecided", "not_started", "rejected", "cancelled"}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_words(desk, cast, stage):
    failover = STAGES[stage](desk)
    for user in (cast.osei, cast.viewer):
        root = show(failover, user)
        assert root.one("h1").text == TITLES.get(stage, "Making /dr/finance on dr writable")
        hero = said(root.one(id="part-hero"))
        assert hero.startswith(HEROES[stage]) if stage in HEROES else hero == ""
        assert ("Nothing was sent." in hero) == (stage in NOTHING_SENT)


CLAIMS = ["The target is writable", r"Verified:? (dr|[0-9])", "Done: Verified writable", "Made /dr", "Point clients to"]


@pytest.mark.parametrize("stage", STAGES)
def test_success_is_claimed_by_nothing_but_success(desk, cast, stage):
    text = said(show(STAGES[stage](desk), cast.rivera).one("main"))
    claims = [claim for claim in CLAIMS if re.search(claim, text)]
    assert claims == (CLAIMS if stage == "succeeded" else [])


@pytest.mark.parametrize("stage", STAGES)
def test_it_is_polled_while_something_can_change_and_no_longer(desk, cast, stage):
    attributes = show(STAGES[stage](desk), cast.rivera).one(id="failover-poll").attrs
    cadence = "every 5s" if stage == "requested" else "every 2s"
    if stage in ENDED:
        assert "hx-trigger" not in attributes
    else:
        assert attributes["hx-trigger"].startswith(cadence)


STEPS = {
    "approved": ["done", "now", "todo", "todo", "todo", "todo"],
    "doubtful": ["done", "done", "now", "todo", "todo", "todo"],
    "reverting": ["done", "done", "done", "now", "todo", "todo"],
    "disconnected": ["done", "done", "done", "done", "done", "now"],
    "succeeded": ["done"] * 6,
    "rejected": ["now", "todo", "todo", "todo", "todo", "todo"],
    "not_started": ["done", "now", "todo", "todo", "todo", "todo"],
}


@pytest.mark.parametrize("stage", STEPS)
def test_a_step_is_done_when_the_record_says_when(desk, cast, stage):
    assert [phase for phase, _name in steps(show(STAGES[stage](desk), cast.rivera))] == STEPS[stage]


@pytest.mark.parametrize(
    ("stage", "health", "note"),
    [
        ("sent", "active", ""),
        ("doubtful", "unknown", "outcome unknown"),
        ("not_seen", "warning", "a person must look"),
        ("fell_back", "warning", "a person must look"),
        ("reverting", "active", "55 %, about 4 min 30 s left"),
        ("refused", "critical", "answer 409"),
        ("stopped", "warning", "nothing was sent"),
        ("closed", "unknown", "k.osei"),
        ("cancelled", "inactive", "a.rivera"),
    ],
)
def test_the_step_of_now_has_the_shape_of_its_health(desk, cast, stage, health, note):
    step = show(STAGES[stage](desk), cast.rivera).one("ol", "steps").one("li", "now")
    assert step.attrs["data-health"] == health
    assert step.attrs["aria-current"] == "step"
    assert step.one("svg").one("use").attrs["href"].endswith(f"#h-{health}")
    assert step.one("span", "small").text.endswith(note)


def test_what_nobody_read_is_not_known(desk, cast):
    root = show(STAGES["doubtful"](desk), cast.rivera)
    todo = [li.one("span", "small").text for li in root.one("ol", "steps").all("li", "todo")]
    assert todo == ["Not known"] * 3


@pytest.mark.parametrize("stage", ENDED)
def test_every_ending_but_success_can_be_asked_again(desk, cast, stage):
    failover = STAGES[stage](desk)
    links = [a.attrs["href"] for a in show(failover, cast.rivera).all("a") if a.text == "Request again…"]
    expected = f"/relationships/dr/{desk.row.relationship_id}/fail-over/?again={failover.number}"
    assert links == ([] if stage == "succeeded" else [expected])
    assert "Request again…" not in said(show(failover, cast.viewer))  # who may not ask is not offered it


@pytest.mark.parametrize("stage", NOTHING_SENT)
def test_nothing_was_lost_when_nothing_was_sent(desk, cast, stage):
    assert "Lost Nothing was lost" in said(show(STAGES[stage](desk), cast.rivera))


def test_the_loss_of_what_is_in_doubt_may_be_one(desk, cast):
    assert "May be lost Up to 5 min" in said(show(STAGES["doubtful"](desk), cast.rivera))


# ── On the cluster ──


def test_a_revert_shows_the_figures_of_the_cluster(desk, cast):
    root = show(reverting(desk), cast.rivera)
    assert root.one("progress").attrs["value"] == "55"
    assert [th.text for th in root.one("table").all("th", scope="col")] == [
        "Measure",
        "Copied",
        "Unchanged",
        "Deleted",
        "Remaining",
        "Total (approx.)",
    ]


def test_figures_from_before_the_revert_are_not_its_figures(desk, cast):
    """A replication job may have stood at 64 % when make-writable was sent."""
    failover = desk.sent()
    Observation.objects.all().delete()
    root = show(failover, cast.rivera)
    assert "The revert has not been read yet." in said(root)
    assert "reports no figures" not in said(root)
    job = {"percent_complete": 64.0, "estimated_seconds_remaining": 5, "throughput_current": 1}
    status = {"replication_job_status": job}
    Observation.objects.create(
        relationship=desk.row, held_by=failover.number, at=database_now(), state="ESTABLISHED", status=status
    )
    root = show(failover, cast.rivera)
    assert "64 %" not in said(root.one("main"))
    assert root.all("progress") == []


def test_a_revert_without_figures_shows_none_of_ours(desk, cast):
    root = show(STAGES["without_figures"](desk), cast.rivera)
    bar = root.one("progress")
    assert "value" not in bar.attrs
    assert bar.attrs["aria-label"] == "Revert progress, not reported"
    assert "dr reports no figures for this revert." in said(root)
    assert "%" not in said(root.one(id="part-body"))
    assert root.one(id="part-body").all("table") == []


@pytest.mark.parametrize("stage", ["doubtful", "reverting", "without_figures", "not_seen"])
def test_what_was_sent_says_that_it_cannot_be_taken_back(desk, cast, stage):
    text = said(show(STAGES[stage](desk), cast.rivera))
    assert "It cannot be taken back from here." in text
    assert "Cancel request" not in text


def test_doubt_says_what_each_reading_to_come_will_mean(desk, cast):
    root = show(STAGES["doubtful"](desk), cast.rivera)
    meanings = {row.one("dt").text: row.one("dd").text for row in root.one("dl", "rows").all("div")}
    assert list(meanings) == ["Disconnected and writable", "Disconnecting", "Established and read-only"]
    assert meanings["Established and read-only"].startswith("Not seen yet. It may still arrive until")
    assert "Do not send it again." in said(root)
    assert root.all(cls="danger") == []


def test_a_silent_cluster_is_told_with_its_reason(desk, cast):
    text = said(show(STAGES["silent"](desk), cast.rivera).one(id="part-body"))
    assert "No usable answer since" in text
    assert "1 × no usable answer" in text


# ── Polls ──


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


# ── Before it is sent ──


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


# ── Closing ──


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


# ── Bad input ──


@pytest.mark.parametrize(
    "number", ["FO-998877", "FO-01", "1001", "FO-", "FO-1001x", "FO-99999999999999999999", "fo-1001"]
)
def test_another_number_is_404(desk, cast, number):
    STAGES["requested"](desk)
    client = browser(cast.osei)
    for path in ("", "live/"):
        assert client.get(f"/failovers/{number}/{path}").status_code == 404
    for path in ("decide/", "cancel/", "close/"):
        sent = {"decision": "reject", "outcome": "other"} if path != "cancel/" else {}
        sent.pop("decision" if path == "close/" else "outcome", None)
        assert client.post(f"/failovers/{number}/{path}", sent).status_code == 404


@pytest.mark.parametrize("path", ["decide", "cancel", "close"])
@pytest.mark.parametrize("body", ["decision=reject&decision=approve", "outcome=other&outcome=other", "state=closed"])
def test_a_form_that_no_page_made_is_400(desk, cast, path, body):
    failover = STAGES["requested"](desk)
    answer = browser(cast.osei).post(
        f"/failovers/{failover.number}/{path}/", body, content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 400
    failover.refresh_from_db()
    assert failover.state == State.REQUESTED


def test_what_a_cluster_says_when_it_refuses_stays_text(desk, cast):
    evil = '<img src=x onerror=alert(1)>"\u202e'
    failover = desk.sent(faults.refusal(409, "<script>", evil, path="/make-writable"))
    assert failover.state == State.REFUSED
    root = show(failover, cast.rivera)
    assert root.all("img") == []
    assert "<img src=x onerror=alert(1)>" in said(root.one(id="part-hero"))
    assert "\u202e" not in said(root)


def test_what_people_wrote_stays_text(desk, cast):
    asked = desk.request(reason="<script>alert(1)</script>\nsecond line", ticket="<b>1</b>")
    root = show(asked.failovers.get(), cast.osei)
    assert "<script>alert(1)</script>" in root.one("blockquote").text
    assert len(root.one("blockquote").all("br")) == 1
    assert "Ticket <b>1</b>" in said(root)


def test_an_unknown_state_is_shown_as_it_came(desk, cast):
    failover = STAGES["doubtful"](desk)
    Observation.objects.update(state="PAUSED_BY_<i>MAGIC</i>")
    assert "PAUSED_BY_<i>MAGIC</i>" in said(show(failover, cast.rivera).one(id="part-body"))


def test_somebody_elses_hand_is_seen(desk, cast):
    failover = STAGES["doubtful"](desk)
    desk.sim.state = ApiState.RECONNECTING
    desk.step(failover)
    root = show(failover, cast.osei)
    assert said(root.one(id="part-hero")).startswith("A person must look. Somebody is reconnecting the relationship.")


def test_the_request_stands_on_the_page_to_the_end(desk, cast):
    root = show(STAGES["succeeded"](desk), cast.viewer)
    assert root.one("blockquote").text == REASON
    assert "Asked by a.rivera" in said(root)
    assert "Approved by k.osei" in said(root)
    assert "“Go.”" in said(root)
