"""The page of holds: who holds, who lifts, what the page says before the click; and that open pages hear of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dashboard.accounts import people
from dashboard.accounts.models import User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import holds
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Failover, Heartbeat, Hold
from dashboard.failovers.recording import LATE
from tests.conftest import PASSWORD, Cast
from tests.fleet.lookout import Lookout
from tests.web.confirming import confirmed
from tests.web.fleet import Element, Page, browser, parsed
from tests.web.scene import STAGES

pytestmark = pytest.mark.django_db

WHY = "The array is being looked at."


def standing() -> list[tuple[str, str, str]]:
    return list(Hold.objects.standing().values_list("scope", "reason", "by"))


def add(name: str, *roles: str) -> User:
    return people.add(name, roles=list(roles), password=PASSWORD, actor=SYSTEM)


def page(user: User, address: str = "/holds/") -> Element:
    return parsed(browser(user).get(address))


def refused(answer: Any) -> Element:
    return Page(answer.content.decode()).root


def hold(user: User, scope: str = "dr", reason: str = WHY) -> Any:
    return browser(user).post("/holds/", {"scope": scope, "reason": reason})


def lift(
    user: User, scope: str = "dr", *, seen: str = "", reason: str = "It is right again.", proof: bool = True
) -> Any:
    client = browser(user)
    seen = seen or " ".join(str(each.pk) for each in holds.standing(scope))
    fields = confirmed(client, "lift", f"{scope or '*'} {seen}") if proof else {}
    address = f"/holds/lift/{scope}/" if scope else "/holds/lift/"
    return client.post(address, {"seen": seen, "reason": reason} | fields)


# ── Holding ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("scope", "stored"), [("dr", "dr"), ("*", "")])
@pytest.mark.parametrize("who", ["lind", "admin"])
def test_an_approver_or_an_admin_holds_with_a_reason_and_nothing_else(
    pair: Lookout, cast: Cast, who: str, scope: str, stored: str
) -> None:
    user = getattr(cast, who)
    assert hold(user, scope).status_code == 303
    assert standing() == [(stored, WHY, user.person.label)]
    entry = Entry.objects.get(tag="hold.set")
    assert (entry.record["actor"]["account"], entry.object) == (user.username, f"hold:{stored or 'all'}")


def test_a_form_that_is_sent_twice_is_one_hold(pair: Lookout, cast: Cast) -> None:
    assert [hold(cast.lind).status_code, hold(cast.lind, reason=f" {WHY} ").status_code] == [303, 303]
    assert standing() == [("dr", WHY, cast.lind.person.label)]
    assert Entry.objects.filter(tag="hold.set").count() == 1


@pytest.mark.parametrize("who", ["rivera", "okafor", "viewer"])
def test_others_read_what_is_held_and_have_no_form(pair: Lookout, cast: Cast, who: str) -> None:
    user = getattr(cast, who)
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    shown = page(user)
    assert WHY in shown.one(id="hold-dr").text
    assert shown.all("select") == []
    assert "Lift" not in shown.one(id="standing").text
    assert hold(user).status_code == 403
    assert len(standing()) == 1


@pytest.mark.parametrize(
    ("scope", "reason", "says"),
    [
        ("", WHY, "Choose what to hold."),
        ("nowhere", WHY, "Choose what to hold."),
        ("dr", "short", "Say in a few words why, at least 10 characters."),
    ],
)
def test_what_is_no_hold_is_said_at_its_field_and_what_was_typed_stays(
    pair: Lookout, cast: Cast, scope: str, reason: str, says: str
) -> None:
    answer = hold(cast.lind, scope, reason)
    assert answer.status_code == 422
    shown = refused(answer)
    assert shown.one("span", "wrong").text == says
    assert shown.one("textarea", id="reason").text == reason
    assert standing() == []
    assert Entry.objects.get(tag="hold.refused").record["words"] == says


def test_an_approver_of_one_cluster_holds_that_one_and_sees_no_other(pair: Lookout, cast: Cast) -> None:
    limited = add("l.west", "approver@dr", "viewer@other")
    holds.hold(actor=SYSTEM, scope="secret-site", reason="Nobody here may read this.")
    shown = page(limited)
    assert [option.attrs["value"] for option in shown.one("select", id="scope").all("option")] == ["", "dr"]
    assert "Nobody here may read this." not in shown.text
    assert hold(limited, "dr").status_code == 303
    for scope in ("*", "secret-site"):
        assert hold(limited, scope).status_code == 422
    assert [each[0] for each in standing()] == ["secret-site", "dr"]


def test_the_verb_itself_asks_who_may(pair: Lookout, cast: Cast) -> None:
    for user, scope in ((cast.rivera, "dr"), (add("l.far", "approver@far"), "dr"), (add("l.dr", "approver@dr"), "")):
        with pytest.raises(Refused, match="Only an approver or an admin may hold"):
            holds.hold(actor=SYSTEM, scope=scope, reason=WHY, user=user)
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    with pytest.raises(Refused, match="Only an admin may lift"):
        holds.lift(actor=SYSTEM, scope="dr", reason=WHY, user=cast.lind)


# ── Lifting ──────────────────────────────────────────────────────────────────


def test_the_page_says_what_expires_before_the_click_and_then_it_does(desk: Any, cast: Cast) -> None:
    failover = STAGES["requested"](desk)
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    shown = page(cast.admin, "/holds/lift/dr/")
    assert "1 failover expires." in shown.one(id="expires").text
    assert failover.number in shown.one(id="expires").text
    assert "Lift, and let 1 failover expire" in [each.text for each in shown.all("button")]
    assert lift(cast.admin).status_code == 303
    assert Failover.objects.get(pk=failover.pk).state == "expired"
    assert standing() == []
    record = Entry.objects.get(tag="hold.lifted").record
    assert record["words"] == "Hold lifted: It is right again."
    assert (record["detail"]["expired"], record["detail"]["held"]) == (1, [WHY])
    assert "confirmed with password" in record["detail"]["auth"]
    assert WHY in page(cast.viewer).text  # among those that were lifted before


def test_without_a_reason_or_a_proof_it_stands(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="", reason=WHY)
    for reason, proof in (("because", True), ("It is right again.", False)):
        answer = lift(cast.admin, "", reason=reason, proof=proof)
        assert answer.status_code == 422
        assert refused(answer).one("textarea", id="reason").text == reason
    assert len(standing()) == 1


def test_a_hold_that_was_set_meanwhile_is_not_lifted_unread(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    seen = str(holds.standing("dr").get().pk)
    holds.hold(actor=SYSTEM, scope="dr", reason="Another reason altogether.")
    answer = lift(cast.admin, seen=seen)
    assert answer.status_code == 409
    assert "Other holds stand now than this page showed." in refused(answer).text
    assert "Another reason altogether." in refused(answer).text
    assert len(standing()) == 2


def test_of_two_admins_the_second_is_told_that_it_is_done(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    seen = str(holds.standing("dr").get().pk)
    assert lift(cast.admin, seen=seen).status_code == 303
    answer = lift(cast.admin, seen=seen)
    assert (answer.status_code, "No such hold stands." in refused(answer).text) == (409, True)
    assert Entry.objects.filter(tag="hold.lifted").count() == 1


def test_a_hold_on_a_cluster_that_is_gone_can_still_be_lifted(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="long-gone", reason=WHY)
    assert lift(cast.admin, "long-gone").status_code == 303
    assert browser(cast.admin).get("/holds/lift/long-gone/").status_code == 404


def test_what_the_desk_found_by_itself_is_said_to_come_back(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    assert "it holds again at once" in page(cast.admin, "/holds/lift/dr/").text
    holds.hold(actor=SYSTEM, scope="", reason=WHY)
    assert "Still held after that: every cluster." in page(cast.admin, "/holds/lift/dr/").text


# ── Pages that are open ──────────────────────────────────────────────────────

HTMX = {"HX-Request": "true"}


def polls(client: Client, address: str, poll_id: str) -> tuple[Element, str, dict[str, str]]:
    """An open page: what it shows, where it polls, and what its script sends along."""
    shown = parsed(client.get(address))
    notices = shown.one(id="notices")
    return notices, shown.one(id=poll_id).attrs["hx-get"], HTMX | {"X-Notices": notices.attrs["data-version"]}


@pytest.mark.parametrize("which", ["list", "relationship", "approvals", "failover"])
def test_a_hold_shows_on_an_open_page_with_the_next_poll_and_goes_with_another(
    desk: Any, cast: Cast, which: str
) -> None:
    failover = STAGES["requested"](desk)
    row = failover.relationship
    address, poll_id = {
        "list": ("/", "relationships"),
        "relationship": (f"/relationships/dr/{row.relationship_id}/", "relationship"),
        "approvals": ("/approvals/", "approvals"),
        "failover": (f"/failovers/{failover.number}/", "failover-poll"),
    }[which]
    client = browser(cast.viewer)
    notices, poll, headers = polls(client, address, poll_id)
    assert "hidden" in notices.attrs
    holds.hold(actor=SYSTEM, scope="dr", reason=WHY)
    answer = client.get(poll, headers=headers)
    assert answer.status_code == 200
    told = parsed(answer).one(id="notices")
    assert told.attrs["hx-swap-oob"] == "true"
    assert "hidden" not in told.attrs
    assert "Held: nothing is sent to dr." in told.text
    assert WHY in told.text
    # Whoever has it is not told again: it would be read aloud again.
    again = client.get(poll, headers=HTMX | {"X-Notices": told.attrs["data-version"]})
    assert "notices" not in again.content.decode()
    holds.lift(actor=SYSTEM, scope="dr", reason="It is right again.")
    gone = parsed(client.get(poll, headers=HTMX | {"X-Notices": told.attrs["data-version"]})).one(id="notices")
    assert "hidden" in gone.attrs
    assert WHY not in gone.text


def test_when_nothing_else_is_new_the_notices_come_alone_and_the_page_stays(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    _notices, poll, headers = polls(client, "/approvals/", "approvals")
    holds.hold(actor=SYSTEM, scope="", reason=WHY)
    answer = client.get(poll, headers=headers)
    assert (answer.status_code, answer["HX-Reswap"]) == (200, "none")
    assert answer.content.decode().strip().startswith('<div id="notices"')


def test_a_hold_on_what_one_does_not_see_changes_nothing_for_them(pair: Lookout, cast: Cast) -> None:
    client = browser(add("v.dr", "viewer@dr"))
    _notices, poll, headers = polls(client, "/approvals/", "approvals")
    holds.hold(actor=SYSTEM, scope="elsewhere", reason=WHY)
    assert client.get(poll, headers=headers).status_code == 204


@pytest.mark.parametrize("scope", ["", "dr"])
def test_the_wall_hears_of_a_hold_with_its_next_poll(pair: Lookout, cast: Cast, scope: str) -> None:
    client = browser(cast.viewer)
    poll = parsed(client.get("/wall/")).one(id="wall-screen").attrs["hx-get"]
    assert client.get(poll, headers=HTMX).status_code == 204
    holds.hold(actor=SYSTEM, scope=scope, reason=WHY)
    shown = parsed(client.get(poll, headers=HTMX))
    assert "Held: nothing is sent" in shown.text
    assert WHY in shown.text


# ── A ledger that takes no entry ─────────────────────────────────────────────


def test_a_ledger_that_takes_no_entry_is_said_above_every_page_and_on_the_wall(pair: Lookout, cast: Cast) -> None:
    now = database_now()
    Heartbeat.objects.create(driver="sweep", at=now)
    Heartbeat.objects.create(driver="ledger", at=now)
    client = browser(cast.viewer)
    _notices, poll, headers = polls(client, "/approvals/", "approvals")
    wall = parsed(client.get("/wall/")).one(id="wall-screen").attrs["hx-get"]
    Heartbeat.objects.filter(driver="ledger").update(at=now - LATE * 2)
    words = "Nothing is sent: the database takes no entry (disk full?). Last entry possible at"
    assert words in parsed(client.get("/approvals/")).one(id="notices").text
    assert words in parsed(client.get(poll, headers=headers)).text
    assert "The database takes no entry (disk full?)." in parsed(client.get(wall, headers=HTMX)).text
    Heartbeat.objects.filter(driver="ledger").update(at=now)  # there is room again
    assert "hidden" in parsed(client.get("/approvals/")).one(id="notices").attrs
