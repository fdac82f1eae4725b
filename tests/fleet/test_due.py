"""What time alone does: grades change, clusters fall silent, readings come due, history ends. No cluster is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings as conf
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import observe
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Event, Observation, RecoveryPoint, Relationship
from dashboard.simulator import faults
from tests.fleet.lookout import columns, pass_time, register

MINUTE = timedelta(minutes=1)


@pytest.fixture
def patient(settings):
    """Silence comes late, so that what time does to a single row is seen by itself."""
    settings.UNKNOWN_AFTER = timedelta(days=365)


def test_a_row_turns_late_and_critical_although_nothing_was_read(lookout, patient):
    row = lookout.row
    asked = len(lookout.target.log)
    assert observe.regrade(row.changes_at - timedelta(seconds=1)) == 0
    assert lookout.row.version == row.version

    late = row.recovery_point_at + timedelta(hours=1)
    assert row.changes_at == late
    assert observe.regrade(late) == 1
    warned = lookout.row
    assert (warned.grade, warned.grade_rank, warned.reason) == (Grade.WARNING, 1, "Recovery point late")
    assert warned.version == row.version + 1
    assert warned.changes_at == late + timedelta(hours=1)

    assert observe.regrade(warned.changes_at) == 1
    assert (lookout.row.grade, lookout.row.changes_at) == (Grade.CRITICAL, None)
    assert observe.regrade(late + timedelta(days=9)) == 0
    assert len(lookout.target.log) == asked
    health = Event.objects.filter(kind="health").order_by("pk")
    assert [(each.words, each.detail) for each in health] == [
        ("Recovery point passed its objective of 1 h", "Health changed from Normal to Warning"),
        ("Recovery point passed 2 × its objective of 1 h", "Health changed from Warning to Critical"),
    ]


def test_a_moment_that_changes_no_grade_raises_no_version(lookout, patient):
    lookout.row_says(error_from_last_job="Something")
    lookout.read()
    row = lookout.row
    assert row.reason == "Last job failed"
    Relationship.objects.update(changes_at=database_now())
    assert observe.regrade(database_now()) == 0
    assert (lookout.row.version, lookout.row.changes_at) == (row.version, row.changes_at)


def test_a_pass_with_nothing_due_only_looks(lookout):
    with CaptureQueriesContext(connection) as queries:
        observe.regrade(database_now())
    assert [each["sql"].split()[0] for each in queries] == ["SELECT"] * 3  # time, clusters, rows


def test_a_silent_cluster_is_one_fact_and_all_its_rows_are_unknown(lookout):
    source = lookout.world.clusters["prod"]
    for number in range(3):
        lookout.world.relate(source, f"/prod/{number}", lookout.target, f"/dr/{number}")
    lookout.read()
    lookout.fails(faults.silent())
    read_at = lookout.read().last_read_at
    version = lookout.cluster.version
    versions = sum(Relationship.objects.values_list("version", flat=True))

    assert observe.regrade(read_at + conf.UNKNOWN_AFTER - timedelta(seconds=1)) == 0
    assert observe.regrade(read_at + conf.UNKNOWN_AFTER) == 4
    lookout.cluster.refresh_from_db()
    assert (lookout.cluster.silent, lookout.cluster.version) == (True, version + 1)
    assert lookout.cluster.trouble == "unreachable"
    for row in Relationship.objects.all():
        assert (row.grade, row.reason, row.reason_since) == (Grade.UNKNOWN, "As of {at}", read_at)
        assert row.changes_at is None
        assert row.read_at == read_at
    assert sum(Relationship.objects.values_list("version", flat=True)) == versions + 4
    assert all("has not been read since" in words for words in lookout.events("health"))
    assert observe.regrade(read_at + timedelta(days=1)) == 0

    lookout.target.faults.clear()
    cluster = lookout.read()
    assert (cluster.silent, cluster.trouble, cluster.version) == (False, "", version + 2)
    assert set(Relationship.objects.values_list("grade", flat=True)) == {Grade.NORMAL}


def test_a_relationship_that_is_new_when_a_silent_cluster_comes_back_is_not_unknown(lookout):
    observe.regrade(lookout.cluster.last_read_at + conf.UNKNOWN_AFTER)
    lookout.world.relate(lookout.world.clusters["prod"], "/prod/new", lookout.target, "/dr/new")
    lookout.read()
    assert Relationship.objects.get(target_root_path="/dr/new/").grade == Grade.NORMAL


def test_a_cluster_that_was_never_read_is_silent_too(lookout):
    never = register(lookout.world.clusters["prod"])
    observe.regrade(never.added_at + conf.UNKNOWN_AFTER)
    never.refresh_from_db()
    assert never.silent


def test_each_due_cluster_is_handed_out_once(lookout):
    due = lookout.cluster.next_read_at
    assert observe.due_clusters(due - timedelta(seconds=1)) == []
    assert observe.due_clusters(due) == [lookout.cluster.pk]
    assert observe.due_clusters(due) == []
    assert observe.due_clusters(due + conf.POLL_EVERY) == [lookout.cluster.pk]


def test_a_reading_that_is_under_way_is_not_doubled_and_one_that_died_is_made_up_for(lookout):
    handed_out = []

    def look() -> None:
        now = database_now()
        handed_out.append(observe.due_clusters(now + timedelta(seconds=29)))

    lookout.during(look)
    lookout.read()
    assert handed_out == [[], []]
    lookout.during(lambda: handed_out.append(observe.due_clusters(database_now() + timedelta(seconds=31))))
    lookout.read()
    assert lookout.cluster.pk in handed_out[2]


def test_somebody_can_have_a_cluster_read_at_once_but_not_all_the_time(lookout):
    now = database_now()
    assert not observe.read_now(lookout.cluster, now)  # it was read this second
    later = now + timedelta(seconds=6)
    assert observe.read_now(lookout.cluster, later)
    assert observe.due_clusters(later) == [lookout.cluster.pk]
    lookout.read()
    assert not observe.read_now(lookout.cluster, database_now() + timedelta(seconds=4))


@pytest.mark.parametrize("fault", [None, faults.html(path="/status/", count=None)], ids=["read", "failed"])
def test_a_reading_that_was_asked_for_while_one_is_under_way_is_made_after_it(lookout, fault):
    asked = []

    def ask() -> None:
        pass_time(6)
        asked.append(observe.read_now(lookout.cluster, database_now()))

    lookout.during(ask)
    if fault:
        lookout.fails(fault)
    lookout.read()
    assert asked[0]
    assert observe.due_clusters(database_now()) == [lookout.cluster.pk]


def test_history_ends_and_evidence_stays(lookout):
    kept = observe.record_failure(lookout.row, "No answer.", "unreachable", held_by="FO-1001")
    assert Event.objects.exists()
    assert RecoveryPoint.objects.exists()
    observe.prune(database_now() + timedelta(days=conf.HISTORY_DAYS - 1))
    assert Event.objects.exists()
    assert RecoveryPoint.objects.exists()
    observe.prune(database_now() + timedelta(days=conf.HISTORY_DAYS, seconds=1))
    assert not Event.objects.exists()
    assert not RecoveryPoint.objects.exists()
    assert Observation.objects.get() == kept


def test_what_is_gone_for_a_week_is_hidden_unless_a_failover_has_it(lookout):
    for _ in range(3):
        lookout.says([])
        lookout.read()
    gone_at, version = lookout.row.gone_at, lookout.row.version
    observe.prune(gone_at + timedelta(days=7) - timedelta(seconds=1))
    assert Relationship.objects.listed().exists()
    Relationship.objects.update(held_by="FO-1001")
    observe.prune(gone_at + timedelta(days=7))
    assert Relationship.objects.listed().exists()
    Relationship.objects.update(held_by="")
    observe.prune(gone_at + timedelta(days=7))
    assert not Relationship.objects.listed().exists()
    assert lookout.row.version == version + 1
    lookout.read()
    assert Relationship.objects.listed().get().gone_at is None


def test_the_executor_token_is_tried_once_an_hour_where_its_key_is(lookout, settings):
    register(lookout.world.clusters["prod"], executor=False)
    now = database_now()
    key, settings.EXECUTOR_KEY = settings.EXECUTOR_KEY, ""
    assert observe.executors_due(now) == []
    settings.EXECUTOR_KEY = key
    assert observe.executors_due(now) == [lookout.cluster.pk]
    assert observe.executors_due(now + 59 * MINUTE) == []
    assert observe.executors_due(now + 60 * MINUTE) == [lookout.cluster.pk]


def test_an_executor_token_that_is_refused_is_shown_before_it_is_needed(lookout):
    version = lookout.cluster.version

    def check() -> Cluster:
        observe.check_executor(lookout.cluster.pk)
        return Cluster.objects.get(pk=lookout.cluster.pk)

    assert check().executor_trouble == ""
    lookout.fails(faults.expired_token(path="who-am-i", count=None))
    assert "401" in check().executor_trouble
    assert check().version == version + 1
    lookout.target.faults.clear()
    lookout.fails(faults.refused())
    assert "401" in check().executor_trouble  # no answer says nothing about the token
    lookout.target.faults.clear()
    lookout.says({"name": "desk", "privileges": ["PRIVILEGE_REPLICATION_TARGET_READ"]}, path="who-am-i")
    assert check().executor_trouble == "The executor token lacks PRIVILEGE_REPLICATION_TARGET_WRITE."
    assert check().executor_trouble == ""


def test_an_executor_token_that_cannot_be_opened_is_trouble_as_well(lookout):
    Cluster.objects.update(executor_token=lookout.cluster.reader_token)
    observe.check_executor(lookout.cluster.pk)
    lookout.cluster.refresh_from_db()
    assert "EXECUTOR_KEY" in lookout.cluster.executor_trouble


def test_regrading_touches_nothing_else_of_the_row(lookout, patient):
    before = columns(lookout.row)
    observe.regrade(lookout.row.changes_at)
    after = columns(lookout.row)
    judged = {"grade", "grade_rank", "reason", "reason_since", "changes_at", "version"}
    assert {name for name in after if after[name] != before[name]} <= judged
