"""Every call on a relationship from either side, and the log that remains of it."""

from __future__ import annotations

import uuid
from email.utils import parsedate_to_datetime

import httpx
import pytest

from dashboard.simulator import State, scenarios, transport
from tests.simulator.refusals import assert_refused

T, S = "/v2/replication/target-relationships", "/v2/replication/source-relationships"


# -- the target side -----------------------------------------------------------------------------------------


def test_lists_are_bare_arrays_of_what_has_its_target_here(sign_in, world, dr, prod, targets):
    relationship = world.relationship("/dr/finance")
    reader = sign_in(dr, dr.reader_token)
    assert reader.get(f"{T}/status/").json() == [relationship.status()]
    assert reader.get(f"{targets}/status").json() == relationship.status()
    assert reader.get(f"{S}/status/").json() == []
    assert sign_in(prod).get(f"{T}/status/").json() == []
    assert sign_in(prod).get(f"{S}/status/").json() == [relationship.source_status()]


def test_the_quirks_of_unset_values(sign_in, dr, targets):
    status = sign_in(dr).get(f"{targets}/status").json()
    for name in ("end_reason", "job_start_time", "error_from_last_job"):
        assert status[name] == ""
    for name in ("source_address", "source_port", "lock_key", "replication_job_status"):
        assert status[name] is None
    assert status["target_root_path"] == "/dr/finance/"
    assert int(status["target_root_id"]) > 2**64
    assert status["recovery_point_snapshot"]["expiration"] == ""
    assert isinstance(status["recovery_point_snapshot"]["id"], int)


def test_make_writable_is_accepted_at_once_and_done_later(clock, sign_in, dr, targets):
    executor = sign_in(dr, dr.executor_token)
    answer = executor.post(f"{targets}/make-writable")
    assert (answer.status_code, answer.json()["state"], len(answer.json())) == (200, "DISCONNECTING", 23)
    clock.pass_time(3)
    status = executor.get(f"{targets}/status").json()
    assert (status["state"], status["target_root_read_only"]) == ("DISCONNECTED", False)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ESTABLISHED])
def test_make_writable_in_any_other_state_is_a_conflict(sign_in, world, prod, dr, state):
    it = world.relate(prod, "/s", dr, "/t", state=state)
    admin = sign_in(dr)
    answer = admin.post(f"{T}/{it.id}/make-writable")
    assert_refused(answer, 409, "replication_relationship_wrong_state_error")
    assert admin.get(f"{T}/{it.id}/status").json()["state"] == state

    dr.conflict_status = 400  # nobody knows which it is
    assert admin.post(f"{T}/{it.id}/make-writable").status_code == 400


def test_make_writable_without_a_recovery_point_is_a_conflict(sign_in, world, prod, dr):
    it = world.relate(prod, "/s", dr, "/t", age=None)
    admin = sign_in(dr)
    assert admin.get(f"{T}/{it.id}/status").json()["recovery_point"] == ""
    assert_refused(admin.post(f"{T}/{it.id}/make-writable"), 409, "replication_no_recovery_point_error")


def test_a_repeated_make_writable_can_be_switched_to_an_empty_success(clock, sign_in, dr, targets):
    dr.repeats_are_fine = True
    admin = sign_in(dr)
    states = []
    for _ in range(3):
        states.append(admin.post(f"{targets}/make-writable").json()["state"])
        clock.pass_time(2)
    assert states == ["DISCONNECTING", "DISCONNECTING", "DISCONNECTED"]


def test_authorizing_starts_replication_and_respects_both_switches(clock, sign_in, world, prod, dr):
    it = world.relate(prod, "/s", dr, "/t", state=State.AWAITING_AUTHORIZATION, age=None)
    admin = sign_in(dr)
    path = f"{T}/{it.id}/authorize"
    assert admin.get(f"{T}/{it.id}/status").json()["target_root_path"] == "/t"

    it.target_directory = "filled"
    query = {"allow-non-empty-directory": "false", "allow-fs-path-create": "false"}
    refused = admin.post(path, params=query)
    assert_refused(refused, 400, "replication_target_not_empty_error")
    assert "not_empty" in refused.text
    it.target_directory = "missing"
    assert_refused(admin.post(path), 400, "fs_no_such_entry_error")
    assert_refused(admin.post(path, params={"allow-fs-path-create": "perhaps"}), 400, "decode_error")

    answer = admin.post(path, params={**query, "allow-fs-path-create": "true"})
    assert (answer.json()["state"], answer.json()["target_root_read_only"]) == ("ESTABLISHED", True)
    assert answer.json()["target_root_path"] == "/t/"
    clock.pass_time(61)
    assert admin.get(f"{T}/{it.id}/status").json()["recovery_point"] != ""
    assert admin.post(path).status_code == 409


