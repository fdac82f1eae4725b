"""A planned failover from the first click to the writable target, on clusters that behave; and what stops it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dashboard.database import database_now
from dashboard.failovers import reading
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.preflight import blocks, judge
from dashboard.fleet import observe
from dashboard.simulator import transport
from tests.failovers.desk import pass_time


@pytest.fixture
def planned(desk):
    """Both clusters are watched; the first check has been made."""
    desk.source = desk.register("prod")
    desk.sim.takes = 4
    _read(desk)
    return desk


def _read(desk) -> None:
    """The target, and the source's own statuses, which are asked for once a minute."""
    type(desk.source).objects.filter(pk=desk.source.pk).update(sources_read_at=None)
    desk.read()
    observe.observe(desk.source.pk)


def _on_the_source(desk, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    prod = desk.sim.source.cluster
    with httpx.Client(transport=transport(prod), base_url="https://prod") as client:
        who = {"username": prod.username, "password": prod.password}
        client.headers["Authorization"] = f"Bearer {client.post('/v1/session/login', json=who).json()['bearer_token']}"
        answer = client.request(method, f"/v2/replication/source-relationships/{desk.sim.id}{path}", json=body)
    assert answer.is_success, answer.text


def _read_only(desk) -> None:
    """The admin of the source sets it read-only; a little later the desk has seen that."""
    _on_the_source(desk, "PATCH", "", {"source_root_read_only": True})
    _read(desk)


def _one_more_job(desk) -> None:
    """It begins twenty seconds later, and ends. The world's clock is ahead of the desk's from then on, as far as that
    is tolerated: the desk must make up for it."""
    pass_time(20)
    desk.clock.pass_time(20)
    _on_the_source(desk, "POST", "/replicate")
    desk.clock.pass_time(5)
    _read(desk)


def _blocked_by(desk) -> set[str]:
    desk.row.refresh_from_db()
    return {check.subject for check in blocks(judge(reading.situation(desk.row, now=database_now(), mode="planned")))}


def test_step_by_step_each_block_goes_away(planned):
    assert _blocked_by(planned) == {"source"}
    _read_only(planned)
    assert _blocked_by(planned) == {"complete"}
    _on_the_source(planned, "POST", "/replicate")
    _read(planned)
    assert _blocked_by(planned) == {"complete", "job"}
    planned.clock.pass_time(5)
    _read(planned)
    assert _blocked_by(planned) == {"complete"}, "it began when the desk had only just seen it, by clocks of a second"
    _one_more_job(planned)
    assert _blocked_by(planned) == set()


def test_it_is_refused_until_the_source_is_read_only(planned):
    with pytest.raises(Refused, match="The source is not read-only"):
        planned.request(mode="planned")
    assert planned.request().mode == "unplanned"


def test_it_runs_and_nothing_is_lost(planned):
    _read_only(planned)
    _one_more_job(planned)
    asked = planned.request(mode="planned")
    planned.approve(asked)
    failover = planned.see_it_through(planned.step(asked.failovers.get()))
    assert (failover.state, planned.posts) == (State.SUCCEEDED, 1)
    assert reading.loss_of(failover, now=database_now()).words == reading.NOTHING_LOST


def test_a_source_that_is_made_writable_after_the_approval_stops_it_before_anything_is_sent(planned):
    _read_only(planned)
    _one_more_job(planned)
    asked = planned.request(mode="planned")
    planned.approve(asked)
    _on_the_source(planned, "PATCH", "", {"source_root_read_only": False})
    failover = planned.step(asked.failovers.get())
    assert failover.state == State.STOPPED
    assert "The source is not read-only." in failover.outcome_words
    assert planned.posts == 0


def test_a_source_that_falls_silent_after_the_approval_stops_it(planned):
    _read_only(planned)
    _one_more_job(planned)
    asked = planned.request(mode="planned")
    planned.approve(asked)
    type(planned.source).objects.filter(pk=planned.source.pk).update(silent=True)
    failover = planned.step(asked.failovers.get())
    assert failover.state == State.STOPPED
    assert planned.posts == 0


def test_a_job_that_starts_after_the_approval_stops_it(planned):
    _read_only(planned)
    _one_more_job(planned)
    asked = planned.request(mode="planned")
    planned.approve(asked)
    _on_the_source(planned, "POST", "/replicate")
    failover = planned.step(asked.failovers.get())
    assert (failover.state, planned.posts) == (State.STOPPED, 0)
    assert "A job is running." in failover.outcome_words


def test_the_trap_of_policy_snapshots_blocks_though_the_recovery_point_is_late_enough(planned):
    planned.sim.settings.replication_mode = "REPLICATION_SNAPSHOT_POLICY"
    planned.sim.take_policy_snapshot("hourly")
    _read_only(planned)
    _one_more_job(planned)
    row = planned.row
    row.refresh_from_db()
    assert row.recovery_point_at > row.source_read_only_since, "by the recovery point alone it would be let through"
    assert _blocked_by(planned) == {"replicates", "complete"}
    assert reading.loss(reading.situation(row, now=database_now())).kind == "lost"


def test_a_drill_runs_like_the_real_thing_and_says_so(planned):
    asked = planned.request(mode="drill")
    assert "drill" in {check["subject"] for check in asked.facts_seen["items"][0]["checks"]}
    planned.approve(asked)
    failover = planned.see_it_through(planned.step(asked.failovers.get()))
    assert (failover.state, failover.request.drill, planned.posts) == (State.SUCCEEDED, True, 1)
