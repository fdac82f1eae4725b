"""Asking in the dialog: what a request needs, and what bad input gets."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.urls import reverse

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.models import Failover, Hold, Request
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import State
from dashboard.web.forms import pattern_of
from tests.failovers.desk import REASON, Desk, pass_time
from tests.web.dialogs import GOOD, HTMX, address, dialog, form, page_of
from tests.web.fleet import browser
from tests.web.scene import STAGES


def twin(desk: Desk, **changes: Any) -> Relationship:
    """Another relationship, alike but for these columns."""
    columns = {f.attname: getattr(desk.row, f.attname) for f in Relationship._meta.concrete_fields if not f.primary_key}
    return Relationship.objects.create(**columns | changes)


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
