"""The one door: tokens open only where they belong, and only the registered cluster is listened to."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode

import pytest
from cryptography.fernet import Fernet

from dashboard.fleet import access
from dashboard.fleet.models import Cluster
from dashboard.qumulo.errors import Effect, NotFound, TooLate
from dashboard.qumulo.wire import boottime

UUID, OTHER = "0e93c58f-2b6d-4a41-93f7-6a2d81e4f0c9", "b1a4e6d2-77c3-4f19-8e02-5d9ab3c47710"


def test_a_sealed_token_shows_nothing_and_opens_for_its_cluster_and_purpose():
    sealed = access.seal("reader", UUID, "access-v1:se|cret==")
    assert "cret" not in sealed
    assert UUID not in sealed
    assert access.unseal("reader", UUID, sealed) == "access-v1:se|cret=="


def test_a_ciphertext_that_was_copied_to_another_cluster_is_refused():
    sealed = access.seal("executor", UUID, "secret")
    with pytest.raises(access.NoExecutor, match="belongs to something else"):
        access.unseal("executor", OTHER, sealed)


def test_the_readers_token_cannot_be_put_in_the_executors_place_even_under_one_key(settings):
    settings.READER_KEY = settings.EXECUTOR_KEY
    sealed = access.seal("reader", UUID, "secret")
    with pytest.raises(access.NoExecutor, match="belongs to something else"):
        access.unseal("executor", UUID, sealed)


def test_a_token_that_looks_like_another_clusters_prefix_opens_nothing():
    sealed = access.seal("reader", UUID, f"{OTHER}|reader|secret")
    with pytest.raises(access.NoToken):
        access.unseal("reader", OTHER, sealed)


@pytest.mark.parametrize(("purpose", "key"), [("reader", "READER_KEY"), ("executor", "EXECUTOR_KEY")])
def test_a_wrong_missing_or_broken_key_is_named(settings, purpose, key):
    sealed = access.seal(purpose, UUID, "secret")
    for value, words in (
        (urlsafe_b64encode(b"x" * 32).decode(), f"{key} is not the key it was stored with."),
        ("", f"{key} is not set here"),
        ("short", f"{key} is not a key"),
    ):
        setattr(settings, key, value)
        with pytest.raises(access.NoToken, match=words) as refused:
            access.unseal(purpose, UUID, sealed)
        assert refused.value.effect is Effect.ABSENT
        assert "secret" not in str(refused.value)


def test_keys_are_changed_by_putting_the_new_one_in_front(settings):
    old = settings.READER_KEY
    sealed = access.seal("reader", UUID, "secret")
    settings.READER_KEY = f"{Fernet.generate_key().decode()}, {old}"
    assert access.unseal("reader", UUID, sealed) == "secret"
    again = access.seal("reader", UUID, "secret")
    settings.READER_KEY = old
    with pytest.raises(access.NoToken):
        access.unseal("reader", UUID, again)


def test_the_reader_looks_with_its_own_token_and_cannot_send(lookout):
    with access.reader(lookout.cluster) as door:
        door.read(lookout.row)
        with pytest.raises(access.NoExecutor):
            door.make_writable(lookout.row, send_by=boottime() + 5)
    # Who answers is asked first, without any token.
    assert {(each.user, each.path.rsplit("/", 1)[-1]) for each in lookout.target.log} >= {
        ("", "state"),
        ("desk-reader", "status"),
    }
    assert {each.user for each in lookout.target.log} == {"", "desk-reader"}
    assert lookout.target.make_writable_received() == []


def test_the_executor_reads_and_sends_once_on_the_same_connection(lookout):
    with access.executor(lookout.cluster) as door:
        reading = door.read(lookout.row)
        accepted = door.make_writable(lookout.row, send_by=reading.boottime + 5)
    assert accepted.status.state == "DISCONNECTING"
    assert len(lookout.target.make_writable_received(lookout.sim.id)) == 1
    assert lookout.target.log[-1].user == "desk-executor"


def test_the_send_window_is_passed_through(lookout):
    with access.executor(lookout.cluster) as door:
        door.read(lookout.row)
        with pytest.raises(TooLate):
            door.make_writable(lookout.row, send_by=boottime() - 0.001)
    assert lookout.target.make_writable_received() == []


def test_the_window_counts_from_the_answer_of_the_status_not_from_the_question(lookout):
    before = boottime()
    with access.reader(lookout.cluster) as door:
        reading = door.read(lookout.row)
    assert before <= reading.boottime <= boottime()
    assert reading.node_state == "ACTIVE"
    assert abs(reading.at.timestamp() - time.time()) < 60


def test_a_watched_only_cluster_has_no_executor(lookout):
    Cluster.objects.update(executor_token="")
    lookout.cluster.refresh_from_db()
    with pytest.raises(access.NoExecutor, match="no executor token for dr"), access.executor(lookout.cluster):
        pass


def test_a_process_without_the_executors_key_cannot_open_that_door(lookout, settings):
    settings.EXECUTOR_KEY = ""
    with pytest.raises(access.NoExecutor, match="EXECUTOR_KEY is not set here"), access.executor(lookout.cluster):
        pass
    with access.reader(lookout.cluster) as door:
        assert door.read(lookout.row).status.state == "ESTABLISHED"


def test_a_status_of_another_target_cluster_is_refused_even_when_the_node_is_the_right_one(lookout):
    told = lookout.sim.status() | {"target_cluster_uuid": OTHER}
    lookout.says(told, path=f"{lookout.sim.id}/status")
    with access.reader(lookout.cluster) as door, pytest.raises(access.WrongIdentity, match=OTHER):
        door.read(lookout.row)


def test_a_token_is_not_tried_on_a_cluster_that_is_another_one(lookout):
    stranger = lookout.world.add_cluster("stranger")
    lookout.target.stand_in = stranger
    with access.reader(lookout.cluster) as door, pytest.raises(access.WrongIdentity):
        door.who_am_i()
    assert stranger.received(path_contains="who-am-i") == []


def test_a_relationship_that_the_cluster_does_not_know_is_not_found(lookout):
    lookout.row_says(id="44444444-0000-4000-8000-000000000000")
    lookout.read()
    from dashboard.fleet.models import Relationship

    unknown = Relationship.objects.get(relationship_id="44444444-0000-4000-8000-000000000000")
    with access.reader(lookout.cluster) as door, pytest.raises(NotFound):
        door.read(unknown)
