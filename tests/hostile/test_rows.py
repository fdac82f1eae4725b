"""Rows that say what they must not: in the list, alone before the sending, in answer to it, and after it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dashboard.failovers.lifecycle import Concern, State
from dashboard.fleet.models import Observation, Relationship
from dashboard.qumulo.shapes import JobStatus
from tests.failovers.desk import pass_time
from tests.hostile.scene import WRITABLE, Scene

APPROVED = ["request.made", "request.approved"]
DOUBT = [*APPROVED, "failover.sent", "failover.doubt"]
REVERTING = [*APPROVED, "failover.sent", "failover.reverting"]


def cannot_be_asked(
    scene: Scene, *words: str, health: str = "unknown", database: dict[str, object] | None = None
) -> None:
    """Nor is it offered: no button in the list, a dialog whose button is dead, and the verb itself says no."""
    scene.poll()
    assert scene.ask_by_page() == 422
    found = {"cluster.trouble": "", "row.grade": health, "row.held_by": ""} | (database or {})
    scene.shows(page={"dialog": words}, database=found, ledger=["request.refused"], posts=0)
    assert not scene.page("list").all("a", href=f"/relationships/dr/{scene.sim.id}/fail-over/")
    (send,) = (button for button in scene.page("dialog").all("button") if button.text == "Request failover")
    assert "disabled" in send.attrs


# ── H3: a state that is not known here ──

STATES = ["MELTING", "established", "ESTABLISHED\u200b", "DISCONNECTED ", "0"]


@pytest.mark.hostile("H3")
@pytest.mark.parametrize("state", STATES, ids=ascii)
def test_a_state_that_is_not_known_here_is_shown_raw_and_can_be_neither_asked_for_nor_done(scene, state):
    shown = state.replace("\u200b", "\\u200b").strip()
    scene.row_says(state=state)
    cannot_be_asked(scene, "dr reports a state that is not known here", shown, database={"row.state": state})
    page = {"list": ["State not known here", shown], "relationship": "Its state is not known to this desk"}
    scene.shows(page=page, database={"row.grade": "unknown"}, ledger=["request.refused"], posts=0)


@pytest.mark.hostile("H3")
def test_an_unknown_state_stops_what_was_approved(scene):
    scene.approve()
    scene.row_says(state="MELTING")
    scene.step()
    scene.shows(
        page={"failover": "dr reports a state that is not known here: MELTING. Nothing was sent."},
        database={"failover.state": State.STOPPED},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )


@pytest.mark.hostile("H3")
def test_an_unknown_state_is_never_success_and_calls_a_person_after_the_settle_window(scene):
    scene.approve()
    scene.row_says(lambda row: row.update(state="MELTING", target_root_read_only=False) if scene.posted else None)
    scene.step(times=4)
    sent: dict[str, Any] = {"failover.state": State.SENT, "failover.first_writable_at": None, "failover.concern": None}
    ledger = [*DOUBT, "failover.outside"]
    scene.shows(page={"failover": ["Outcome unknown.", "MELTING"]}, database=sent, ledger=ledger, posts=1)
    pass_time(181)
    scene.step()
    sent["failover.concern"] = Concern.NOT_SEEN
    scene.shows(page={"failover": "A person must look."}, database=sent, ledger=ledger, posts=1)


# ── H4: a row without what a failover depends on ──

UNUSABLE: list[dict[str, Any]] = [
    {"state": ...},
    {"state": None},
    {"state": 5},
    {"target_root_read_only": "false"},
    {"target_root_read_only": ...},
    {"source_root_read_only": 1},
    {"target_root_path": ...},
    {"target_root_path": ["/dr"]},
    {"source_root_path": ""},
    {"source_cluster_uuid": 12},
    {"target_cluster_uuid": None},
]


@pytest.mark.hostile("H4")
@pytest.mark.parametrize("fields", UNUSABLE, ids=str)
def test_a_row_that_cannot_be_used_is_set_aside_with_its_reason_and_its_neighbour_is_read(scene, fields):
    scene.desk.world.relate(scene.desk.world.clusters["prod"], "/prod/hr", scene.target, "/dr/hr")
    name = next(iter(fields))
    scene.row_says(**fields)
    words = "dr does not list this relationship as something that can be read."
    cannot_be_asked(scene, words, database={"row.kept": True})
    assert Relationship.objects.get(target_root_path="/dr/hr/").grade == "normal"
    assert name in scene.row.unreadable
    page = {"relationship": [name, "What you see is what was last reported."], "list": ["Cannot be read", "/dr/hr"]}
    scene.shows(page=page, database={"rows": 2}, ledger=["request.refused"], posts=0)


@pytest.mark.hostile("H4")
@pytest.mark.parametrize("fields", UNUSABLE[::3], ids=str)
def test_a_row_that_cannot_be_used_decides_nothing_before_during_or_after_the_sending(scene, fields):
    scene.approve()
    scene.row_says(**fields)
    scene.step()
    words = "The cluster's answer cannot be read."
    approved = {"failover.state": State.APPROVED, "failover.sent_at": None}
    scene.shows(page={"failover": words}, database=approved, ledger=APPROVED, posts=0)

    scene.honest()
    answer = scene.sim.status() | {name: value for name, value in fields.items() if value is not ...}
    for name in (name for name, value in fields.items() if value is ...):
        del answer[name]
    scene.says(answer, path=WRITABLE)
    scene.step()
    scene.row_says(**fields)
    scene.revert_ends()
    scene.step(times=3)
    sent = {"failover.state": State.SENT, "failover.doubtful": True, "failover.first_writable_at": None}
    scene.shows(page={"failover": ["Outcome unknown.", words]}, database=sent, ledger=DOUBT, posts=1)


@pytest.mark.hostile("H4")
def test_numbers_may_be_texts_and_whatever_is_not_needed_may_be_missing(scene):
    needless = ["end_reason", "source_cluster_name", "job_state", "lock_key", "source_address", "target_cluster_name"]
    job = {"percent_complete": "12.5", "bytes_transferred": "1000", "estimated_seconds_remaining": "60"}
    scene.row_says(source_port="3712", replication_job_status=job, **dict.fromkeys(needless, ...))
    scene.poll()
    found = {"row.unreadable": "", "row.grade": "normal", "row.job_percent": 12.5}
    scene.shows(page={"relationship": "/dr/finance", "list": "Established"}, database=found, ledger=[], posts=0)
    scene.send()
    scene.shows(
        page={"failover": "Reverting"},
        database={"failover.state": State.REVERTING},
        ledger=REVERTING,
        posts=1,
    )


# ── H19, H21: recovery points that are none ──

NONE = {"empty": "", "null": None, "missing": ...}
NO_TIME = {
    "year 9999": "9999-12-31T23:59:59.999999999Z",
    "year 1": "0001-01-01T00:00:00Z",
    "no zone": "2026-03-14T02:42:00",
    "another script": "٢٠٢٦-03-14T02:42:00Z",
    "a day with 25 hours": "2026-03-14T25:00:00Z",
    "a zone of days": "2026-03-14T02:42:00+99:99",
    "a word": "soon",
    "a number": 7,
    "ten digits": "2026-03-14T02:42:00.1234567890Z",
}


@pytest.mark.parametrize(
    "point",
    [
        *(pytest.param(value, id=name, marks=pytest.mark.hostile("H19")) for name, value in NONE.items()),
        *(pytest.param(value, id=name, marks=pytest.mark.hostile("H21")) for name, value in NO_TIME.items()),
    ],
)
def test_without_a_recovery_point_that_can_be_read_nothing_is_asked_for_or_sent(scene, point):
    scene.approve()
    scene.row_says(recovery_point=point)
    scene.poll()
    scene.step()
    ledger = [*APPROVED, "failover.stopped"]
    scene.shows(
        page={"failover": "No job has ever succeeded: there is nothing to go back to. Nothing was sent."},
        database={"failover.state": State.STOPPED, "row.recovery_point_at": None, "cluster.trouble": ""},
        ledger=ledger,
        posts=0,
    )
    assert scene.ask_by_page() == 422
    page = {"list": "None yet", "dialog": "No job has ever succeeded", "relationship": "there is nothing to go back to"}
    scene.shows(page=page, database={"row.held_by": ""}, ledger=[*ledger, "request.refused"], posts=0)


@pytest.mark.hostile("H21")
def test_nine_digits_of_a_second_are_kept_as_they_came_through_the_whole_failover(scene):
    point = scene.sim.status()["recovery_point"][:19] + ".123456789Z"
    scene.row_says(recovery_point=point, recovery_point_snapshot=None)
    scene.poll()
    scene.send()
    assert scene.row.status["recovery_point"] == point
    assert scene.row.recovery_point_at.microsecond == 123456
    failover = scene.failover
    assert (failover.item.recovery_point, failover.precheck["recovery_point"]) == (point, point)
    scene.shows(
        page={"failover": "Reverting the target to"},
        database={"failover.state": State.REVERTING},
        ledger=REVERTING,
        posts=1,
    )


@pytest.mark.hostile("H21")
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "2026-03-14T02:42:00", "\x00", 10**20], ids=ascii)
def test_any_other_time_that_is_none_is_not_said(scene, moment):
    snapshot = scene.sim.status()["recovery_point_snapshot"] | {"timestamp": moment, "expiration": moment}
    scene.row_says(job_start_time=moment, recovery_point_snapshot=snapshot)
    scene.poll()
    assert scene.row.facts.job_start_time is None
    assert scene.row.facts.recovery_point_snapshot.expiration is None
    page = {"list": "Established", "relationship": "/dr/finance", "dialog": "A recovery point exists."}
    scene.shows(page=page, database={"cluster.trouble": "", "row.grade": "normal"}, ledger=[], posts=0)


# ── H23: absurd figures ──

ABSURD: list[Any] = [900, "-5", "soon", "NaN", 10**39, 1e308, [1], "9" * 5000]


@pytest.mark.hostile("H23")
@pytest.mark.parametrize("figure", ABSURD, ids=lambda value: str(value)[:9])
def test_absurd_figures_are_clamped_or_not_said_and_no_page_stumbles_over_them(scene, figure):
    scene.row_says(
        job_state="REPLICATION_RUNNING",
        replication_job_status={field.name: figure for field in fields(JobStatus)},
        duration_of_last_job={"nanoseconds": figure},
        source_port=figure,
    )
    scene.poll()
    assert scene.row.job_percent in (None, 0, 100)
    page = {"list": "Running" if scene.row.job_percent is None else "%", "relationship": "/dr/finance", "wall": "dr"}
    found = {"cluster.trouble": "", "row.state": "ESTABLISHED"}
    scene.shows(page=page, database=found, ledger=[], posts=0)
    scene.send()
    scene.step()
    last = Observation.objects.first()
    assert last is not None
    assert last.percent in (None, 0, 100)
    words = ["Reverting the target to", "Throughput, last minute"]
    scene.shows(page={"failover": words}, database={"failover.state": State.REVERTING}, ledger=REVERTING, posts=1)
