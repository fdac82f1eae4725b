"""A site is down: many relationships chosen, asked for, decided and followed as one request."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers import holds
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.models import Relationship
from dashboard.simulator import State as Simulated
from dashboard.simulator import faults
from tests.failovers.desk import Desk, pass_time
from tests.web.fleet import browser, calm, parsed, polled
from tests.web.several import ASK, asked, decide, form, page_of, site, without

SELECT = "/fail-over/select/"


@pytest.fixture
def rows(desk: Desk) -> list[Relationship]:
    return site(desk, "a", "b", "c")


def query(rows: list[Relationship]) -> str:
    return "?" + "&".join(f"r={row.pk}" for row in rows)


def states(number: str) -> list[str]:
    return list(Failover.objects.filter(request=int(number[3:])).order_by("position").values_list("state", flat=True))


# ── Choosing ──


def test_the_list_leads_to_a_selection_that_stands_still(cast, rows):
    listed = parsed(browser(cast.rivera).get("/?cluster=dr"))
    link = listed.one("a", id="select-several").attrs["href"]
    assert link == f"{SELECT}?cluster=dr"
    root = parsed(browser(cast.rivera).get(link))
    assert "This list stands still since" in root.text
    assert [each for each in root.within() if each.attrs.get("hx-trigger", "").startswith("every")] == []
    assert len(root.all("input", name="r")) == len(rows)


def test_only_operators_select(cast, rows):
    assert parsed(browser(cast.osei).get("/")).all("a", id="select-several") == []
    for path in (SELECT, ASK + query(rows)):
        assert browser(cast.osei).get(path).status_code == 403


def test_all_of_a_source_are_ticked_at_once_and_stay_ticked_while_filtering(cast, rows):
    root = parsed(browser(cast.rivera).get(f"{SELECT}?all=prod&q=finance"))
    ticked = {each.attrs["value"] for each in root.all("input", name="r") if "checked" in each.attrs}
    assert ticked == {str(row.pk) for row in rows}
    assert root.one(id="picked").text == "4"
    assert root.text.count("Not in this filter") == 3
    whole = parsed(browser(cast.rivera).get(SELECT))
    assert [button.text for button in whole.all("button", name="all")] == ["Tick all 4 of prod"]


def test_what_cannot_be_failed_over_cannot_be_ticked(desk, cast, rows):
    desk.sim.state = Simulated.RECONNECTING
    desk.read()
    root = parsed(browser(cast.rivera).get(f"{SELECT}?all=prod"))
    box = root.one("input", id=f"r{desk.row.pk}")
    assert "disabled" in box.attrs
    assert "checked" not in box.attrs


def test_two_hundred_and_one_are_one_sentence(cast, rows):
    template = rows[0]
    columns = {f.attname: getattr(template, f.attname) for f in Relationship._meta.concrete_fields if not f.primary_key}
    Relationship.objects.bulk_create(
        Relationship(**columns | {"relationship_id": str(uuid.uuid4()), "target_root_id": str(n)}) for n in range(198)
    )
    many = list(Relationship.objects.order_by("pk")[:201])
    answer = browser(cast.rivera).get(ASK + query(many))
    assert answer.status_code == 422
    assert "201 are ticked, and one request carries up to 200." in page_of(answer).text
    answer = browser(cast.rivera).post(ASK, form(many))
    assert answer.status_code == 422
    assert "201 relationships are too many for one request" in page_of(answer).text
    assert Request.objects.count() == 0


def test_none_leads_back_and_one_to_its_own_dialog(cast, rows):
    client = browser(cast.rivera)
    assert client.get(ASK)["Location"] == SELECT
    assert client.get(ASK + query(rows[:1]))["Location"].endswith(f"/dr/{rows[0].relationship_id}/fail-over/")


# ── Asking ──


def test_each_stands_with_its_own_loss_and_checks_and_the_boxes_of_blocked_ones_are_off(desk, cast, rows):
    desk.sim.state = Simulated.RECONNECTING
    desk.read()
    root = parsed(browser(cast.rivera).get(ASK + query(rows)))
    lines = root.one("table", "items").one("tbody").all("tr")
    assert len(lines) == 4
    assert "Block: The relationship is being reconnected." in lines[0].text
    assert ["checked" in line.all("input", "tick")[0].attrs for line in lines] == [False, True, True, True]
    assert "Up to" in lines[1].text
    assert root.one(id="typed-h").text.startswith("Type dr 3")
    assert "1 is blocked." in root.text


def test_they_are_asked_for_in_the_order_that_was_typed(cast, rows):
    sent = form(rows) | {f"order-{rows[3].pk}": "1", f"order-{rows[0].pk}": "7"}
    answer = browser(cast.rivera).post(ASK, sent)
    assert answer.status_code == 303
    made = Request.objects.get()
    order = list(made.failovers.order_by("position").values_list("relationship", flat=True))
    assert order == [rows[3].pk, rows[1].pk, rows[2].pk, rows[0].pk]
    assert answer["Location"] == f"/failovers/{made.number}/"


def test_what_is_left_out_is_not_asked_for(cast, rows):
    sent = without(form(rows), f"take-{rows[1].pk}") | {"typed": "dr 3"}
    assert browser(cast.rivera).post(ASK, sent).status_code == 303
    assert Request.objects.get().size == 3
    assert not Failover.objects.filter(relationship=rows[1]).exists()


def test_one_that_is_blocked_is_refused_by_its_name_and_nothing_is_lost(desk, cast, rows):
    desk.sim.state = Simulated.RECONNECTING
    desk.read()
    sent = form(rows, ticket="INC-1") | {f"order-{rows[2].pk}": "9"}
    answer = browser(cast.rivera).post(ASK, sent)
    root = page_of(answer)
    assert answer.status_code == 422
    said = [banner.text for banner in root.all("section", "banner", role="alert")]
    assert "dr:/dr/finance: The relationship is being reconnected. Wait until it is established." in said
    assert root.one("input", id="typed").attrs["value"] == "dr 4"
    assert root.one("input", id="ticket").attrs["value"] == "INC-1"
    assert root.one("textarea", id="reason").text == sent["reason"]
    assert root.one("input", id=f"order-{rows[2].pk}").attrs["value"] == "9"
    assert all("checked" in each.attrs for each in root.all("input", "tick"))
    assert root.one("input", name="nonce").attrs["value"] == sent["nonce"]
    assert Request.objects.count() == 0
    told = Entry.objects.latest("seq")
    assert (told.tag, told.object) == ("request.refused", "4 relationships")


@pytest.mark.parametrize("place", ["", "0", "-1", "first", "1.5", "1000", "١"])
def test_a_place_that_is_no_number_is_named(cast, rows, place):
    answer = browser(cast.rivera).post(ASK, form(rows) | {f"order-{rows[1].pk}": place})
    assert answer.status_code == 422
    line = page_of(answer).one("input", id=f"order-{rows[1].pk}").parent
    assert line is not None
    assert "The place of dr:/dr/a is not a number from 1 to 999." in line.text
    assert Request.objects.count() == 0


def test_the_number_is_typed_along_with_the_cluster(cast, rows):
    for typed in ("dr", "dr 5", "dr-west 4", "/dr/finance"):
        answer = browser(cast.rivera).post(ASK, form(rows, typed=typed))
        assert answer.status_code == 422
        assert page_of(answer).one(id="typed-e").text == "The confirmation does not match. Type dr 4"
    assert Request.objects.count() == 0


def test_looking_again_asks_for_nothing_and_keeps_what_was_typed(desk, cast, rows):
    desk.sim.source.read_only = True
    desk.read()
    before = Entry.objects.count()
    answer = browser(cast.rivera).post(ASK, form(rows, act="look", mode="planned", typed="dr"))
    root = page_of(answer)
    assert answer.status_code == 200
    assert root.one("input", name="mode", value="planned").attrs.keys() >= {"checked"}
    assert root.one("input", id="typed").attrs["value"] == "dr"
    assert Entry.objects.count() == before
    assert Request.objects.count() == 0


@pytest.mark.parametrize(
    "more",
    [
        {"take-999": "yes"},
        {"nonce": "x"},
        {"act": "both"},
        {"digest": "0"},
        {"reason": ["one", "two"]},
        {"order-1x": "1"},
    ],
)
def test_what_no_page_of_ours_sends_is_400(cast, rows, more):
    assert browser(cast.rivera).post(ASK, form(rows) | more).status_code == 400
    assert Request.objects.count() == 0
    assert Entry.objects.latest("seq").tag == "access.refused"


def test_an_item_that_is_not_there_or_not_theirs_is_404(desk, cast, rows):
    unknown = form(rows) | {"order-987654": "1", "take-987654": "yes"}
    assert browser(cast.rivera).post(ASK, unknown).status_code == 404
    assert browser(cast.rivera).get(f"{ASK}?r=987654").status_code == 404
    cast.rivera.roles = ["operator@elsewhere"]
    cast.rivera.save()
    client = browser(cast.rivera)
    for answer in (client.get(ASK + query(rows)), client.get(SELECT + query(rows)), client.post(ASK, form(rows))):
        assert answer.status_code == 404
        assert "/dr/" not in answer.content.decode()
    assert Request.objects.count() == 0


def test_a_double_click_is_one_request(cast, rows):
    sent, client = form(rows), browser(cast.rivera)
    first, second = client.post(ASK, sent), client.post(ASK, sent)
    assert first["Location"] == second["Location"]
    assert Request.objects.count() == 1


def test_what_was_typed_survives_a_session_that_ended(cast, rows):
    client = browser(cast.rivera)
    page = client.get(ASK + query(rows))
    assert page.status_code == 200
    client.logout()
    headers = {"Sec-Fetch-Site": "same-origin"}
    door = page_of(client.post(ASK, form(rows), headers=headers))
    sent = {each.attrs["name"]: each.attrs.get("value", "") for each in door.one("form").all("input")}
    sent |= {"username": "a.rivera", "password": "demo"}
    sent = {name: value for name, value in sent.items() if name and name != "csrfmiddlewaretoken"}
    answer = client.post("/sign-in/", sent, follow=True)
    root = page_of(answer)
    assert root.one("input", id="typed").attrs["value"] == "dr 4"
    assert len(root.all("input", "tick")) == 4
    assert "You were signed out before this was sent." in root.text
    assert Request.objects.count() == 0


# ── Deciding ──


def test_one_decision_covers_exactly_these_and_starts_them(cast, rows):
    number = asked(cast.rivera, rows)
    root = parsed(browser(cast.osei).get(f"/failovers/{number}/"))
    assert root.one("h1").text == "Make 4 targets on dr writable?"
    assert len(root.one("ol", "items").all("li", "item")) == 4
    assert [each.text for each in root.all("button", "danger")] == ["Approve and start 4 failovers"]
    assert decide(browser(cast.osei), number).status_code == 303
    assert states(number) == [State.APPROVED] * 4


def test_changed_facts_are_named_with_whose_they_are_and_must_be_ticked(desk, cast, rows):
    number = asked(cast.rivera, rows)
    desk.world.relationship("/dr/b/").source.read_only = True
    desk.read()
    root = parsed(browser(cast.osei).get(f"/failovers/{number}/"))
    box = root.one("input", id="seen").parent
    assert box is not None
    assert "1 fact changed since the request: Source access: Read-only (no. 3)." in box.text
    assert "Source access: Writable at the request, Read-only now" in root.one(id="item-3").text
    assert root.one(id="item-2").all("p", "changed-line") == []
    assert decide(browser(cast.osei), number).status_code == 422
    assert states(number) == [State.REQUESTED] * 4
    assert decide(browser(cast.osei), number, seen="yes").status_code == 303
    assert states(number) == [State.APPROVED] * 4


def test_the_approvals_page_has_one_line_for_all(cast, rows):
    number = asked(cast.rivera, rows)
    line = parsed(browser(cast.osei).get("/approvals/")).one("article", "req")
    assert line.one("h3").text == f"{number} 4 failovers"
    assert "From prod to dr" in line.text
    assert "on the one that loses most" in line.text
    decide(browser(cast.osei), number)
    cells = [cell.text for cell in parsed(browser(cast.osei).get("/approvals/")).one("tbody").one("tr").children]
    assert cells[0] == f"{number} 4 failovers"
    assert cells[1].endswith("and others")
    assert cells[5] == "0 of 4 writable, 4 wait their turn"


def test_a_failover_among_several_has_a_page_without_the_decision(cast, rows):
    number = asked(cast.rivera, rows)
    root = parsed(browser(cast.osei).get(f"/failovers/{number}/2/"))
    assert root.one("h1").text == "Make /dr/a on dr writable?"
    assert root.all("button", name="decision") == []
    assert f"/failovers/{number}/" in {each.attrs.get("href") for each in root.one("p", "crumb").all("a")}
    for place in ("0x", "5", "999"):
        assert browser(cast.osei).get(f"/failovers/{number}/{place}/").status_code == 404


def test_where_one_of_two_targets_is_held_it_is_named_and_the_others_can_start(sites, cast):
    """Approving starts what is not held, so it stays possible, and is still the act that throws data away."""
    rows = list(Relationship.objects.select_related("cluster").order_by("cluster__name"))
    asked = sites.request(relationships=rows, typed="dr 1, far 1")
    holds.hold(scope="far", reason="The floor is wet there.", actor=SYSTEM)
    root = parsed(browser(cast.osei).get(f"/failovers/{asked.number}/"))
    part = root.one(id="part-buttons")
    assert "Held: nothing is sent to far." in part.text
    assert part.one("button", id="approve").text == "Approve and start 2 failovers"
    assert "Approving covers exactly these 2." in part.text
    holds.hold(scope="dr", reason="And here, too.", actor=SYSTEM)
    part = parsed(browser(cast.osei).get(f"/failovers/{asked.number}/")).one(id="part-buttons")
    assert "Held: nothing is sent to dr and far." in part.text
    assert part.one("button", id="approve").text == "Approve, nothing starts"


# ── Following ──


def step_all(desk: Desk, number: str, rounds: int = 1) -> None:
    for _ in range(rounds):
        for failover in Failover.objects.filter(request=int(number[3:])).order_by("position"):
            if failover.state in (State.APPROVED, State.SENT, State.REVERTING):
                desk.step(failover)


def test_each_comes_to_its_own_end_and_the_whole_is_counted(desk, cast, rows):
    number = asked(cast.rivera, rows)
    decide(browser(cast.osei), number)
    refusing = desk.world.relationship("/dr/b/")
    desk.target.faults.add(
        faults.refusal(409, "replication_relationship_state_error", "Busy.", path=f"/{refusing.id}/make-writable")
    )
    step_all(desk, number, rounds=4)
    desk.clock.pass_time(60)
    step_all(desk, number)
    pass_time(3)
    step_all(desk, number, rounds=4)
    desk.clock.pass_time(60)
    step_all(desk, number)
    pass_time(3)
    step_all(desk, number)
    assert sorted(states(number)) == [State.REFUSED, *[State.SUCCEEDED] * 3]
    root = parsed(browser(cast.viewer).get(f"/failovers/{number}/"))
    assert root.one("h1").text == "Made 3 of 4 targets on dr writable"
    assert "3 of 4 writable, 1 not made writable" in root.one(id="part-standing").text
    bar = root.one(id="part-standing").one("progress").attrs
    assert (bar["value"], bar["max"]) == ("3", "4")
    lines = [line.text for line in root.one("ol", "items").all("li", "item")]
    assert "Refused by dr" in lines[2]
    assert all("Writable" in line for line in lines[:2] + lines[3:])
    failed = parsed(browser(cast.viewer).get(f"/failovers/{number}/?only=failed"))
    assert [line.attrs["id"] for line in failed.all("li", "item")] == ["item-3"]
    again = parsed(browser(cast.rivera).get(f"/failovers/{number}/")).one(id="part-cancel").one("a").attrs["href"]
    assert again == f"{ASK}?r={rows[2].pk}&again={number}"


def test_the_page_of_all_is_quiet_while_nothing_changes_and_told_when_one_does(desk, cast, rows):
    number = asked(cast.rivera, rows)
    decide(browser(cast.osei), number)
    client = browser(cast.osei)
    calm()
    root = parsed(client.get(f"/failovers/{number}/"))
    assert polled(client, root).status_code == 204
    desk.step(Failover.objects.get(request=int(number[3:]), position=0))
    answer = polled(client, root)
    assert answer.status_code == 200
    told = answer.content.decode()
    assert "#part-items" in told
    assert "#part-standing" in told


def test_what_was_done_before_is_told_with_each_and_in_full_on_its_own_page(desk, cast, rows):
    before = asked(cast.rivera, rows[:2])
    decide(browser(cast.osei), before, decision="reject", comment="The source is back.")
    number = asked(cast.rivera, rows)
    root = parsed(browser(cast.osei).get(f"/failovers/{number}/"))
    counted = ["1 earlier failover or drill" in root.one(id=f"item-{place}").text for place in (1, 2, 3, 4)]
    assert counted == [True, True, False, False]
    own = parsed(browser(cast.osei).get(f"/failovers/{number}/2/"))
    assert f"{before}/2: Rejected" in own.text
    assert f"/failovers/{before}/2/" in {each.attrs.get("href") for each in own.all("a")}


def test_the_wall_and_the_list_show_it_as_one(desk, cast, rows):
    number = asked(cast.rivera, rows)
    decide(browser(cast.osei), number)
    step_all(desk, number)
    wall = parsed(browser(cast.viewer).get("/wall/"))
    side = next(each for each in wall.all("section") if "Failover running" in each.text)
    assert "0 of 4 writable, " in side.text
    assert f"dr, {number}" in side.text
    assert "more" not in side.text
    listed = parsed(browser(cast.viewer).get("/"))
    assert {each.attrs["href"] for each in listed.all("a", "badge")} == {f"/failovers/{number}/"}


def test_what_has_not_started_can_be_taken_back(desk, cast, rows):
    number = asked(cast.rivera, rows)
    decide(browser(cast.osei), number)
    desk.step(Failover.objects.get(request=int(number[3:]), position=0))
    client = browser(cast.rivera)
    root = parsed(client.get(f"/failovers/{number}/"))
    assert root.one("button", id="cancel-request").text == "Cancel the 3 that have not started"
    assert client.post(f"/failovers/{number}/cancel/").status_code == 303
    assert states(number)[1:] == [State.CANCELLED] * 3
    assert states(number)[0] in (State.SENT, State.REVERTING)


def test_a_poll_with_nothing_new_asks_as_little_for_many_as_for_one(cast, rows, django_assert_max_num_queries):
    number = asked(cast.rivera, rows)
    client = browser(cast.osei)
    calm()
    root = parsed(client.get(f"/failovers/{number}/"))
    with django_assert_max_num_queries(4):
        assert polled(client, root).status_code == 204


def test_a_request_for_clusters_that_one_may_not_see_is_404(cast, rows):
    number = asked(cast.rivera, rows)
    cast.osei.roles = ["approver@elsewhere"]
    cast.osei.save()
    client: Any = browser(cast.osei)
    for path in ("", "live/", "2/", "2/live/"):
        assert client.get(f"/failovers/{number}/{path}").status_code == 404
    for path in ("decide/", "cancel/", "2/close/"):
        assert client.post(f"/failovers/{number}/{path}", {"decision": "approve"}).status_code == 404


def test_more_than_start_at_once_says_what_becomes_of_the_others(cast, rows, settings):
    where = f"/fail-over/?{query(rows)}"
    assert "the failover starts at once" in parsed(browser(cast.rivera).get(where)).text
    settings.AT_ONCE = 2
    words = parsed(browser(cast.rivera).get(where)).text
    assert "2 at a time start on a cluster, in this order." in words
    assert "What has not had its turn 15 min after the approval expires." in words
