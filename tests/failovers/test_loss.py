"""What a failover throws away, said before and after: never less than is known, and "nothing" only when it is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboard.database import database_now
from dashboard.failovers import reading
from dashboard.failovers.preflight import Source
from dashboard.fleet import observe
from tests.failovers.build import HEALTHY, NOW, situation, status
from tests.failovers.desk import pass_time

EARLIER = NOW - timedelta(hours=1)
HEARD = Source(known=True, answers=True)


def test_everything_since_the_recovery_point_may_be_lost():
    loss = reading.loss(situation())
    assert (loss.kind, loss.words) == ("lost", "Up to 7 min 39 s lost")


def test_it_counts_from_the_snapshot_when_that_is_older():
    older = HEALTHY["recovery_point_snapshot"] | {"timestamp": "2026-03-14T02:42:40Z"}
    loss = reading.loss(situation(reported=status(recovery_point_snapshot=older)))
    assert loss.length == timedelta(minutes=30)


def test_without_a_recovery_point_the_loss_is_not_known():
    assert reading.loss(situation(reported=status(recovery_point="", recovery_point_snapshot=None))).kind == "unknown"


def test_with_clocks_apart_the_loss_is_not_known():
    loss = reading.loss(situation(clock_ahead=timedelta(minutes=-5)))
    assert loss.words == "Loss not known: the clocks of dr-west and this desk differ by 5 min."


def test_nothing_is_lost_when_the_source_was_read_only_before_the_recovery_point():
    quiet = status(source_root_read_only=True)
    loss = reading.loss(situation(reported=quiet, source=HEARD, source_read_only_since=EARLIER))
    assert (loss.kind, loss.length) == ("nothing", None)


def test_a_source_that_became_read_only_later_may_have_lost_something():
    quiet = status(source_root_read_only=True)
    assert reading.loss(situation(reported=quiet, source=HEARD, source_read_only_since=NOW)).kind == "lost"


def test_a_source_that_is_not_heard_is_not_believed_to_be_read_only():
    quiet = status(source_root_read_only=True)
    for source in (Source(), Source(known=True)):
        assert reading.loss(situation(reported=quiet, source=source, source_read_only_since=EARLIER)).kind == "lost"


def test_a_planned_failover_says_before_and_after_that_nothing_is_lost(desk):
    source = desk.register("prod")
    desk.sim.source.read_only = True
    desk.read()
    pass_time(20)  # seen read-only twenty seconds ago; the job that succeeded since began after that
    desk.sim.recovery_point = desk.clock() - 5
    desk.sim.recovery_point_snapshot = None
    desk.read()
    observe.observe(source.pk)
    desk.row.refresh_from_db()
    assert reading.loss(reading.situation(desk.row, now=database_now())).kind == "nothing"
    failover = desk.sent()
    assert (failover.precheck or {})["nothing_lost"] is True
    assert reading.loss_of(failover, now=database_now()).words == reading.NOTHING_LOST


def test_what_was_lost_counts_from_what_the_sender_found(desk):
    """A job ended after the request; it brought a policy snapshot, so that the data is older than the job."""
    failover = desk.approved()
    desk.sim.set_recovery_point(desk.clock() - 20)
    stamp = datetime.fromtimestamp(desk.clock() - 200, UTC)
    desk.sim.recovery_point_snapshot["timestamp"] = f"{stamp:%Y-%m-%dT%H:%M:%S.%fZ}"
    failover = desk.step(failover)
    lost = reading.loss_of(failover, now=database_now())
    assert lost.since == stamp
    assert lost.length == failover.sent_at - stamp


def test_a_source_that_is_writable_again_starts_the_count_anew(desk):
    desk.sim.source.read_only = True
    desk.read()
    desk.row.refresh_from_db()
    assert desk.row.source_read_only_since is not None
    desk.sim.source.read_only = False
    desk.read()
    desk.row.refresh_from_db()
    assert desk.row.source_read_only_since is None