def test_reconnecting_needs_a_disconnected_relationship(clock, sign_in, dr, targets):
    admin = sign_in(dr)
    assert admin.post(f"{targets}/reconnect").status_code == 409
    admin.post(f"{targets}/make-writable")
    clock.pass_time(3)
    assert admin.post(f"{targets}/reconnect").json()["state"] == "RECONNECTING"


def test_deleting_on_one_side_ends_it_on_the_other_until_that_one_deletes_too(
    sign_in, world, dr, prod, targets, sources
):
    answer = sign_in(dr).post(f"{targets}/delete")
    assert (answer.status_code, answer.content) == (200, b"")
    assert sign_in(dr).get(f"{T}/status/").json() == []
    assert sign_in(dr).get(f"{targets}/status").status_code == 404
    left = sign_in(prod).get(f"{sources}/status").json()
    assert (left["state"], left["end_reason"]) == (
        "ENDED",
        "The relationship was deleted on the target cluster.",
    )
    assert sign_in(prod).delete(sources).status_code == 200
    assert world.relationships == {}


def test_deleting_on_the_source_leaves_an_ended_writable_target(sign_in, dr, prod, targets, sources):
    assert sign_in(prod).delete(sources).content == b""
    status = sign_in(dr).get(f"{targets}/status").json()
    assert (status["state"], status["target_root_read_only"]) == ("ENDED", False)
    assert status["end_reason"] != ""


def test_an_error_can_be_dismissed_on_either_side(clock, sign_in, world, dr, prod, targets, sources):
    it = world.relationship("/dr/finance")
    for client, path in ((sign_in(dr), targets), (sign_in(prod), sources)):
        it.error_from_last_job = "no space"
        assert client.get(f"{path}/status").json()["error_from_last_job"] == "no space"
        assert client.post(f"{path}/dismiss-error").content == b""
        assert client.get(f"{path}/status").json()["error_from_last_job"] == ""


def test_the_lock_key_is_called_differently_in_request_and_status(sign_in, dr, targets):
    admin = sign_in(dr)
    assert admin.post(f"{targets}/lock", json={"lock_key_ref": "k1"}).json() == {"lock_key_ref": "k1"}
    assert admin.get(f"{targets}/status").json()["lock_key"] == "k1"
    assert admin.post(f"{targets}/lock", json={"lock_key_ref": None}).json() == {"lock_key_ref": None}
    for body in ({}, {"lock_key": "k1"}, {"lock_key_ref": 7}):
        assert_refused(admin.post(f"{targets}/lock", json=body), 400, "decode_error")


# -- the source side -----------------------------------------------------------------------------------------


def test_the_source_keeps_eleven_settings_and_an_etag(sign_in, prod, sources):
    admin = sign_in(prod)
    answer = admin.get(sources)
    assert len(answer.json()) == 11
    assert answer.headers["ETag"] == '"1"'
    assert admin.get(f"{S}/").json() == [answer.json()]


def test_a_change_on_the_source_shows_on_the_target(sign_in, dr, prod, targets, sources):
    admin = sign_in(prod)
    answer = admin.patch(sources, json={"source_root_read_only": True, "replication_enabled": False})
    assert answer.json()["source_root_read_only"] is True
    status = sign_in(dr).get(f"{targets}/status").json()
    assert (status["source_root_read_only"], status["replication_enabled"]) == (True, False)


def test_a_change_with_a_stale_etag_is_refused(sign_in, prod, sources):
    admin = sign_in(prod)
    fresh = admin.get(sources).headers["ETag"]
    windows = {"blackout_windows": [{"start_hour": 1}], "blackout_window_timezone": "Europe/Berlin"}
    changed = admin.patch(sources, json=windows, headers={"If-Match": fresh})
    assert changed.json()["blackout_windows"] == [{"start_hour": 1}]
    again = admin.patch(sources, json={"target_port": 3713}, headers={"If-Match": fresh})
    assert_refused(again, 412, "http_precondition_failed_error")
    assert admin.get(sources).json()["target_port"] == 3712


@pytest.mark.parametrize("body", [{"state": "ENDED"}, {"target_port": "3712"}, {"target_port": True}, []])
def test_settings_that_do_not_exist_or_have_another_type_are_refused(sign_in, prod, sources, body):
    assert_refused(sign_in(prod).patch(sources, json=body), 400, "decode_error")


