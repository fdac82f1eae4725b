"""Asking: what the dialog says, what it never does by itself, and what bad input gets."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from dashboard.accounts.models import Group
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.models import Failover, Hold, Policy, Request
from dashboard.fleet import observe
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import State
from dashboard.web.forms import pattern_of
from tests.failovers.desk import REASON, Desk, pass_time
from tests.web.fleet import Element, Page, browser
from tests.web.scene import STAGES

HTMX = {"HX-Request": "true"}
GOOD = {"typed": "/dr/finance", "reason": REASON, "ticket": "INC-20719"}


def address(desk: Desk) -> str:
    return reverse("fail-over", args=("dr", desk.row.relationship_id))


def form(**changes: str) -> dict[str, str]:
    return GOOD | {"nonce": str(uuid.uuid4())} | changes


def page_of(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def dialog(desk: Desk, user: Any = None, **query: str) -> Element:
    return page_of(browser(user or desk.cast.rivera).get(address(desk), query, headers=HTMX))


def twin(desk: Desk, **changes: Any) -> Relationship:
    """Another relationship, alike but for these columns."""
    columns = {f.attname: getattr(desk.row, f.attname) for f in Relationship._meta.concrete_fields if not f.primary_key}
    return Relationship.objects.create(**columns | changes)


# ── What it says ──


def test_htmx_gets_the_fragment_that_a_script_makes_modal(desk):
    root = dialog(desk)
    found = root.one("dialog")
    assert "open" not in found.attrs  # showModal refuses one that is open already
    assert root.all("html") == []
    assert found.one("form").attrs["hx-target"] == "#dialog-slot"


def test_without_a_script_it_is_a_page_with_everything_behind_it_inert(desk):
    root = page_of(browser(desk.cast.rivera).get(address(desk)))
    assert "open" in root.one("dialog").attrs
    assert "inert" in root.one("main").attrs
    assert "inert" in root.one("header", "bar").attrs
    assert "hx-post" not in root.one("dialog").one("form").attrs


def test_it_names_itself_and_its_sentence(desk):
    found = dialog(desk).one("dialog")
    title, sentence = (found.one(id=found.attrs[f"aria-{of}"]) for of in ("labelledby", "describedby"))
    assert title.text == "Make /dr/finance on dr writable?"
    assert sentence.text == "Replication from prod:/prod/finance breaks. Once sent, this cannot be stopped from here."


def test_enter_in_a_field_sends_nothing(desk):
    """The first button of a form is the one that Enter presses."""
    first = dialog(desk).one("form").all("button")[0]
    assert {"disabled", "hidden"} <= first.attrs.keys()


def test_focus_starts_on_cancel_and_asking_is_not_red(desk):
    root = dialog(desk)
    assert [each.text for each in root.within() if "autofocus" in each.attrs] == ["Cancel"]
    assert root.all(cls="danger") == []
    assert root.one("button", id="failover-ask").classes == ["btn", "primary"]


def test_it_says_what_is_lost_first_and_then_what_will_happen(desk):
    root = dialog(desk)
    order = [each.text for each in root.within() if each.tag in ("h1", "h2", "label") or "gone" in each.classes]
    assert order[0].startswith("Make")
    assert order[1].startswith("Up to 5 min")
    assert order[2:4] == ["What will happen", "Checks"]
    assert "To confirm, type the target path" in order[4:]
    points = [item.text for item in root.one("ol", "what").all("strong")]
    assert points[1:] == [
        "The source is disconnected.",
        "The target becomes writable.",
        "Reconnecting later reverts your work.",
    ]
    assert points[0].startswith("The target goes back to ")


def test_it_says_who_can_approve(desk):
    words = dialog(desk).text
    assert "j.lind and k.osei can approve for dr. The request expires after 30 min." in words
    assert "One other person must approve." in words
    assert "Nothing is sent to dr until the request is approved." in words


def test_whoever_asks_is_not_among_those_who_can_approve(desk):
    lind = desk.cast.lind
    lind.roles = ["operator", "approver"]
    lind.save()
    assert "k.osei can approve for dr." in dialog(desk, lind).text


def test_it_says_when_nobody_else_may_approve(desk):
    for user in (desk.cast.lind, desk.cast.osei):
        user.roles = ["viewer"]
        user.save()
    assert "Nobody could approve this: one other person cannot be found." in dialog(desk).text


def test_the_last_failover_is_named_only_when_there_was_one(desk):
    assert "the last failover took" not in dialog(desk).text
    STAGES["succeeded"](desk)
    assert "the last failover took" in dialog(desk).text


def test_a_running_job_is_named_with_what_it_has_done(desk):
    desk.clock.pass_time(desk.sim.every)
    desk.sim.takes = 1000
    desk.clock.pass_time(desk.sim.every)
    desk.read()
    row = Relationship.objects.get(pk=desk.row.pk)
    assert row.job_running
    assert "What the running job (" in dialog(desk).text


def test_a_read_only_source_is_no_danger(desk):
    desk.sim.source.read_only = True
    desk.read()
    assert "The source is read-only: no client can write to it." in dialog(desk).text


def test_a_loss_that_is_not_known_is_not_called_a_loss(desk):
    Cluster.objects.update(clock_ahead=7200)
    found = dialog(desk).one("div", "loss")
    assert "unknown" in found.classes
    assert "Loss not known: the clocks of dr and this desk differ by 2 h." in found.text
    assert "Up to" not in found.text


def test_nothing_is_lost_when_the_source_was_read_only_before_the_recovery_point(desk):
    desk.register("prod")
    desk.sim.source.read_only = True
    desk.read()
    observe.observe(Cluster.objects.get(name="prod").pk)
    Relationship.objects.update(source_read_only_since=database_now() - timedelta(days=1))
    found = dialog(desk).one("div", "loss")
    assert found.all(cls="gone") == []
    assert "Nothing lost: the source has been read-only since before it." in found.text


# ── Which kind it is ──


def test_the_checks_follow_the_kind_that_is_chosen(desk):
    root = dialog(desk)
    assert "checked" in root.one("input", name="mode", value="unplanned").attrs
    assert "disabled" not in root.one("button", id="failover-ask").attrs
    chosen = root.one("input", name="mode", value="planned").attrs
    assert (chosen["hx-target"], chosen["hx-params"]) == ("#failover-checks", "mode")
    client = browser(desk.cast.rivera)
    found = page_of(client.get(chosen["hx-get"], {"mode": "planned"}, headers=HTMX))
    assert "Block: The source is not read-only." in found.one(id="failover-checks").text
    assert "disabled" in found.one("button", id="failover-ask").attrs
    again = found.one(id="failover-checks").attrs["hx-get"]
    assert "mode=planned" in again
    assert client.get(again).status_code == 204  # the poll goes on with this kind
    assert (
        page_of(client.get(chosen["hx-get"], {"mode": "nonsense"})).all("button", id="failover-ask", disabled="") == []
    )


def test_a_drill_is_asked_for_as_one(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form(mode="drill"))
    assert answer.status_code == 303
    assert Request.objects.get().mode == "drill"


def test_a_planned_failover_that_would_lose_something_is_refused_and_comes_back_as_planned(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form(mode="planned"))
    root = page_of(answer)
    assert answer.status_code == 422
    assert "The source is not read-only." in root.text
    assert "checked" in root.one("input", name="mode", value="planned").attrs
    assert Request.objects.count() == 0


def test_a_kind_that_there_is_not_is_refused_in_words(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form(mode="party"))
    assert answer.status_code == 422
    assert page_of(answer).one(id="mode-e").text == "Say whether it is unplanned, planned or a drill."
    assert Request.objects.count() == 0


# ── What the policy asks for ──


def test_the_policy_is_told_with_its_prompt_and_its_pattern(desk):
    Group.objects.create(name="storage").members.set([desk.cast.osei.person])
    Policy.objects.create(
        name="finance",
        shares=[{"group": "storage", "count": 1}, {"group": "", "count": 1}],
        prompt="Name the incident commander.",
        ticket_pattern="INC-[0-9]+",
        decide_minutes=45,
    )
    root = dialog(desk)
    assert "One of storage and one other person must approve." in root.text
    assert "One of storage: k.osei can; one other person: j.lind or k.osei can." in root.text
    assert "The request expires after 45 min." in root.text
    assert root.one(id="reason-h").text.startswith("Name the incident commander.")
    assert "INC-[0-9]+" in root.one(id="ticket-h").text
    assert "required" in root.one("input", id="ticket").attrs
    answer = browser(desk.cast.rivera).post(address(desk), form(ticket="20719"))
    assert answer.status_code == 422
    assert "The ticket does not match INC-[0-9]+" in page_of(answer).one(id="ticket-e").text
    assert Request.objects.count() == 0


def test_a_policy_that_nobody_can_satisfy_is_red_before_the_night_it_is_needed(desk):
    Policy.objects.create(name="finance", shares=[{"group": "ghosts", "count": 2}])
    told = next(each for each in dialog(desk).all("section", "banner") if each.attrs.get("data-health") == "critical")
    assert "Nobody could approve this: two of ghosts cannot be found." in told.text


# ── What a block does ──


def test_a_block_stops_the_button_and_says_why(desk):
    desk.sim.state = State.RECONNECTING
    desk.read()
    root = dialog(desk)
    assert "disabled" in root.one("button", id="failover-ask").attrs
    assert "1 check blocks this failover. The button works again when it passes" in root.one("footer").text
    worst = root.one(id="failover-checks").all("li")[0]
    assert worst.text.startswith("Block: The relationship is being reconnected.")


def test_the_checks_repeat_and_bring_the_button_back(desk):
    desk.sim.state = State.RECONNECTING
    desk.read()
    client = browser(desk.cast.rivera)
    polled = dialog(desk).one(id="failover-checks").attrs
    assert polled["hx-trigger"].startswith("every 10s")
    assert client.get(polled["hx-get"]).status_code == 200
    seen = page_of(client.get(polled["hx-get"])).one(id="failover-checks").attrs["hx-get"]
    assert client.get(seen).status_code == 204  # nothing new: the page is not touched
    desk.sim.state = State.ESTABLISHED
    desk.read()
    root = page_of(client.get(seen))
    assert "disabled" not in root.one("button", id="failover-ask").attrs
    assert root.one("footer").attrs["hx-swap-oob"] == "true"
    assert root.all("input") == root.all("textarea") == []  # what is typed is never swapped


def test_what_was_read_too_long_ago_can_be_read_again_from_here(desk):
    assert dialog(desk).all(id="failover-read-now") == []
    pass_time(31)
    button = dialog(desk).one("button", id="failover-read-now")
    assert button.attrs["type"] == "button"  # it does not send the form
    assert button.attrs["hx-params"] == "none"
    assert browser(desk.cast.rivera).post(button.attrs["hx-post"], headers=HTMX).status_code == 200


def test_a_session_that_ended_is_told_inside_the_dialog(desk):
    banner = dialog(desk).one("section", data_signed_out="")
    assert "hidden" in banner.attrs  # freshness.js shows it when an answer says so
    assert "Your text is kept, and nothing was sent." in banner.text


# ── Asking ──


def test_a_good_form_makes_one_request_and_leads_to_its_page(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form())
    asked = Request.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/failovers/{asked.number}/")
    assert (asked.reason, asked.ticket, asked.requester_label) == (REASON, "INC-20719", "a.rivera")


def test_htmx_is_led_there_by_a_header(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form(), headers=HTMX)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, f"/failovers/{Request.objects.get().number}/")


def test_a_double_click_is_one_request(desk):
    client, same = browser(desk.cast.rivera), form()
    first, second = client.post(address(desk), same), client.post(address(desk), same)
    assert Request.objects.count() == 1
    assert first["Location"] == second["Location"]


def test_a_refusal_keeps_the_nonce_so_that_the_next_click_is_still_one_request(desk):
    client, wrong = browser(desk.cast.rivera), form(reason="short")
    root = page_of(client.post(address(desk), wrong, headers=HTMX))
    assert root.one("input", name="nonce").attrs["value"] == wrong["nonce"]


BAD = {
    "typed": ({"typed": "/dr/finanse"}, "The path does not match. Type /dr/finance"),
    "reason": ({"reason": "because"}, "Say in a few words why, at least 10 characters."),
    "ticket": ({"ticket": "x" * 65}, "The ticket is longer than 64 characters."),
}


@pytest.mark.parametrize("field", BAD)
def test_a_wrong_field_comes_back_with_one_sentence_at_it(desk, field):
    changes, sentence = BAD[field]
    sent = form(**changes)
    answer = browser(desk.cast.rivera).post(address(desk), sent)
    assert answer.status_code == 422
    root = page_of(answer)
    place = root.one(id=field)
    assert place.attrs["aria-invalid"] == "true"
    assert "autofocus" in place.attrs
    assert root.one(id=f"{field}-e").text == sentence
    assert f"{field}-e" in place.attrs["aria-describedby"].split()
    kept = {each.attrs.get("name"): each.attrs.get("value") for each in root.all("input")}
    kept["reason"] = root.one("textarea", name="reason").text
    assert {name: kept[name] for name in GOOD} == {name: sent[name] for name in GOOD}
    assert not Request.objects.exists()


def test_htmx_gets_the_form_back_with_200_because_it_swaps_nothing_else(desk):
    answer = browser(desk.cast.rivera).post(address(desk), form(typed="no"), headers=HTMX)
    assert answer.status_code == 200
    assert page_of(answer).one("dialog").one(id="typed-e").text.startswith("The path does not match.")


def silent(desk: Desk) -> None:
    Cluster.objects.update(trouble="unreachable", silent=True)


def old(desk: Desk) -> None:
    pass_time(31)


def reconnecting(desk: Desk) -> None:
    desk.sim.state = State.RECONNECTING
    desk.read()


def without_a_point(desk: Desk) -> None:
    Relationship.objects.update(
        recovery_point_at=None, status=desk.row.status | {"recovery_point": "", "recovery_point_snapshot": None}
    )


def taken(desk: Desk) -> None:
    desk.request(by=desk.cast.tanaka)


def held(desk: Desk) -> None:
    Hold.objects.create(scope="dr", reason="Maintenance of dr until noon.", by="admin", at=database_now())


def watched_only(desk: Desk) -> None:
    Cluster.objects.update(executor_token="")


OBSTACLES = {
    silent: "dr does not answer.",
    old: "Read it again before you ask.",
    reconnecting: "The relationship is being reconnected.",
    without_a_point: "No job has ever succeeded",
    taken: "is open for this relationship.",
    held: "Nothing is sent: Maintenance of dr until noon.",
    watched_only: "Failover Desk has no executor token for dr.",
}


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda obstacle: obstacle.__name__)
def test_what_stands_in_the_way_is_said_on_top_and_nothing_is_queued(desk, obstacle):
    obstacle(desk)
    before = Request.objects.count()
    answer = browser(desk.cast.rivera).post(address(desk), form())
    root = page_of(answer)
    assert answer.status_code == 422
    assert OBSTACLES[obstacle] in root.one("dialog").all(role="alert", data_health="critical")[0].text
    assert root.one("textarea", name="reason").text == REASON
    assert Request.objects.count() == before


def test_a_refusal_is_recorded_though_the_verb_rolled_back(desk):
    browser(desk.cast.rivera).post(address(desk), form(typed="/dr/other"))
    entry = Entry.objects.latest("seq")
    assert (entry.tag, entry.actor) == ("request.refused", "a.rivera")
    assert entry.record["words"] == "The path does not match. Type /dr/finance"


@pytest.mark.parametrize("who", ["osei", "okafor", "admin", "viewer"])
def test_only_an_operator_asks(desk, cast, who):
    client = browser(getattr(cast, who))
    assert "You may not request failovers for dr." in page_of(client.get(address(desk))).text
    assert client.post(address(desk), form()).status_code == 403
    assert not Request.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        "typed=/dr/finance&typed=/dr/other&reason=long+enough+it+is&ticket=&nonce={}",
        "typed=/dr/finance&reason=long+enough+it+is&ticket=&nonce={}&state=approved",
        "typed=/dr/finance&reason=long+enough+it+is&ticket=&nonce=17",
        "typed=/dr/finance&reason=long+enough+it+is&ticket=",
        "typed=/dr/finance&reason=long%00enough+it+is&ticket=&nonce={}",
    ],
    ids=["doubled", "unknown", "bad-nonce", "no-nonce", "nul"],
)
def test_a_form_that_our_page_did_not_make_is_400(desk, query):
    body = query.format(uuid.uuid4())
    answer = browser(desk.cast.rivera).post(address(desk), body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400
    assert not Request.objects.exists()


def test_a_relationship_that_is_not_there_is_404(desk):
    client = browser(desk.cast.rivera)
    assert client.get(reverse("fail-over", args=("dr", str(uuid.uuid4())))).status_code == 404
    assert client.get(reverse("fail-over", args=("other", desk.row.relationship_id))).status_code == 404


# ── Typing the path ──


def test_two_targets_of_the_same_path_are_told_apart_by_their_cluster(desk):
    other = Cluster.objects.create(name="dr-two", url="https://two.example:8000", uuid=str(uuid.uuid4()))
    twin(desk, cluster_id=other.pk)
    root = dialog(desk)
    assert "Type dr:/dr/finance" in root.text
    client = browser(desk.cast.rivera)
    assert client.post(address(desk), form()).status_code == 422
    assert client.post(address(desk), form(typed="dr:/dr/finance")).status_code == 303


@pytest.mark.parametrize("path", ["/dr/finance", "/a+b (c) [d] {e}|f^g$h.i*j?k\\l-m&n~o#p", "/ünï/x"])
def test_the_pattern_matches_the_path_and_nothing_else(path):
    pattern = pattern_of(path)
    assert re.fullmatch(pattern, path)
    assert not re.fullmatch(pattern, path + "x")
    assert not re.fullmatch(pattern, path.replace("i", "j").replace("ï", "j"))
    # A browser compiles it with the `v` flag, which knows no escape but those of its syntax.
    assert set(re.findall(r"\\(.)", pattern)) <= set("^$\\.*+?()[]{}|/")


HOSTILE = "/dr/<img src=x onerror=alert(1)>\"'&\u202etxt/"


def test_whatever_a_cluster_is_called_or_says_stays_text(desk):
    Relationship.objects.update(
        target_root_path=HOSTILE,
        source_root_path=HOSTILE,
        source_cluster_name="<script>alert(1)</script>",
        status=desk.row.status
        | {"target_root_path": HOSTILE, "error_from_last_job": "<b>x</b>", "source_cluster_name": "<script>"},
    )
    root = page_of(browser(desk.cast.rivera).get(address(desk)))
    behaved = dialog(desk).tags()
    assert "img" not in behaved
    assert "script" not in behaved
    assert "\u202e" not in root.text
    assert "\\u202e" in root.one("input", name="typed").attrs["pattern"].replace("\\\\", "\\")


# ── Again, and after a session that ended ──


def test_asking_again_brings_reason_and_ticket_and_never_the_path(desk):
    before = STAGES["refused"](desk)
    root = dialog(desk, again=before.number)
    assert root.one("textarea", name="reason").text == REASON
    assert root.one("input", name="ticket").attrs["value"] == "INC-20719"
    assert root.one("input", name="typed").attrs["value"] == ""


@pytest.mark.parametrize("number", ["FO-999", "FO-", "1", "FO-99999999999999999999", "<script>"])
def test_asking_again_for_what_never_was_is_an_empty_form(desk, number):
    assert dialog(desk, again=number).one("textarea", name="reason").text == ""


def test_a_request_of_another_relationship_fills_nothing(desk):
    before = STAGES["cancelled"](desk)
    other = twin(desk, target_root_id="77", relationship_id=str(uuid.uuid4()))
    url = reverse("fail-over", args=("dr", other.relationship_id))
    root = page_of(browser(desk.cast.rivera).get(url, {"again": before.number}, headers=HTMX))
    assert root.one("textarea", name="reason").text == ""


def test_what_was_typed_before_the_session_ended_comes_back_and_nothing_was_sent(desk):
    client = browser(desk.cast.rivera)
    session = client.session
    session["kept"] = {"form": address(desk), "fields": form(reason="Half a reason")}
    session.save()
    root = page_of(client.get(address(desk)))
    assert root.one("textarea", name="reason").text == "Half a reason"
    assert "You were signed out before this was sent. Nothing was sent." in root.text
    assert not Request.objects.exists()


def test_asking_decides_nothing(desk):
    browser(desk.cast.rivera).post(address(desk), form())
    assert Failover.objects.get().state == "requested"
    assert desk.posts == 0
