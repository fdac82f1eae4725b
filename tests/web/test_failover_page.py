"""The one page of a failover: what it says at each stage, and what it never claims."""

from __future__ import annotations

import re

import pytest

from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.fleet.models import Observation
from dashboard.simulator import State as ApiState
from dashboard.simulator import faults
from tests.failovers.desk import REASON
from tests.web.fleet import browser
from tests.web.following import said, show, steps
from tests.web.scene import ENDED, STAGES, reverting

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


def test_a_revert_that_is_nearly_done_never_reads_as_done(desk, cast):
    root = show(reverting(desk, 598), cast.rivera)  # 99.7 %
    assert root.one("progress").attrs["value"] == "99"
    assert "99%" in said(root.one("ol", "steps"))
    assert "100%" not in said(root.one("main"))


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
    assert "64%" not in said(root.one("main"))
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
