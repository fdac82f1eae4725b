"""Reading rows: strict where a failover depends on it, lenient in everything else, harmless always."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.qumulo import inferred
from dashboard.qumulo.records import (
    BlackoutWindow,
    JobStatus,
    Moment,
    Snapshot,
    SnapshotPolicy,
    State,
    TargetStatus,
    Unreadable,
    parse_list,
    parse_source_status,
    parse_target_status,
    to_json,
)
from tests.qumulo.lab import ID, SOURCE, TARGET, row

JOB = {
    "percent_complete": 89.0368314738253,
    "estimated_seconds_remaining": "12",
    "bytes_transferred": "178388608",
    "bytes_unchanged": "0",
    "bytes_remaining": "21660032",
    "bytes_deleted": "7",
    "bytes_total": "200048640",
    "files_transferred": "17",
    "files_unchanged": "0",
    "files_remaining": "4",
    "files_deleted": "1",
    "files_total": "21",
    "throughput_overall": "12330689",
    "throughput_current": "12330690",
}
SNAPSHOT = {
    "created_by_policy": True,
    "directory_name": "496_frequent-protection_userdata",
    "expiration": "2025-07-31T21:25:00.348019809Z",
    "id": 496,
    "in_delete": False,
    "name": "frequent-protection_userdata",
    "source_file_id": "126000320998089907413563998212",
    "timestamp": "2025-07-31T20:25:00.348019809Z",
}


def moment(raw: str) -> Moment:
    found = Moment.read(raw)
    assert found is not None
    return found


def job(**changes) -> JobStatus:
    found = parse_target_status(row(replication_job_status=JOB | changes)).replication_job_status
    assert found is not None
    return found


# ── What real clusters send ──────────────────────────────────────────────────


def test_it_reads_all_fields_of_a_real_answer():
    found = parse_target_status(row())
    assert found == TargetStatus(
        id=ID,
        state="DISCONNECTED",
        end_reason=None,
        source_cluster_name="qwhat",
        source_cluster_uuid=SOURCE,
        source_root_path="/snap_replication/",
        source_root_read_only=False,
        source_address=None,
        source_port=None,
        target_cluster_name="qwho",
        target_cluster_uuid=TARGET,
        target_root_path="/snap_replication/",
        target_root_read_only=False,
        job_state="REPLICATION_NOT_RUNNING",
        job_start_time=None,
        recovery_point=Moment("2025-04-22T15:10:00.00023319Z", datetime(2025, 4, 22, 15, 10, 0, 233, UTC)),
        error_from_last_job=None,
        duration_of_last_job=51844430,
        target_root_id="62",
        replication_enabled=True,
        replication_job_status=None,
        recovery_point_snapshot=Snapshot(
            id="88831",
            name="revert_to_37140_for_qwhat",
            timestamp=None,
            directory_name="",
            source_file_id="",
            created_by_policy=None,
            expiration=None,
            in_delete=None,
        ),
        lock_key=None,
    )
    assert found.state == State.DISCONNECTED


def test_it_reads_all_fields_of_a_job_and_of_a_snapshot():
    found = parse_target_status(row(replication_job_status=JOB, recovery_point_snapshot=SNAPSHOT))
    assert found.replication_job_status == JobStatus(
        percent_complete=89.0368314738253,
        estimated_seconds_remaining=12,
        bytes_transferred=178388608,
        bytes_unchanged=0,
        bytes_remaining=21660032,
        bytes_deleted=7,
        bytes_total=200048640,
        files_transferred=17,
        files_unchanged=0,
        files_remaining=4,
        files_deleted=1,
        files_total=21,
        throughput_overall=12330689,
        throughput_current=12330690,
    )
    assert found.recovery_point_snapshot == Snapshot(
        id="496",
        name="frequent-protection_userdata",
        timestamp=moment("2025-07-31T20:25:00.348019809Z"),
        directory_name="496_frequent-protection_userdata",
        source_file_id="126000320998089907413563998212",
        created_by_policy=True,
        expiration=moment("2025-07-31T21:25:00.348019809Z"),
        in_delete=False,
    )


def test_it_reads_mode_windows_queue_and_policies_of_the_source_side():
    found = parse_source_status(
        {
            "id": ID,
            "state": "ESTABLISHED",
            "source_cluster_uuid": SOURCE,
            "source_root_path": "/userdata/",
            "source_root_read_only": False,
            "target_cluster_uuid": TARGET,
            "replication_mode": "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS",
            "blackout_windows": [
                {"start_hour": 22, "start_minute": 0, "end_hour": "6", "end_minute": 30, "on_days": ["SAT", "SUN"]},
                "every night",
            ],
            "blackout_window_timezone": "UTC",
            "next_active_time": "2025-07-31T20:25:00Z",
            "queued_snapshot_count": 2102,
            "replicating_snapshot": SNAPSHOT,
            "snapshot_policies": [{"id": 1, "target_expiration": "same_as_policy"}],
        }
    )
    assert found.blackout_windows == (
        BlackoutWindow(start_hour=22, start_minute=0, end_hour=6, end_minute=30, on_days=("SAT", "SUN")),
    )
    assert found.snapshot_policies == (SnapshotPolicy(id="1", target_expiration="same_as_policy"),)
    assert found.queued_snapshot_count == 2102
    assert found.next_active_time == moment("2025-07-31T20:25:00Z")
    assert found.replicating_snapshot is not None
    assert found.replicating_snapshot.name == "frequent-protection_userdata"
    assert parse_source_status(json.loads(json.dumps(to_json(found)))) == found


# ── Strict ───────────────────────────────────────────────────────────────────


FLAGS = [name for name in inferred.REQUIRED if name.endswith("read_only")]
UNUSABLE = [(name, bad) for name in inferred.REQUIRED for bad in (None, "", 7, ["x"], {"x": "y"}, "absent")]
UNUSABLE += [(name, bad) for name in FLAGS for bad in ("false", "true", 0, 1)]


@pytest.mark.parametrize(("name", "bad"), UNUSABLE)
def test_a_row_without_a_required_field_is_unreadable_and_says_which(name, bad):
    broken = row(**{name: bad})
    if bad == "absent":
        del broken[name]
    with pytest.raises(Unreadable, match=f"^{name} is "):
        parse_target_status(broken)


@pytest.mark.parametrize("bad", ["../x", "a/b", "a?b", "a%2fb", "a b", "x" * 65, "a\n", "é", "٣"])
@pytest.mark.parametrize("name", ["id", "source_cluster_uuid", "target_cluster_uuid"])
def test_an_identifier_is_letters_digits_and_dashes(name, bad):
    with pytest.raises(Unreadable, match="not an identifier"):
        parse_target_status(row(**{name: bad}))


@pytest.mark.parametrize("bad", [None, [], "row", 7, True])
def test_a_row_that_is_no_object_is_unreadable(bad):
    with pytest.raises(Unreadable):
        parse_target_status(bad)


def test_one_bad_row_does_not_hide_the_others():
    rows, unreadable = parse_list([row(), row(id="b", state=None), None, row(id="c")], parse_target_status)
    assert [each.id for each in rows] == [ID, "c"]
    assert [(each.id, each.why) for each in unreadable] == [
        ("b", "state is missing."),
        (None, "The row is not an object."),
    ]


@pytest.mark.parametrize("second", [row(), row(state=None), {"id": ID}])
def test_a_list_that_names_one_relationship_twice_means_nothing(second):
    with pytest.raises(Unreadable, match="twice"):
        parse_list([row(), second], parse_target_status)


@pytest.mark.parametrize("bad", [{}, {"entries": []}, None, "x", 3])
def test_an_answer_that_is_no_list_means_nothing(bad):
    with pytest.raises(Unreadable):
        parse_list(bad, parse_target_status)


def test_an_unknown_state_is_kept_and_is_none_of_the_known():
    found = parse_target_status(row(state="FROBNICATING"))
    assert found.state == "FROBNICATING"
    assert found.state not in set(State)


def test_a_long_state_fits_its_column_and_is_no_known_one():
    found = parse_target_status(row(state="ESTABLISHED" + "x" * 500))
    assert len(found.state) == 64
    assert found.state not in set(State)


# ── Lenient ──────────────────────────────────────────────────────────────────

OPTIONAL = [name for name in row() if name not in inferred.REQUIRED]


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("empty", [None, "", "absent"])
def test_everything_else_may_be_missing_null_or_empty(name, empty):
    lenient = row(**{name: empty})
    if empty == "absent":
        del lenient[name]
    found = getattr(parse_target_status(lenient), name)
    assert found == ("" if name in ("source_cluster_name", "target_cluster_name", "job_state") else None)


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("odd", [True, -1, 1.5, "soon", [], {}, {"nanoseconds": []}, [[]], 10**39])
def test_a_wrong_kind_of_value_is_never_an_error(name, odd):
    found = parse_target_status(row(**{name: odd}))
    assert parse_target_status(to_json(found)) == found


@pytest.mark.parametrize("odd", [{"code": 5}, ["x"], 7, True])
def test_an_error_in_an_unforeseen_form_does_not_look_like_no_error(odd):
    assert parse_target_status(row(error_from_last_job=odd)).error_from_last_job


@pytest.mark.parametrize(
    ("sent", "percent"),
    [(75.5, 75.5), ("75.5", 75.5), (100, 100.0), (900, 100.0), (-3, 0.0), ("soon", None), (None, None), (True, None)],
)
def test_percent_is_a_number_from_0_to_100_or_unknown(sent, percent):
    assert job(percent_complete=sent).percent_complete == percent


@pytest.mark.parametrize(
    ("sent", "bytes_"),
    [("0", 0), (5, 5), (5.0, 5), ("-1", None), (-1, None), ("soon", None), ("", None), (2**63, None), ("1e9", None)],
)
def test_a_count_is_a_whole_number_or_unknown(sent, bytes_):
    assert job(bytes_total=sent).bytes_total == bytes_


def test_an_absurd_duration_is_unknown():
    assert parse_target_status(row(duration_of_last_job={"nanoseconds": "9" * 19})).duration_of_last_job is None
    assert job(estimated_seconds_remaining="9" * 12).estimated_seconds_remaining is None


def test_a_file_id_beyond_64_bits_stays_text_in_both_forms():
    digits = "126000320998089907413563998212"
    assert parse_target_status(row(target_root_id=digits)).target_root_id == digits
    assert parse_target_status(row(target_root_id=int(digits))).target_root_id == digits


# ── Times ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "raw",
    [
        "2025-04-22T15:10:00Z",
        "2025-04-22T15:10:00.1Z",
        "2025-04-22T15:10:00.000233Z",
        "2025-04-22T15:10:00.00023319Z",
        "2025-04-22T15:10:00.123456789Z",
        "2025-04-22T17:10:00.123456789+02:00",
        "2000-01-01T00:00:00Z",
        "2100-01-01T00:00:00Z",
    ],
)
def test_a_time_keeps_its_digits_and_is_utc(raw):
    found = moment(raw)
    assert found.raw == raw
    assert found.at == datetime.fromisoformat(raw)
    assert found.at.utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        None,
        7,
        "yesterday",
        "2025-04-22T15:10:00",  # no zone
        "2025-04-22T15:10:00.1234567891Z",
        "2025-02-30T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",  # overflows
        "0001-01-01T00:00:00+14:00",
        "2025-04-22",
        "2025-04-22T15:10:00Z\n",
        "２０２５-04-22T15:10:00Z",
    ],
)
def test_what_is_not_a_time_with_a_zone_of_our_century_is_none(bad):
    assert Moment.read(bad) is None


def test_times_that_differ_in_a_nanosecond_are_not_equal():
    assert moment("2025-04-22T15:10:00.000000001Z") != moment("2025-04-22T15:10:00.000000002Z")


def test_loss_counts_from_the_earlier_of_recovery_point_and_its_snapshot():
    early, late = "2025-07-31T20:25:00.348019809Z", "2025-07-31T21:00:00Z"
    older_snapshot = row(recovery_point=late, recovery_point_snapshot=SNAPSHOT | {"timestamp": early})
    newer_snapshot = row(recovery_point=early, recovery_point_snapshot=SNAPSHOT | {"timestamp": late})
    assert parse_target_status(older_snapshot).loss_from == moment(early)
    assert parse_target_status(newer_snapshot).loss_from == moment(early)
    assert parse_target_status(row(recovery_point=late, recovery_point_snapshot=None)).loss_from == moment(late)
    assert parse_target_status(row(recovery_point="", recovery_point_snapshot=SNAPSHOT)).loss_from is None


# ── Whatever comes ───────────────────────────────────────────────────────────

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**39), 10**39)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(st.characters(codec=None), max_size=40)
    | st.sampled_from(["", "a\x00b", "\ud800", "x" * 5000, "2025-04-22T15:10:00.123456789Z", "12", "-1", "1.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*JOB, *SNAPSHOT, "nanoseconds", "on_days", "start_hour"]), inner, max_size=4)
    ),
    max_leaves=6,
)
texts = st.text(st.characters(codec=None), min_size=1, max_size=40) | st.just("/" + "x" * 5000)
targets = st.fixed_dictionaries(
    {"id": st.just(ID), "source_cluster_uuid": st.just(SOURCE), "target_cluster_uuid": st.just(TARGET)}
    | dict.fromkeys(("source_root_read_only", "target_root_read_only"), st.booleans())
    | dict.fromkeys(("source_root_path", "target_root_path"), texts)
    | {"state": st.sampled_from(State) | texts},
    optional=dict.fromkeys(OPTIONAL, values)
    | {
        "replication_job_status": st.fixed_dictionaries({}, optional=dict.fromkeys(JOB, values)),
        "recovery_point_snapshot": st.fixed_dictionaries({}, optional=dict.fromkeys(SNAPSHOT, values)),
    },
)
SOURCE_FIELDS = [
    "state",
    "source_root_path",
    "source_root_read_only",
    "replication_mode",
    "blackout_windows",
    "blackout_window_timezone",
    "next_active_time",
    "queued_snapshot_count",
    "replicating_snapshot",
    "snapshot_policies",
]


@given(targets)
def test_every_readable_row_survives_being_stored(sent):
    found = parse_target_status(sent)
    stored = json.dumps(to_json(found), allow_nan=False)
    assert parse_target_status(json.loads(stored)) == found
    assert list(to_json(found)) == list(row())
    stored.encode()
    assert "\\u0000" not in stored.replace("\\\\", "")  # PostgreSQL refuses it


@given(st.fixed_dictionaries({"id": st.just(ID)}, optional=dict.fromkeys(SOURCE_FIELDS, values)))
def test_every_source_row_survives_being_stored(sent):
    found = parse_source_status(sent)
    assert parse_source_status(json.loads(json.dumps(to_json(found), allow_nan=False))) == found


@given(values | st.lists(values, max_size=4))
def test_no_answer_at_all_breaks_the_reader(sent):
    try:
        rows, _ = parse_list(sent, parse_target_status)
    except Unreadable:
        return
    assert rows == ()
