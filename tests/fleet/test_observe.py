"""What one reading writes: only what changed, every change, and nothing that was not read."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import access, observe, sample
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Event, RecoveryPoint, Relationship, Source, Trouble
from dashboard.simulator import State, faults
from tests.fleet.lookout import columns, pass_time, register


def _writes(queries) -> list[str]:
    return [each["sql"] for each in queries if each["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]


def test_the_first_reading_makes_a_row_with_all_that_the_cluster_says(lookout):
    row, told = lookout.row, lookout.sim.status()
    assert (row.state, row.target_root_path, row.source_root_path) == ("ESTABLISHED", "/dr/finance/", "/prod/finance/")
    assert row.status["recovery_point"] == told["recovery_point"]
    assert row.status["recovery_point_snapshot"]["name"] == told["recovery_point_snapshot"]["name"]
    assert row.facts.target_root_id == told["target_root_id"] == row.target_root_id
    assert (row.grade, row.objective) == (Grade.NORMAL, 3600)
    assert abs(row.recovery_point_at.timestamp() - lookout.sim.recovery_point) < 0.001
    assert row.changes_at == row.recovery_point_at + timedelta(hours=1)
    assert lookout.events() == ["First seen"]
    assert RecoveryPoint.objects.get().at == row.recovery_point_at
    assert {"dr", "prod", "/dr/finance/", lookout.sim.id} <= set(row.search.split("\n"))


def test_only_the_target_of_a_relationship_has_a_row_for_it(lookout):
    source = register(lookout.world.clusters["prod"])
    observe.observe(source.pk)
    assert Relationship.objects.get().cluster_id == lookout.cluster.pk


def test_an_unchanged_list_writes_the_time_of_the_reading_and_nothing_else(lookout):
    before, version = columns(lookout.row), lookout.cluster.version
    with CaptureQueriesContext(
        connection,
    ) as queries:
        observe.observe(lookout.cluster.pk)
    writes = _writes(queries.captured_queries)
    assert [sql.split()[1].strip('"') for sql in writes] == ["fleet_cluster"] * 2, writes
    assert columns(lookout.row) == before
    read = lookout.cluster.last_read_at
    lookout.cluster.refresh_from_db()
    assert lookout.cluster.last_read_at > read
    assert lookout.cluster.version == version


def test_the_number_of_queries_does_not_grow_with_the_number_of_rows(lookout):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            lookout.read()
        return len(captured)

    lookout.read()
    few = queries()
    source = lookout.world.clusters["prod"]
    for number in range(20):
        lookout.world.relate(source, f"/prod/{number}", lookout.target, f"/dr/{number}")
    lookout.read()
    assert Relationship.objects.count() == 21
    assert queries() == few


def test_progress_of_a_running_job_is_a_change_that_pages_show(lookout):
    lookout.sim.takes = 600
    lookout.clock.pass_time(320)
    lookout.read()
    first = lookout.row
    assert first.job_running
    lookout.clock.pass_time(60)
    lookout.read()
    assert lookout.row.job_percent > first.job_percent
    assert lookout.row.version == first.version + 1


def test_a_failover_made_by_somebody_else_is_recorded_step_by_step(lookout):
    before = lookout.row
    lookout.by_hand("make-writable")
    lookout.read()
    assert (lookout.row.state, lookout.row.grade) == ("DISCONNECTING", Grade.ACTIVE)
    lookout.clock.pass_time(30)
    lookout.read()
    row = lookout.row
    assert (row.state, row.target_root_read_only) == ("DISCONNECTED", False)
    assert (row.grade, row.reason) == (Grade.WARNING, "Not replicating")
    assert lookout.events("state", "access") == [
        "State changed from Established to Disconnecting",
        "State changed from Disconnecting to Disconnected",
        "The target became writable",
    ]
    health = Event.objects.filter(kind="health").order_by("pk")
    assert [(each.words, each.detail, each.grade) for each in health] == [
        ("Being disconnected", "Health changed from Normal to Active", Grade.ACTIVE),
        ("Not replicating", "Health changed from Active to Warning", Grade.WARNING),
    ]
    assert row.version > before.version
    assert row.state_since > before.state_since


def test_an_error_of_a_job_comes_and_goes_as_an_event(lookout):
    lookout.row_says(error_from_last_job="Snapshot limit of 40000 has been reached.")
    lookout.read()
    assert (lookout.row.grade, lookout.row.reason) == (Grade.WARNING, "Last job failed")
    assert "snapshot limit of 40000" in lookout.row.search
    lookout.read()
    assert lookout.row.error == ""
    assert lookout.events("error")[-1] == "The error of the last job is gone"


def test_failed_jobs_are_counted_as_they_are_seen_and_forgotten_when_the_recovery_point_moves(lookout):
    lookout.sim.every, lookout.sim.takes = 100, 20
    lookout.sim.jobs_fail("Connection to 10.20.4.12:3712 timed out")
    lookout.clock.pass_time(310)  # the first of them runs
    for _ in range(3):
        lookout.read()
        assert lookout.row.job_running
        lookout.clock.pass_time(50)
        lookout.read()
        assert not lookout.row.job_running
        lookout.clock.pass_time(50)
    row = lookout.row
    assert row.failed_jobs == 3
    assert (row.grade, row.reason) == (Grade.CRITICAL, "Last 3 jobs failed")
    assert lookout.events("job") == ["A job failed"] * 3
    assert lookout.events("error") == []  # one fact, one event

    lookout.sim.jobs_work()
    lookout.clock.pass_time(150)
    lookout.read()
    assert (lookout.row.failed_jobs, lookout.row.error) == (0, "")


def test_a_job_that_failed_between_two_readings_leaves_its_error_and_is_counted_once(lookout):
    lookout.sim.every, lookout.sim.takes = 100_000, 1
    lookout.sim.jobs_fail("Snapshot limit of 40000 has been reached.")
    lookout.clock.pass_time(400)
    lookout.read()
    assert lookout.row.failed_jobs == 1
    lookout.clock.pass_time(10)
    lookout.read()
    assert lookout.row.failed_jobs == 1


def test_a_job_that_moves_nothing_is_stalled_since_the_last_reading_that_saw_it_move(lookout):
    lookout.sim.takes = 6000
    lookout.clock.pass_time(330)
    lookout.read()
    assert lookout.row.stalled_since is None
    lookout.clock.pass_time(300)
    lookout.sim.jobs_stall()
    lookout.clock.pass_time(3600)
    lookout.read()
    seen = lookout.cluster.last_read_at
    assert lookout.row.stalled_since is None  # it moved since the reading before
    lookout.read()
    assert lookout.row.stalled_since == seen
    lookout.read()
    assert lookout.row.stalled_since == seen


def test_a_stalled_job_is_named_when_the_cluster_goes_on_answering(lookout):
    lookout.sim.takes = 6000
    lookout.sim.jobs_stall()
    lookout.clock.pass_time(5000)
    lookout.read()
    lookout.read()
    assert lookout.row.grade == Grade.NORMAL
    pass_time(301)
    lookout.read()
    assert (lookout.row.grade, lookout.row.reason) == (Grade.WARNING, "Job stalled {for}")
    assert lookout.row.reason_since == lookout.row.stalled_since


def test_a_job_that_only_counts_unchanged_files_is_at_work(lookout):
    figures = {"bytes_transferred": "0", "percent_complete": None, "throughput_current": "0"}
    for unchanged, stalled in (("1000", False), ("2000", False), ("2000", True)):
        job = figures | {"bytes_unchanged": unchanged}
        lookout.row_says(
            job_state="REPLICATION_RUNNING", job_start_time="2026-11-23T10:00:00Z", replication_job_status=job
        )
        lookout.read()
        assert (lookout.row.stalled_since is not None) == stalled


def test_a_job_without_figures_is_not_called_stalled(lookout):
    for _ in range(3):
        lookout.row_says(job_state="REPLICATION_RUNNING", job_start_time="2026-11-23T10:00:00Z")
        lookout.read()
    assert lookout.row.job_running
    assert lookout.row.stalled_since is None


def test_recovery_points_are_kept_at_most_every_five_minutes_after_the_first_hour(lookout):
    lookout.sim.every, lookout.sim.takes = 60, 5
    pass_time(3700)  # all of the first hour are kept: an estimate needs some to begin with
    for _ in range(4):
        lookout.clock.pass_time(400)
        lookout.read()
    assert RecoveryPoint.objects.count() == 2
    pass_time(301)
    lookout.clock.pass_time(70)
    lookout.read()
    newest = RecoveryPoint.objects.latest("seen_at")
    assert RecoveryPoint.objects.count() == 3
    assert newest.at == lookout.row.recovery_point_at


def test_a_source_counts_as_read_only_from_when_the_answer_was_here_and_not_from_when_it_was_asked_for(lookout):
    """What was written while the question was on its way came before it."""
    on_the_way = []

    def become_read_only():
        began = database_now()
        while (now := database_now()) == began:  # SQLite's clock has milliseconds
            pass
        on_the_way.append(now)
        lookout.sim.source.read_only = True

    lookout.during(become_read_only)
    cluster = lookout.read()
    since = lookout.row.source_read_only_since
    assert cluster.last_read_at < on_the_way[-1] <= since


def test_a_reading_that_began_before_the_stored_one_is_dropped(lookout):
    with access.reader(lookout.cluster) as door:
        early = door.listing()
    lookout.by_hand("make-writable")
    lookout.read()
    stored = columns(lookout.row)
    sample.store(lookout.cluster.pk, early, None, reserved=database_now())
    assert columns(lookout.row) == stored
    assert lookout.row.state == "DISCONNECTING"


def test_a_failure_that_began_before_the_stored_reading_is_dropped(lookout):
    began = lookout.cluster.last_read_at - timedelta(seconds=1)
    sample.fail(lookout.cluster.pk, Trouble.UNREACHABLE, "No answer.", began=began, reserved=began)
    lookout.cluster.refresh_from_db()
    assert lookout.cluster.trouble == ""


def test_a_list_that_began_before_a_rows_own_reading_leaves_that_row_alone(lookout):
    with access.reader(lookout.cluster) as door:
        early = door.listing()
        lookout.by_hand("make-writable")
        reading = door.read(lookout.row)
    observe.record(lookout.row, reading, held_by="FO-1001")
    sample.store(lookout.cluster.pk, early, None, reserved=database_now())
    assert lookout.row.state == "DISCONNECTING"


def test_a_cluster_that_was_removed_meanwhile_is_nobodys_trouble(lookout):
    with access.reader(lookout.cluster) as door:
        listing = door.listing()
    Relationship.objects.all().delete()
    lookout.cluster.delete()
    sample.store(lookout.cluster.pk or 1, listing, None, reserved=database_now())
    observe.observe(1)
    assert not Relationship.objects.exists()


def test_what_only_the_source_knows_is_read_once_a_minute_and_shown_with_the_target(lookout):
    prod = lookout.world.clusters["prod"]
    source = register(prod)
    observe.observe(source.pk)
    known = Source.objects.get()
    assert known.status["replication_mode"] == lookout.sim.source_status()["replication_mode"]
    version = lookout.row.version

    lookout.sim.settings.replication_mode = "REPLICATION_SNAPSHOT_POLICY"
    observe.observe(source.pk)
    assert Source.objects.get() == known
    assert Source.objects.get().status == known.status
    pass_time(61)
    observe.observe(source.pk)
    assert Source.objects.get().status["replication_mode"] == "REPLICATION_SNAPSHOT_POLICY"
    assert lookout.row.version == version + 1


def test_a_source_status_that_stays_equal_raises_no_version(lookout):
    source = register(lookout.world.clusters["prod"])
    observe.observe(source.pk)
    version, read_at = lookout.row.version, Source.objects.get().read_at
    pass_time(61)
    observe.observe(source.pk)
    assert lookout.row.version == version
    assert Source.objects.get().read_at > read_at


def test_a_reader_that_may_not_see_sources_still_reads_targets(lookout):
    pass_time(61)
    lookout.fails(faults.refusal(403, "http_forbidden_error", "No.", path="/source-relationships/"))
    cluster = lookout.read()
    assert cluster.trouble == ""
    assert cluster.sources_read_at == cluster.last_read_at


def test_details_that_cannot_be_read_do_not_spoil_a_good_list(lookout):
    pass_time(61)
    lookout.fails(faults.html(path="/v1/cluster/settings"))
    cluster = lookout.read()
    assert (cluster.trouble, cluster.reported_name) == ("", "dr")


def test_no_cluster_is_asked_inside_a_transaction(lookout):
    depths = []
    resting = len(connection.savepoint_ids)
    lookout.during(lambda: depths.append(len(connection.savepoint_ids)))
    pass_time(61)
    lookout.read()
    assert len(depths) == 5  # node, list, name, version, sources
    assert set(depths) == {resting}


def test_a_reading_during_a_failover_is_kept_and_taken_to_the_row(lookout):
    lookout.by_hand("make-writable")
    with access.executor(lookout.cluster) as door:
        reading = door.read(lookout.row)
    kept = observe.record(lookout.row, reading, held_by="FO-1001")
    assert (kept.state, kept.target_root_read_only, kept.held_by) == ("DISCONNECTING", True, "FO-1001")
    assert kept.status is not None
    assert kept.status["id"] == lookout.sim.id
    assert kept.node_id == reading.node_id != ""
    assert (lookout.row.state, lookout.row.own_read_at) == ("DISCONNECTING", reading.at)
    assert lookout.row.read_at == reading.at


def test_a_reading_of_another_relationship_with_the_same_id_is_evidence_and_no_more(lookout):
    before = columns(lookout.row)
    told = lookout.sim.status() | {"source_cluster_uuid": "ffffffff-0000-4000-8000-000000000000", "state": "ENDED"}
    lookout.says(told, path=f"{lookout.sim.id}/status")
    with access.reader(lookout.cluster) as door:
        reading = door.read(lookout.row)
    kept = observe.record(lookout.row, reading, held_by="FO-1001")
    assert kept.state == "ENDED"
    assert columns(lookout.row) == before


def test_a_failed_reading_during_a_failover_is_kept_with_its_kind(lookout):
    kept = observe.record_failure(lookout.row, "No answer came within 10 s." * 40, "unreachable", held_by="FO-1001")
    kept.refresh_from_db()
    assert kept.words.startswith("unreachable: No answer came")
    assert (kept.state, len(kept.words)) == ("", 500)


def test_a_relationship_that_comes_back_from_our_failover_is_no_longer_called_failed_over(lookout):
    lookout.by_hand("make-writable")
    lookout.clock.pass_time(30)
    lookout.read()
    Relationship.objects.update(failed_over_at=database_now())
    lookout.read()
    assert lookout.row.failed_over_at is not None
    lookout.by_hand("reconnect")
    lookout.read()
    assert lookout.row.state == State.RECONNECTING
    assert lookout.row.failed_over_at is None


def test_the_next_reading_is_due_one_interval_after_this_one_began(lookout):
    cluster = lookout.cluster
    assert cluster.next_read_at == cluster.last_read_at + settings.POLL_EVERY
    assert cluster.last_try_at <= cluster.last_read_at
