"""Clocks that are wrong, and states that contradict what was asked, what was answered, or each other."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import Concern, State
from dashboard.fleet import observe
from dashboard.fleet.models import Observation
from dashboard.simulator import State as Api
from dashboard.simulator import faults
from tests.failovers.desk import pass_time
from tests.hostile.scene import NODE, WRITABLE, Scene

APPROVED = ["request.made", "request.approved"]
DOUBT = [*APPROVED, "failover.sent", "failover.doubt"]
REVERTING = [*APPROVED, "failover.sent", "failover.reverting"]
VERIFIED = ["failover.disconnected", "failover.succeeded"]

# ── H18, H20: the recovery point ──


def in_future(scene: Scene, ahead: timedelta) -> None:
    moment = (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    scene.row_says(recovery_point=moment, recovery_point_snapshot=None)


def says_no_negative_time(scene: Scene, *places: str) -> None:
    for where in places:
        assert not re.search(r"[-−]\s?\d+ (s|min|h|d)\b", scene.page(where).text), where


@pytest.mark.hostile("H18")
def test_a_recovery_point_a_little_ahead_counts_as_now(scene):
    in_future(scene, timedelta(seconds=100))
    scene.poll()
    page = {"list": "0 s", "dialog": ["Up to 0 s lost", "The recovery point is within its objective."]}
    scene.shows(page=page, database={"row.grade": "normal", "row.reason": ""}, ledger=[], posts=0)
    says_no_negative_time(scene, "list", "relationship", "dialog", "wall")


@pytest.mark.hostile("H18")
def test_a_recovery_point_far_ahead_has_no_age_and_what_is_lost_is_not_known(scene):
    in_future(scene, timedelta(minutes=10))
    scene.poll()
    lost = "Loss not known: the recovery point lies in the future."
    page = {
        "list": ["Recovery point in future", "In the future"],
        "relationship": "Its recovery point lies in the future: a clock is wrong, and its age is not known.",
        "dialog": ["The recovery point lies in the future.", "Its age is not known.", lost],
    }
    scene.shows(page=page, database={"row.grade": "warning"}, ledger=[], posts=0)
    says_no_negative_time(scene, "list", "relationship", "dialog", "wall")

    # A warning, no block: it is an emergency tool. Approvers see it, and so does whoever reads the record.
    scene.failover = scene.desk.request().failovers.get()
    scene.shows(page={"failover": lost, "approvals": lost}, database={}, ledger=["request.made"], posts=0)
    scene.desk.approve(scene.failover.request)
    scene.step()
    scene.revert_ends()
    scene.step(times=2)
    scene.shows(
        page={"failover": ["The target is writable.", lost]},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*REVERTING, *VERIFIED],
        posts=1,
    )
    says_no_negative_time(scene, "failover", "relationship", "list")


@pytest.mark.hostile("H18")
def test_a_source_that_is_read_only_before_a_point_in_the_future_proves_no_loss_of_nothing(scene):
    source = scene.desk.register("prod")
    scene.sim.source.read_only = True
    scene.poll()
    pass_time(5)
    observe.observe(source.pk)
    in_future(scene, timedelta(minutes=10))
    scene.poll()
    page = {"dialog": "Loss not known: the recovery point lies in the future."}
    scene.shows(page=page, database={"row.source_root_read_only": True}, ledger=[], posts=0)


@pytest.mark.hostile("H18")
@pytest.mark.parametrize("ahead", [7230, -7230])
def test_a_clock_that_is_hours_off_is_named_and_makes_the_loss_unknown(scene, ahead):
    scene.target.clock_ahead = ahead
    scene.poll()
    words = "The clocks of dr and this desk differ by 2 h"
    page = {"list": words, "dialog": [words, "Loss not known"], "clusters": "2 h"}
    scene.shows(page=page, database={"cluster.trouble": ""}, ledger=[], posts=0)
    assert abs(scene.cluster.clock_ahead - ahead) <= 2
    says_no_negative_time(scene, "list", "relationship", "dialog", "wall")


BACK: dict[str, Any] = {
    "the recovery point": (lambda scene: scene.sim.move_recovery_point(-3600), "The recovery point went back"),
    "its snapshot": (
        lambda scene: scene.sim.recovery_point_snapshot.update(timestamp="2026-01-01T00:00:00Z"),
        "A later job brought an older state",
    ),
}


@pytest.mark.hostile("H20")
@pytest.mark.parametrize(("change", "words"), BACK.values(), ids=BACK)
@pytest.mark.parametrize("listed", [True, False], ids=["listed first", "found by the sender"])
def test_more_would_be_lost_than_was_approved_so_nothing_is_sent(scene, change, words, listed):
    scene.approve()
    change(scene)
    if listed:
        scene.poll()
    scene.step()
    scene.shows(
        page={"failover": ["Stopped before sending.", words, "Nothing was sent."]},
        database={"failover.state": State.STOPPED, "failover.sent_at": None},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )


# ── H24, H25: what is answered to make-writable ──

LIES: dict[str, dict[str, Any]] = {
    "another relationship": {"id": "11111111-0000-4000-8000-000000000000"},
    "established": {"state": "ESTABLISHED"},
    "established and writable": {"state": "ESTABLISHED", "target_root_read_only": False},
    "waiting to be authorized": {"state": "AWAITING_AUTHORIZATION"},
    "an unknown state": {"state": "MELTING"},
}


@pytest.mark.hostile("H24")
@pytest.mark.parametrize("said", LIES.values(), ids=LIES)
@pytest.mark.parametrize("applied", [True, False])
def test_two_hundred_with_anything_else_in_it_is_doubt_and_readings_decide(scene, said, applied):
    scene.approve()
    answer = json.dumps(scene.sim.status() | said).encode()
    scene.fails(faults.answers(answer, path=WRITABLE, applied=applied))
    scene.step(times=2)
    found = {"failover.state": State.REVERTING if applied else State.SENT, "failover.concern": None}
    assert scene.failover.answer["kind"] == "doubt"
    ledger = [*DOUBT, "failover.reverting"] if applied else DOUBT
    page = {"failover": "Reverting" if applied else "Outcome unknown. Still watching."}
    scene.shows(page=page, database=found, ledger=ledger, posts=1)
    if not applied:
        pass_time(181)
        scene.step(times=2)
        calls = {"failover.state": State.SENT, "failover.concern": Concern.NOT_SEEN}
        scene.shows(page={"failover": "A person must look."}, database=calls, ledger=ledger, posts=1)


@pytest.mark.hostile("H25")
@pytest.mark.parametrize("said", ["ESTABLISHED", "DISCONNECTING"])
def test_accepted_and_nothing_to_see_calls_a_person_and_goes_on_by_itself(scene, said):
    """The nodes that are asked know nothing of it yet."""
    scene.sim.revert_takes = 600
    scene.approve()

    def late(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(response.content)
        if isinstance(body, dict) and body.get("id") == scene.sim.id:
            state = said if request.method == "POST" else "ESTABLISHED"
            body |= {"state": state, "target_root_read_only": True}
        return httpx.Response(response.status_code, headers={"Date": response.headers["Date"]}, json=body)

    scene.through(late)
    scene.step(times=3)
    accepted = said == "DISCONNECTING"
    ledger = [*REVERTING, "failover.outside"] if accepted else DOUBT
    state = State.REVERTING if accepted else State.SENT
    early = Concern.BACK_TO_ESTABLISHED if accepted else None  # who said that it began must not say that it did not
    page = {"failover": "A person must look." if accepted else "Outcome unknown. Still watching."}
    database = {"failover.state": state, "failover.concern": early}
    scene.shows(page=page, database=database, ledger=ledger, posts=1)

    pass_time(181)
    scene.step()
    late_concern = Concern.BACK_TO_ESTABLISHED if accepted else Concern.NOT_SEEN
    database = {"failover.state": state, "failover.concern": late_concern}
    scene.shows(page={"failover": "A person must look."}, database=database, ledger=ledger, posts=1)

    scene.honest()
    scene.step()
    if not accepted:
        ledger = [*ledger, "failover.reverting"]
    found = {"failover.state": State.REVERTING, "failover.concern": None}
    scene.shows(page={"failover": "Reverting the target to"}, database=found, ledger=ledger, posts=1)
    scene.desk.clock.pass_time(600)
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*ledger, *VERIFIED],
        posts=1,
    )


# ── H26 to H28: readings that do not agree ──


def flip(scene: Scene, *, done: bool) -> None:
    scene.sim.state = Api.DISCONNECTED if done else Api.ESTABLISHED
    scene.sim.target.read_only = not done


@pytest.mark.hostile("H26")
def test_states_that_flap_are_never_success_until_two_readings_in_a_row_agree(scene):
    scene.send()
    ledger = list(REVERTING)
    for _ in range(3):
        flip(scene, done=True)
        pass_time(3)
        scene.step()
        flip(scene, done=False)
        pass_time(3)
        scene.step()
        ledger += ["failover.disconnected", "failover.outside"]
        found = {"failover.state": State.REVERTING, "failover.first_writable_at": None}
        scene.shows(page={"failover": "A person must look."}, database=found, ledger=ledger, posts=1)
        scene.poll()
    flip(scene, done=True)
    scene.step()
    scene.desk.step(scene.failover)  # at once, so it is the same moment
    ledger += ["failover.disconnected"]
    page = {"failover": "One more reading has to agree."}
    scene.shows(page=page, database={"failover.state": State.REVERTING}, ledger=ledger, posts=1)
    pass_time(3)
    scene.step()
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*ledger, "failover.succeeded"],
        posts=1,
    )


@pytest.mark.hostile("H26")
def test_states_that_flap_before_the_sending_stop_it(scene):
    scene.approve()
    flip(scene, done=True)
    scene.poll()
    flip(scene, done=False)
    scene.poll()
    flip(scene, done=True)
    scene.step()
    scene.shows(
        page={"failover": "The target is already writable. Nothing was sent."},
        database={"failover.state": State.STOPPED},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )


@pytest.mark.hostile("H27")
def test_disconnected_and_read_only_is_no_success_and_calls_a_person_when_it_lasts(scene):
    scene.send()
    scene.sim.state, scene.sim.target.read_only = Api.DISCONNECTED, True
    scene.step(times=4)
    stays: dict[str, Any] = {"failover.state": State.REVERTING, "failover.concern": None}
    scene.shows(page={"failover": "Reverting"}, database=stays, ledger=REVERTING, posts=1)
    pass_time(181)
    scene.step()
    stays["failover.concern"] = Concern.READ_ONLY
    words = "The relationship is disconnected, and the target is still read-only."
    scene.shows(page={"failover": ["A person must look.", words]}, database=stays, ledger=REVERTING, posts=1)
    scene.sim.target.read_only = False
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*REVERTING, *VERIFIED],
        posts=1,
    )


@pytest.mark.hostile("H27")
def test_a_long_revert_that_is_read_only_for_a_moment_at_its_end_calls_nobody(scene):
    scene.sim.revert_takes = 7200
    scene.send()
    pass_time(3600)
    scene.step()
    scene.sim.state, scene.sim.target.read_only = Api.DISCONNECTED, True
    scene.step(times=2)
    found = {"failover.state": State.REVERTING, "failover.concern": None}
    scene.shows(page={"failover": "Reverting"}, database=found, ledger=REVERTING, posts=1)


@pytest.mark.hostile("H28")
def test_nodes_that_say_different_things_agree_on_nothing_and_each_reading_names_its_node(scene):
    scene.send()
    scene.revert_ends()
    nodes = iter([1, 2, 1, 2, 1, 1])
    stale = scene.known

    def by_turns(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(response.content)
        if NODE in request.url.path:
            by_turns.node = next(nodes)  # type: ignore[attr-defined]
            body["node_id"] = by_turns.node  # type: ignore[attr-defined]
        elif body.get("id") == scene.sim.id and by_turns.node == 2:  # type: ignore[attr-defined]
            body = stale
        return httpx.Response(200, headers={"Date": response.headers["Date"]}, json=body)

    scene.through(by_turns)
    scene.step(times=4)
    flapped = [*REVERTING, *2 * ["failover.disconnected", "failover.outside"]]
    found = {"failover.state": State.REVERTING, "failover.concern": Concern.BACK_TO_ESTABLISHED}
    scene.shows(page={"failover": "A person must look."}, database=found, ledger=flapped, posts=1)
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*flapped, *VERIFIED],
        posts=1,
    )
    readings = Observation.objects.filter(held_by=scene.failover.number).order_by("pk")
    assert list(readings.values_list("node_id", flat=True)) == ["1", "2", "1", "2", "1", "1"]
    told = Entry.objects.filter(tag__in=["failover.disconnected", "failover.outside"]).order_by("seq")
    assert [each.record["detail"]["node"] for each in told] == ["1", "2", "1", "2", "1"]


# ── H31: a node that takes no part ──


@pytest.mark.hostile("H31")
@pytest.mark.parametrize("state", ["PAUSED", "STOPPED", "<b>OFF</b>"])
def test_a_node_that_takes_no_part_is_named_everywhere_and_forbids_nothing(scene, state):
    """It is an emergency tool: who asks and who approves is warned, and decides."""
    scene.says({"cluster_id": scene.target.uuid, "node_id": 2, "state": state}, path=NODE)
    scene.poll()
    words = f"The node of dr that answers is {state}."
    page = {"list": words, "dialog": [words, "It may not act at once."], "clusters": state}
    scene.shows(page=page, database={"cluster.node_state": state, "cluster.trouble": ""}, ledger=[], posts=0)

    scene.failover = scene.desk.request().failovers.get()
    scene.shows(page={"failover": words}, database={"row.held_phase": "waiting"}, ledger=["request.made"], posts=0)
    assert words in json.dumps(scene.failover.request.facts_seen)
    scene.desk.approve(scene.failover.request)
    scene.step()
    assert words in json.dumps(scene.failover.precheck)
    scene.shows(
        page={"failover": "Reverting"},
        database={"failover.state": State.REVERTING},
        ledger=REVERTING,
        posts=1,
    )