def test_replicate_answers_202_with_a_place_to_look_and_abort_gives_the_job_up(clock, sign_in, prod, sources):
    admin = sign_in(prod)
    answer = admin.post(f"{sources}/replicate")
    assert answer.status_code == 202
    assert admin.get(answer.json()["monitor_uri"]).json()["job_state"] == "REPLICATION_RUNNING"
    point = admin.get(f"{sources}/status").json()["recovery_point"]
    clock.pass_time(30)
    assert admin.post(f"{sources}/abort-replication", params={"skip-active-policy-snapshot": "true"}).content == b""
    clock.pass_time(300)
    status = admin.get(f"{sources}/status").json()
    assert (status["job_state"], status["recovery_point"]) == ("REPLICATION_NOT_RUNNING", point)


def test_the_queue_lists_policy_snapshots(sign_in, world, prod, sources):
    from dashboard.simulator import wire

    world.relationship("/dr/finance").queue.append(wire.snapshot(496, "hourly", 0, file_id="2", by_policy=True))
    (entry,) = sign_in(prod).get(f"{sources}/queued-snapshots/").json()["entries"]
    assert (entry["id"], entry["policy_id"], len(entry)) == (496, 1, 10)


def test_the_way_back_reverse_on_the_target_then_reconnect_on_the_old_source(clock, sign_in, dr, prod, targets):
    there, back = sign_in(dr), sign_in(prod)
    identity = targets.rsplit("/", 1)[1]
    body = {"target_relationship_id": identity, "source_address": "10.0.0.7"}
    path = f"{S}/reverse-target-relationship"
    assert there.post(path, json=body).status_code == 409, "it is still established"
    there.post(f"{targets}/make-writable")
    clock.pass_time(3)
    assert_refused(back.post(path, json=body), 404, "http_not_found_error")
    assert there.post(path, json={**body, "source_port": 3712}).json()["target_address"] == "10.0.0.7"

    assert there.get(f"{T}/status/").json() == []
    assert back.get(f"{targets}/status").json()["state"] == "DISCONNECTED"
    assert back.post(f"{targets}/reconnect").json()["state"] == "REESTABLISHING"
    clock.pass_time(3)
    status = back.get(f"{targets}/status").json()
    assert (status["id"], status["state"], status["target_root_read_only"]) == (identity, "ESTABLISHED", True)


# -- the log and what a test can do to a cluster -------------------------------------------------------------


def test_the_log_tells_who_asked_what_and_what_came_of_it(clock, sign_in, world, dr, targets):
    identity = targets.rsplit("/", 1)[1]
    sign_in(dr, dr.reader_token).post(f"{targets}/make-writable")
    clock.pass_time(1)
    sign_in(dr, dr.executor_token).post(f"{targets}/make-writable")
    sign_in(dr, "").get("/v1/version")
    refused, done, read = dr.log
    assert (refused.user, refused.status, refused.applied_at) == ("desk-reader", 403, None)
    assert (done.user, done.status, done.applied_at, done.at) == ("desk-executor", 200, clock(), clock())
    assert (read.method, read.path, read.user, read.bearer) == ("GET", "/v1/version", "", False)
    assert dr.make_writable_received(identity) == world.make_writable_received() == [refused, done]
    assert dr.make_writable_received(str(uuid.uuid4())) == []
    assert dr.received("GET", "version") == [read]


def test_a_renamed_cluster_keeps_its_uuid(sign_in, dr, targets):
    before = dr.uuid
    dr.rename("dr-new")
    admin = sign_in(dr)
    assert admin.get("/v1/cluster/settings").json() == {"cluster_name": "dr-new"}
    assert admin.get("/v1/node/state").json()["cluster_id"] == before
    assert admin.get(f"{targets}/status").json()["target_cluster_name"] == "dr-new"


def test_another_cluster_can_stand_behind_the_address(sign_in, world, dr, targets):
    executor = sign_in(dr, dr.executor_token)
    dr.stand_in = impostor = world.add_cluster("impostor")
    assert executor.get("/v1/node/state").json()["cluster_id"] == impostor.uuid
    assert executor.post(f"{targets}/make-writable").status_code == 401
    assert [(e.user, e.bearer) for e in impostor.make_writable_received()] == [("", True)]
    assert dr.make_writable_received() == []


def test_a_clock_that_is_ahead_shows_in_the_date(clock, sign_in, dr):
    def ahead() -> float:
        date = sign_in(dr, "").get("/v1/version").headers["Date"]
        return float(parsedate_to_datetime(date).timestamp() - clock())

    assert abs(ahead()) < 1
    dr.clock_ahead = 7200
    assert abs(ahead() - 7200) < 1


def test_names_and_paths_go_over_the_wire_as_they_are(clock, sign_in):
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    path = "/дані/<b>&\u202efdp.exe"
    it = world.relate(world.clusters["prod"], path, dr, path)
    with httpx.Client(transport=transport(dr), headers={"Authorization": f"Bearer {dr.reader_token}"}) as client:
        assert client.get(f"https://dr{T}/{it.id}/status").json()["target_root_path"] == path + "/"
