"""The dialog: what it says, and what it never does by itself."""

from __future__ import annotations

from datetime import timedelta

from dashboard.accounts.models import Group
from dashboard.database import database_now
from dashboard.failovers.models import Policy, Request
from dashboard.fleet import observe
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import State
from tests.failovers.desk import pass_time
from tests.web.dialogs import HTMX, address, dialog, form, page_of
from tests.web.fleet import browser
from tests.web.scene import STAGES

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
