"""Qumulo's own command line, `qq`, does not notice that the cluster is simulated.

It is started as a process, against HTTPS on 127.0.0.2: started by root with a host that it knows as local, it
binds a port below 1024 first, which not every machine allows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.simulator import Relationship, State, World, serve

QQ = Path(sys.executable).parent / "qq"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def finance(world: World) -> Relationship:
    return world.relationship("/dr/finance")


def runner(host: str, port: int, home: Path) -> Run:
    def run(*arguments: str, answer: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [QQ, "--host", host, "--port", str(port), "--credentials-store", home / "credentials", *arguments],
            input=answer,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def qq(world: World, tmp_path: Path) -> Iterator[Run]:
    """qq on the target cluster, signed in as its administrator."""
    dr = world.clusters["dr"]
    with serve(dr, "127.0.0.2") as door:
        run = runner("127.0.0.2", door.port, tmp_path)
        run("login", "-u", dr.username, "-p", dr.password)
        yield run


def test_it_learns_who_the_cluster_is_and_who_is_signed_in(world, qq):
    dr = world.clusters["dr"]
    assert json.loads(qq("version").stdout)["revision_id"] == "Qumulo Core 7.8.0"
    assert json.loads(qq("node_state_get").stdout)["cluster_id"] == dr.uuid
    assert json.loads(qq("cluster_conf").stdout) == {"cluster_name": "dr"}
    assert "admin" in qq("who_am_i").stdout


def test_a_wrong_password_and_a_missing_token_are_told_apart_from_other_errors(world, qq, tmp_path):
    assert "Error 401: cred_invalid_credentials_error" in qq("login", "-u", "admin", "-p", "x", code=1).stderr
    world.clusters["dr"].expire_tokens()
    refused = qq("replication_list_target_relationship_statuses", code=1).stderr
    assert "Error 401: http_unauthorized_error: The bearer token" in refused


def test_it_lists_and_shows_target_relationships(world, finance, qq):
    assert json.loads(qq("replication_list_target_relationship_statuses").stdout) == [finance.status()]
    shown = qq("replication_get_target_relationship_status", "--id", finance.id).stdout
    assert json.loads(shown) == finance.status()
    unknown = "00000000-0000-4000-8000-000000000000"
    refused = qq("replication_get_target_relationship_status", "--id", unknown, code=1).stderr
    assert "Error 404: http_not_found_error" in refused


def test_its_prompt_shows_the_recovery_point_and_no_means_no(world, finance, qq):
    done = qq("replication_make_target_writable", "--id", finance.id, answer="no\n")
    asked = " ".join(done.stdout.split())
    assert "revert the target directory of /dr/finance/ to the recovery point from" in asked
    assert "Canceling the replication_make_target_writable request" in asked
    assert finance.status()["state"] == "ESTABLISHED"
    assert world.make_writable_received() == []


def test_yes_at_its_prompt_makes_the_target_writable(clock, world, finance, qq):
    done = qq("replication_make_target_writable", "--id", finance.id, answer="yes\n")
    assert '"state": "DISCONNECTING"' in done.stdout
    (sent,) = world.make_writable_received(finance.id)
    assert (sent.user, sent.status) == ("admin", 200)
    clock.pass_time(3)
    shown = json.loads(qq("replication_get_target_relationship_status", "--id", finance.id).stdout)
    assert (shown["state"], shown["target_root_read_only"]) == ("DISCONNECTED", False)
    assert shown["recovery_point_snapshot"]["name"].startswith("revert_to_")


def test_its_prompt_refuses_without_a_recovery_point_and_sends_nothing(world, qq):
    young = world.relate(world.clusters["prod"], "/s", world.clusters["dr"], "/t", age=None)
    done = qq("replication_make_target_writable", "--id", young.id, answer="yes\n")
    assert "cannot be made writable because initial replication has not completed" in " ".join(done.stdout.split())
    assert world.make_writable_received() == []


def test_force_sends_at_once_and_the_way_back_is_a_reconnect(clock, world, finance, qq):
    assert '"DISCONNECTING"' in qq("replication_make_target_writable", "--id", finance.id, "--force").stdout
    refused = qq("replication_make_target_writable", "--id", finance.id, "--force", code=1).stderr
    assert "Error 409: replication_relationship_wrong_state_error" in refused
    clock.pass_time(3)
    assert '"RECONNECTING"' in qq("replication_reconnect_target_relationship", "--id", finance.id, "--force").stdout
    assert finance.status()["target_root_read_only"] is True


def test_it_authorizes_locks_and_deletes(world, qq):
    asked = world.relate(
        world.clusters["prod"], "/s", world.clusters["dr"], "/t", state=State.AWAITING_AUTHORIZATION, age=None
    )
    asked.target_directory = "filled"
    assert "not_empty" in qq("replication_authorize", "--id", asked.id, code=1).stderr
    done = qq("replication_authorize", "--id", asked.id, "--allow-non-empty-directory")
    assert '"state": "ESTABLISHED"' in done.stdout

    lock = ("replication_set_target_relationship_lock", "--relationship-id", asked.id)
    qq(*lock, "--lock-key", "evidence")
    assert asked.status()["lock_key"] == "evidence"
    qq(*lock, "--clear-lock-key")
    assert asked.status()["lock_key"] is None

    qq("replication_delete_target_relationship", "--id", asked.id, "--force")
    assert asked.source_status()["state"] == "ENDED"
    assert asked.id not in qq("replication_list_target_relationship_statuses").stdout


def test_the_whole_way_back_on_both_clusters(clock, world, finance, qq, tmp_path):
    prod = world.clusters["prod"]
    qq("replication_make_target_writable", "--id", finance.id, "--force")
    clock.pass_time(3)
    with serve(prod, "127.0.0.2") as door:
        (tmp_path / "prod").mkdir()
        there = runner("127.0.0.2", door.port, tmp_path / "prod")
        there("login", "-u", prod.username, "-p", prod.password)
        there("replication_modify_source_relationship", "--id", finance.id, "--set-source-directory-read-only", "true")
        assert finance.status()["source_root_read_only"] is True
        assert json.loads(there("replication_list_queued_snapshots", "--id", finance.id).stdout) == {"entries": []}
        qq("replication_reverse_target_relationship", "--id", finance.id, "--source-address", "10.0.0.7")
        there("replication_reconnect_target_relationship", "--id", finance.id, "--force")
    clock.pass_time(3)
    status = finance.status()
    assert (status["target_cluster_name"], status["state"]) == ("prod", "ESTABLISHED")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root binds low ports")
def test_root_on_localhost_gets_nothing_for_its_low_port(world, tmp_path):
    dr = world.clusters["dr"]
    with serve(dr) as door:
        command = [
            str(QQ),
            "--host",
            "127.0.0.1",
            "--port",
            str(door.port),
            "replication_list_target_relationship_statuses",
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    if "Permission denied" in done.stderr:
        pytest.skip("this container may not bind low ports")
    assert "Error 401" in done.stderr
    assert [entry.status for entry in dr.log] == [401]
