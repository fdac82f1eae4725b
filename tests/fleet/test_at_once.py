"""Several at once on one cluster or row, with real transactions. What a waiting lock alone shows needs PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from dashboard.database import database_now
from dashboard.fleet import access, hold, observe
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Event, Relationship
from tests.fleet.lookout import Lookout, pass_time, register
from tests.postgres import WAITING
from tests.running.processes import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lookout(transactional_db: None) -> Iterator[Lookout]:
    watching = Lookout()
    watching.read()
    yield watching
    access.forget_transports()


@contextmanager
def people(count: int = 1) -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Threads, each with a database connection of its own that is closed after its work."""
    with ThreadPoolExecutor(count) as pool:

        def start(work: Callable[[], Any]) -> Future[Any]:
            def guarded() -> Any:
                try:
                    return work()
                finally:
                    connections.close_all()

            return pool.submit(guarded)

        yield start


def until_somebody_waits() -> None:
    """Until another connection stands before a lock that this one holds."""

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            return cursor.fetchone() is not None

    eventually(waits)


def test_readings_of_one_cluster_at_once_leave_one_truth(lookout):
    source = lookout.world.clusters["prod"]
    for number in range(5):
        lookout.world.relate(source, f"/prod/{number}", lookout.target, f"/dr/{number}")
    lookout.by_hand("make-writable")
    version = lookout.row.version
    together = threading.Barrier(4)

    lookout.during(lambda: together.wait(timeout=60))  # node and list: all four are asked at the same moment, twice
    with people(4) as start:
        for done in [start(lambda: observe.observe(lookout.cluster.pk)) for _ in range(4)]:
            done.result(timeout=60)
    assert Relationship.objects.count() == 6
    assert Event.objects.filter(words="First seen").count() == 6
    assert lookout.events("state") == ["State changed from Established to Disconnecting"]
    assert lookout.row.version > version


@pytest.mark.postgres
def test_each_due_cluster_is_handed_to_one_sweep_only(lookout):
    due = lookout.cluster.next_read_at
    with people() as start:
        with transaction.atomic():
            assert observe.due_clusters(due) == [lookout.cluster.pk]
            other = start(lambda: observe.due_clusters(due))
            until_somebody_waits()
        assert other.result(timeout=60) == []


@pytest.mark.postgres
def test_a_reading_that_waited_for_a_hold_keeps_it_and_loses_no_version(lookout):
    lookout.by_hand("make-writable")
    version = lookout.row.version
    with people() as start:
        with transaction.atomic():
            hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="1/1")
            reading = start(lambda: observe.observe(lookout.cluster.pk))
            until_somebody_waits()
        reading.result(timeout=60)
    row = lookout.row
    assert (row.held_by, row.state, row.reason) == ("FO-1042", "DISCONNECTING", "Failover running")
    assert row.version == version + 2


@pytest.mark.postgres
def test_a_hold_that_waited_for_a_silence_does_not_miss_it(lookout):
    silent_at = lookout.cluster.last_read_at + settings.UNKNOWN_AFTER
    with people() as start:
        with transaction.atomic():
            assert observe.regrade(silent_at) == 1
            taking = start(lambda: _hold(lookout.row.pk))
            until_somebody_waits()
        taking.result(timeout=60)
    row = lookout.row
    assert (row.held_by, row.grade) == ("FO-1042", Grade.UNKNOWN)


@pytest.mark.postgres
def test_a_silence_that_waited_for_a_hold_keeps_it_and_loses_no_version(lookout):
    version = lookout.row.version
    with people() as start:
        with transaction.atomic():
            hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="waiting", note="0/1")
            regrading = start(lambda: observe.regrade(lookout.cluster.last_read_at + settings.UNKNOWN_AFTER))
            until_somebody_waits()
        assert regrading.result(timeout=60) == 1
    row = lookout.row
    assert (row.held_by, row.grade, row.version) == ("FO-1042", Grade.UNKNOWN, version + 2)


@pytest.mark.postgres
def test_a_silence_that_waited_for_a_reading_does_not_happen(lookout):
    lookout.cluster.refresh_from_db()
    later = database_now() + timedelta(hours=1)
    pass_time(46)
    with people() as start:
        with transaction.atomic():
            observe.observe(lookout.cluster.pk)
            regrading = start(lambda: observe.regrade(later - timedelta(hours=1)))
            until_somebody_waits()
        assert regrading.result(timeout=60) == 0
    lookout.cluster.refresh_from_db()
    assert not lookout.cluster.silent
    assert lookout.row.grade == Grade.NORMAL


def test_two_clusters_that_replicate_to_each_other_never_lock_each_other_out(lookout):
    prod = lookout.world.clusters["prod"]
    for number in range(4):
        lookout.world.relate(lookout.target, f"/back/{number}", prod, f"/home/{number}")
        lookout.world.relate(prod, f"/forth/{number}", lookout.target, f"/away/{number}")
    other = register(prod)
    for cluster in (lookout.cluster, other):
        observe.observe(cluster.pk)
    for turn in range(10):
        Cluster.objects.update(sources_read_at=None)
        for it in lookout.world.relationships.values():
            it.settings.replication_enabled = bool(turn % 2)
            it.settings.blackout_window_timezone = f"Etc/GMT+{turn}"
        together = threading.Barrier(2)

        def read(pk: int, together: threading.Barrier = together) -> None:
            together.wait(timeout=60)
            observe.observe(pk)

        with people(2) as start:
            for done in [start(lambda pk=pk: read(pk)) for pk in (lookout.cluster.pk, other.pk)]:  # type: ignore[misc]
                done.result(timeout=60)
    shown = Relationship.objects.values_list("status__replication_enabled", flat=True)
    assert set(shown) == {True}


def _hold(pk: int) -> None:
    with transaction.atomic():
        hold.hold_rows({pk: "FO-1042"}, phase="running", note="1/1")
