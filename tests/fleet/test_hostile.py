"""Broken and hostile answers: what was known stays, what is wrong is named, and nobody else suffers."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha512

import pytest

from dashboard.database import database_now
from dashboard.fleet import access, observe
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Relationship, Trouble
from dashboard.simulator import faults
from tests.fleet.lookout import LIST, Lookout, columns, pass_time

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


def test_a_long_path_that_does_not_compress_is_stored_like_any_other(lookout):
    """What is indexed must stay short on PostgreSQL, and it is measured after compression."""
    path = "/dr/" + "".join(sha512(bytes([n])).hexdigest() for n in range(30)) + "/"
    lookout.row_says(target_root_path=path)
    assert lookout.read().trouble == ""
    assert lookout.row.target_root_path == path


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
