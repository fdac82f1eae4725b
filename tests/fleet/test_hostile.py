"""Broken and hostile answers: what was known stays, what is wrong is named, and nobody else suffers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha512

import httpx
import pytest

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.fleet import access, observe
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Event, Relationship, Trouble
from dashboard.simulator import faults, scenarios
from tests.fleet.lookout import LIST, Lookout, columns, pass_time, register


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


NONSENSE = {
    "half an object": b'[{"id": "7f3c',
    "nothing": b"",
    "a page": b"<html><h1>It works</h1></html>",
    "an object instead of a list": b"{}",
    "a list of texts": b'["ESTABLISHED"]x',
    "NaN": b'[{"id": NaN}]',
    "Infinity": b"[Infinity]",
    "a key twice": b'[{"id": "a", "id": "b"}]',
    "an endless number": b"[" + b"9" * 5000 + b"]",
    "a hundred thousand brackets": b"[" * 100_000,
    "no UTF-8": b'["\xff\xfe"]',
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_that_cannot_be_read_leaves_every_row_as_it_was(lookout, body):
    before, read_at = columns(lookout.row), lookout.cluster.last_read_at
    lookout.says(body)
    cluster = lookout.read()
    assert columns(lookout.row) == before
    assert lookout.row.read_at == read_at  # its age goes on from there
    assert (cluster.trouble, cluster.last_read_at, cluster.silent) == (Trouble.NONSENSE, read_at, False)
    assert cluster.trouble_words.startswith("The cluster's answer cannot be read.")
    assert body[:40].decode("latin-1") not in cluster.trouble_words or not body

    cluster = lookout.read()
    assert (cluster.trouble, cluster.trouble_words, cluster.trouble_since) == ("", "", None)


def test_the_same_relationship_twice_refuses_the_whole_list(lookout):
    before = columns(lookout.row)
    rows = lookout.rows()
    lookout.says([rows[0], rows[0] | {"state": "DISCONNECTED"}])
    assert lookout.read().trouble == Trouble.NONSENSE
    assert columns(lookout.row) == before


FAILURES = {
    "refused": (faults.refused, Trouble.UNREACHABLE),
    "silent": (faults.silent, Trouble.UNREACHABLE),
    "no answer": (lambda: faults.no_answer(path=LIST, count=None), Trouble.UNREACHABLE),
    "half an answer": (lambda: faults.half_body(path=LIST, count=None), Trouble.UNREACHABLE),
    "an error of its own": (lambda: faults.error(503, path=LIST, count=None), Trouble.NONSENSE),
    "a load balancer's page": (lambda: faults.html(502, path=LIST, count=None), Trouble.NONSENSE),
    "a redirect": (lambda: faults.redirect(path=LIST, count=None), Trouble.NONSENSE),
    "401": (lambda: faults.expired_token(path=LIST, count=None), Trouble.SIGN_IN),
    "403": (lambda: faults.refusal(403, "forbidden", "Lacks it.", path=LIST, count=None), Trouble.SIGN_IN),
}


@pytest.mark.parametrize(("fault", "trouble"), FAILURES.values(), ids=FAILURES.keys())
def test_each_failure_of_a_reading_has_its_class_and_its_sentence(lookout, fault, trouble):
    before, version = columns(lookout.row), lookout.cluster.version
    lookout.fails(fault())
    cluster = lookout.read()
    assert (cluster.trouble, cluster.version) == (trouble, version + 1)
    assert cluster.trouble_words.endswith(".")
    assert cluster.trouble_since >= cluster.last_try_at
    assert columns(lookout.row) == before


def test_trouble_that_stays_the_same_is_one_change_for_the_page(lookout):
    lookout.fails(faults.expired_token(path=LIST, count=None))
    first = lookout.read()
    since, version = first.trouble_since, first.version
    again = lookout.read()
    assert (again.trouble_since, again.version) == (since, version)


def test_a_refused_sign_in_is_not_tried_again_for_a_minute(lookout):
    lookout.fails(faults.expired_token(path=LIST, count=None))
    cluster = lookout.read()
    now = database_now()
    assert cluster.next_read_at >= now + timedelta(seconds=58)
    assert observe.due_clusters(now + timedelta(seconds=50)) == []
    assert not observe.read_now(cluster, now + timedelta(seconds=30))
    assert observe.due_clusters(now + timedelta(seconds=61)) == [cluster.pk]


def test_a_refused_sign_in_puts_off_a_reading_that_somebody_asked_for_meanwhile(lookout):
    lookout.fails(faults.expired_token(path=LIST))

    def ask() -> None:
        pass_time(10)
        assert observe.read_now(lookout.cluster, database_now())

    lookout.during(ask)
    assert lookout.read().next_read_at > database_now() + timedelta(seconds=50)


def test_a_busy_cluster_is_given_the_time_that_it_asks_for_up_to_a_minute(lookout):
    for asked, given in (("40", 40), ("999999", 60), ("soon", 10)):
        busy = httpx.MockTransport(lambda _, asked=asked: httpx.Response(503, headers={"Retry-After": asked}))
        access.through(lookout.cluster.url, busy)
        wait = lookout.read().next_read_at - database_now()
        assert timedelta(seconds=given - 2) < wait <= timedelta(seconds=given)


def test_a_state_that_is_not_known_here_is_shown_raw_and_counts_as_unknown(lookout):
    lookout.row_says(state="MELTING")
    lookout.read()
    assert (lookout.row.state, lookout.row.grade) == ("MELTING", Grade.UNKNOWN)
    assert lookout.row.reason == "State not known here"
    assert lookout.events("state") == ["State changed from Established to MELTING"]


@pytest.mark.parametrize(
    "fields",
    [
        {"state": ...},
        {"state": None},
        {"target_root_read_only": "false"},
        {"source_root_read_only": 1},
        {"target_root_path": ...},
        {"source_cluster_uuid": 12},
    ],
    ids=str,
)
def test_a_row_without_what_a_failover_depends_on_is_set_aside_with_its_last_good_values(lookout, fields):
    lookout.world.relate(lookout.world.clusters["prod"], "/prod/hr", lookout.target, "/dr/hr")
    lookout.read()
    before, read_at = columns(lookout.row), lookout.cluster.last_read_at
    rows = lookout.rows()
    for name, value in fields.items():
        if value is ...:
            del rows[0][name]
        else:
            rows[0][name] = value
    rows[1]["error_from_last_job"] = "Something else"
    lookout.says(rows)
    cluster = lookout.read()

    row = lookout.row
    assert next(iter(fields)) in row.unreadable
    assert (row.grade, row.reason) == (Grade.UNKNOWN, "Cannot be read")
    assert (row.status, row.state) == (before["status"], before["state"])
    assert row.read_at == row.missing_since == read_at
    assert row.version == before["version"] + 1
    assert "Cannot be read" in lookout.events("listing")
    assert cluster.trouble == ""  # the cluster is well, and its other row was read
    assert Relationship.objects.get(target_root_path="/dr/hr/").error == "Something else"

    lookout.read()
    row = lookout.row
    assert (row.unreadable, row.missing_since, row.grade) == ("", None, Grade.NORMAL)
    assert lookout.events("listing")[-1] == "Can be read again"


def test_a_row_that_was_never_readable_is_named_at_the_cluster(lookout):
    strange = lookout.rows()[0] | {"id": "11111111-0000-4000-8000-000000000000", "state": None}
    lookout.says([*lookout.rows(), strange, {"id": "../../x"}])
    version = lookout.cluster.version
    cluster = lookout.read()
    assert Relationship.objects.count() == 1
    assert "11111111-0000-4000-8000-000000000000: state" in cluster.unreadable_rows
    assert "A row without a usable id" in cluster.unreadable_rows
    assert (cluster.trouble, cluster.version) == ("", version + 1)
    assert lookout.read().unreadable_rows == ""


def test_a_row_without_an_id_may_be_any_of_those_that_are_absent(lookout):
    for _ in range(4):
        lookout.says([{"id": 7}])
        lookout.read()
    assert (lookout.row.misses, lookout.row.gone_at) == (0, None)


def test_a_relationship_is_gone_after_three_lists_without_it_and_one_absence_is_nothing(lookout):
    read_at = lookout.cluster.last_read_at
    for misses in (1, 2):
        lookout.says([])
        lookout.read()
        assert (lookout.row.misses, lookout.row.gone_at, lookout.row.grade) == (misses, None, Grade.NORMAL)
        assert lookout.row.read_at == read_at
    lookout.says([])
    lookout.read()
    row = lookout.row
    assert row.gone_at is not None
    assert (row.grade, row.reason) == (Grade.UNKNOWN, "No longer listed")
    assert lookout.events("listing")[-1] == "No longer listed"
    lookout.read()
    assert (lookout.row.gone_at, lookout.row.misses, lookout.row.grade) == (None, 0, Grade.NORMAL)
    assert lookout.events("listing")[-1] == "Listed again"


def test_an_absence_between_two_lists_starts_the_count_again(lookout):
    for _ in range(3):
        lookout.says([])
        lookout.read()
        lookout.read()
    assert (lookout.row.misses, lookout.row.gone_at) == (0, None)


def test_a_row_that_is_listed_but_cannot_be_read_is_not_absent(lookout):
    for listed in ([], [], [lookout.rows()[0] | {"state": None}], [], []):
        lookout.says(listed)
        lookout.read()
    assert (lookout.row.misses, lookout.row.gone_at) == (2, None)


@pytest.mark.parametrize(
    "fields", [{"source_cluster_uuid": "22222222-0000-4000-8000-000000000000"}, {"target_root_id": "77"}], ids=str
)
def test_an_id_that_is_used_again_is_another_relationship(lookout, fields):
    old = lookout.row
    lookout.row_says(**fields)
    lookout.read()
    old.refresh_from_db()
    new = Relationship.objects.exclude(pk=old.pk).get()
    assert (new.relationship_id, new.gone_at, new.grade) == (old.relationship_id, None, Grade.NORMAL)
    assert old.gone_at is not None
    assert old.status["target_root_id"] == lookout.sim.status()["target_root_id"]
    lookout.read()
    old.refresh_from_db()
    assert old.gone_at is None
    assert Relationship.objects.count() == 2


def test_a_directory_id_that_is_told_later_belongs_to_the_same_relationship(lookout):
    Relationship.objects.all().delete()
    lookout.row_says(target_root_id=None)
    lookout.read()
    assert lookout.row.target_root_id == ""
    lookout.read()
    assert lookout.row.target_root_id == lookout.sim.status()["target_root_id"]
    lookout.row_says(target_root_id=...)
    lookout.read()
    assert lookout.row.target_root_id == lookout.sim.status()["target_root_id"]


def test_two_clusters_that_use_the_same_id_have_a_row_each(lookout):
    other = lookout.world.add_cluster("dr-east")
    twin = lookout.world.relate(lookout.world.clusters["prod"], "/prod/x", other, "/dr/x")
    twin.id = lookout.sim.id
    east = register(other)
    observe.observe(east.pk)
    lookout.by_hand("make-writable")
    lookout.read()
    states = dict(Relationship.objects.values_list("cluster__name", "state"))
    assert states == {"dr": "DISCONNECTING", "dr-east": "ESTABLISHED"}


def test_another_cluster_behind_the_address_is_not_believed_a_word(lookout):
    stranger = scenarios.pair(lookout.clock).clusters["prod"]
    stranger.uuid = "33333333-0000-4000-8000-000000000000"
    before = columns(lookout.row)
    lookout.target.stand_in = stranger
    cluster = lookout.read()
    assert cluster.trouble == Trouble.IDENTITY
    assert stranger.uuid in cluster.trouble_words
    assert columns(lookout.row) == before
    with access.reader(cluster) as door, pytest.raises(access.WrongIdentity):
        door.read(lookout.row)


def test_one_row_of_another_target_cluster_spoils_the_whole_list(lookout):
    lookout.world.relate(lookout.world.clusters["prod"], "/prod/hr", lookout.target, "/dr/hr")
    lookout.row_says(target_cluster_uuid="33333333-0000-4000-8000-000000000000", state="DISCONNECTED")
    before = columns(lookout.row)
    assert lookout.read().trouble == Trouble.IDENTITY
    assert columns(lookout.row) == before
    assert Relationship.objects.count() == 1


def test_a_renamed_cluster_is_the_same_cluster_and_the_ledger_says_so(lookout):
    lookout.target.rename("dr-new")
    pass_time(61)
    cluster = lookout.read()
    assert (cluster.trouble, cluster.name, cluster.reported_name) == ("", "dr", "dr-new")
    entry = Entry.objects.get(tag="cluster.changed")
    assert "dr calls itself dr-new now, dr before." in entry.payload
    assert lookout.row.grade == Grade.NORMAL
    pass_time(61)
    lookout.read()
    assert Entry.objects.filter(tag="cluster.changed").count() == 1


@pytest.mark.parametrize(
    ("ahead", "grade", "reason"),
    [(timedelta(seconds=90), Grade.NORMAL, ""), (timedelta(minutes=10), Grade.WARNING, "Recovery point in future")],
    ids=str,
)
def test_a_recovery_point_in_the_future_has_no_age(lookout, ahead, grade, reason):
    lookout.row_says(recovery_point=_time(datetime.now(UTC) + ahead))
    lookout.read()
    assert (lookout.row.grade, lookout.row.reason) == (grade, reason)


def test_a_clock_that_is_wrong_by_more_than_two_minutes_is_a_change_for_the_page(lookout):
    version = lookout.cluster.version
    for ahead, raised in ((60, 0), (110, 0), (7200, 1), (7260, 1), (-7200, 1), (0, 2)):
        lookout.target.clock_ahead = ahead
        cluster = lookout.read()
        assert abs(cluster.clock_ahead - ahead) <= 2
        assert cluster.version == version + raised, ahead
    with access.reader(cluster) as door:
        lookout.target.clock_ahead = 7200
        found = door.read(lookout.row).clock_ahead
        assert found is not None
        assert abs(found - timedelta(hours=2)) < timedelta(seconds=3)


def test_a_recovery_point_that_is_empty_or_absurd_is_none(lookout):
    for value in ("", None, "9999-12-31T23:59:59.999999999Z", "2026-03-14T02:42:00", "soon", 7):
        lookout.row_says(recovery_point=value)
        lookout.read()
        assert (lookout.row.recovery_point_at, lookout.row.reason) == (None, "No recovery point yet"), value


def test_nine_digits_of_a_second_are_kept_in_what_the_cluster_said(lookout):
    lookout.row_says(recovery_point="2026-03-14T02:42:00.123456789Z")
    lookout.read()
    assert lookout.row.status["recovery_point"] == "2026-03-14T02:42:00.123456789Z"
    assert lookout.row.recovery_point_at.microsecond == 123456


HOSTILE = "\x00\ud800\x1b[31m\u202e\u200b<script>alert(1)</script>=cmd()"


def test_hostile_texts_are_stored_found_and_shown_harmlessly(lookout):
    lookout.row_says(
        error_from_last_job=HOSTILE,
        source_cluster_name=HOSTILE,
        source_root_path="/" + HOSTILE,
        target_root_path="/" + HOSTILE,
        end_reason=HOSTILE,
        lock_key=HOSTILE,
        job_state=HOSTILE,
        state="X" + HOSTILE,
    )
    cluster = lookout.read()
    row = lookout.row
    assert cluster.trouble == ""
    assert row.state.startswith("X\\u0000\\ud800")
    assert "\\u202e" in row.search
    for shown in [
        row.search,
        *Event.objects.values_list("words", flat=True),
        *Event.objects.values_list("detail", flat=True),
    ]:
        assert not set(shown) & {"\x00", "\ud800", "\x1b", "\u202e", "\u200b"}
    assert row.facts.target_root_path == row.target_root_path


def test_a_long_path_that_does_not_compress_is_stored_like_any_other(lookout):
    """What is indexed must stay short on PostgreSQL, and it is measured after compression."""
    path = "/dr/" + "".join(sha512(bytes([n])).hexdigest() for n in range(30)) + "/"
    lookout.row_says(target_root_path=path)
    assert lookout.read().trouble == ""
    assert lookout.row.target_root_path == path


def test_a_text_of_a_megabyte_is_cut_and_two_that_differ_at_the_end_stay_different(lookout):
    paths = ["/" + "a" * 1_000_000 + end for end in "xy"]
    kept = []
    for path in paths:
        lookout.row_says(target_root_path=path, error_from_last_job=path, state="S" * 5000)
        lookout.read()
        kept.append(lookout.row.target_root_path)
    assert all(len(each) <= 4096 for each in kept)
    assert kept[0] != kept[1]
    assert len(lookout.row.state) == 64
    assert "The target path changed" in lookout.events("listing")


def test_absurd_figures_are_nothing_said(lookout):
    job = {"percent_complete": 900, "bytes_transferred": "-5", "estimated_seconds_remaining": "soon"}
    lookout.row_says(replication_job_status=job, duration_of_last_job={"nanoseconds": "x"}, source_port=99999999)
    assert lookout.read().trouble == ""
    assert lookout.row.job_percent == 100
    assert lookout.row.facts.replication_job_status.bytes_transferred is None


def test_the_state_of_the_node_that_answers_is_kept(lookout):
    version = lookout.cluster.version
    state = {"node_id": 2, "state": "PAUSED", "cluster_id": lookout.target.uuid}
    lookout.says(state, path="/v1/node/state")
    cluster = lookout.read()
    assert (cluster.node_state, cluster.trouble, cluster.version) == ("PAUSED", "", version + 1)


def test_a_dead_cluster_delays_and_changes_no_other(lookout):
    other = Lookout(lookout.world, "prod")
    other.read()
    lookout.fails(faults.silent())
    lookout.read()
    other.read()
    assert (lookout.cluster.trouble, other.cluster.trouble) == (Trouble.UNREACHABLE, "")
    assert other.cluster.last_read_at > lookout.cluster.last_try_at


def test_a_token_that_cannot_be_opened_is_trouble_in_words(lookout, settings):
    from cryptography.fernet import Fernet

    settings.READER_KEY = Fernet.generate_key().decode()
    received = len(lookout.target.log)
    cluster = lookout.read()
    assert cluster.trouble == Trouble.SIGN_IN
    assert cluster.trouble_words == "The reader token cannot be opened: READER_KEY is not the key it was stored with."
    assert len(lookout.target.log) == received
