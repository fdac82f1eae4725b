"""The one clock: what each pass finishes, ends and hands out."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.conf import settings

from dashboard.accounts import refusals
from dashboard.accounts.models import AccessRefusals
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Heartbeat
from dashboard.failovers.sweep import Sweep
from dashboard.fleet import access
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import faults
from tests.failovers.desk import pass_time


@pytest.fixture
def desk(transactional_db, cast):
    from tests.failovers.desk import Desk

    yield Desk(cast)
    access.forget_transports()


def _time(column: str) -> datetime:
    return Cluster.objects.values_list(column, flat=True).get(name="dr")


def _pass(*, with_broker: bool = False) -> None:
    sweep = Sweep(with_broker=with_broker)
    sweep.once()
    sweep.close()


def test_it_starts_what_nobody_rang_for_and_sees_it_through(desk):
    failover = desk.approved()
    _pass()
    failover.refresh_from_db()
    assert failover.state == State.REVERTING
    desk.clock.pass_time(60)
    for _ in range(2):
        pass_time(3)
        _pass()
    failover.refresh_from_db()
    assert (failover.state, desk.posts) == (State.SUCCEEDED, 1)


def test_it_ends_what_is_too_late(desk):
    asked = desk.request()
    pass_time(1801)
    _pass()
    assert asked.failovers.get().state == State.EXPIRED


def test_it_reads_the_clusters_that_are_due_without_a_broker(desk):
    pass_time(settings.POLL_EVERY.total_seconds() + 1)
    before = _time("last_read_at")
    _pass()
    assert _time("last_read_at") > before


def test_it_reads_by_itself_when_nobody_takes_the_bell(desk):
    """With a broker whose worker is gone, the third round is the sweep's own."""
    pass_time(3 * settings.POLL_EVERY.total_seconds())
    before = _time("last_read_at")
    _pass(with_broker=True)
    assert _time("last_read_at") > before


def test_it_judges_again_what_time_has_changed(desk):
    desk.row.refresh_from_db()
    version = desk.row.version
    pass_time(3 * 3600)
    Cluster.objects.update(next_read_at=database_now() + timedelta(hours=1))
    _pass()
    desk.row.refresh_from_db()
    assert desk.row.version > version
    assert desk.row.grade in ("critical", "unknown")


def test_it_says_when_it_came_round(desk):
    _pass()
    assert Heartbeat.objects.get(driver="sweep").at


def test_one_cluster_that_fails_does_not_stop_the_pass(desk):
    failover = desk.approved()
    desk.target.faults.add(faults.garbage(count=None))
    _pass()
    failover.refresh_from_db()
    assert failover.state == State.APPROVED
    desk.target.faults.clear()
    Failover.objects.update(next_step_at=failover.request.made_at)
    _pass()
    failover.refresh_from_db()
    assert failover.state == State.REVERTING


def test_one_row_that_cannot_be_judged_keeps_no_other_from_its_end_or_its_reading(desk):
    """As after a downgrade: the row holds a grade that this version does not know."""
    desk.world.relate(desk.world.clusters["prod"], "/prod/legal", desk.target, "/dr/legal")
    desk.read()
    stuck = desk.request().failovers.get()
    Relationship.objects.filter(pk=desk.row.pk).update(grade="newer")
    desk.row = Relationship.objects.get(target_root_path="/dr/legal/")
    late = desk.request(typed="/dr/legal").failovers.get()
    pass_time(1801)
    before = _time("last_try_at")
    _pass()
    late.refresh_from_db()
    stuck.refresh_from_db()
    assert (stuck.state, late.state) == (State.REQUESTED, State.EXPIRED)
    assert _time("last_try_at") > before


def test_it_tells_of_refused_access_that_nobody_followed_up(desk, cast):
    for _ in range(3):
        refusals.record(cast.viewer, "10.9.0.21", route="people", why="role", words="GET /people/: it needs a role.")
    AccessRefusals.objects.update(told_at=database_now() - timedelta(seconds=61))
    _pass()
    told = Entry.objects.filter(tag="access.refused").order_by("seq")
    assert [entry.record["detail"]["count"] for entry in told] == [1, 2]
