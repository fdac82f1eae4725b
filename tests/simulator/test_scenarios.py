"""The named worlds show what they promise."""

from __future__ import annotations

import httpx
import pytest

from dashboard.simulator import ManualClock, State, World, scenarios, transport, wire

LIST = "/v2/replication/target-relationships/status/"


@pytest.fixture
def demo(clock: ManualClock) -> World:
    return scenarios.demo(clock)


def fail_over(world: World, path: str) -> dict[str, object]:
    it = world.relationship(path)
    cluster = it.target.cluster
    with httpx.Client(transport=transport(cluster), base_url="https://x") as client:
        client.headers["Authorization"] = f"Bearer {cluster.executor_token}"
        answer = client.post(f"/v2/replication/target-relationships/{it.id}/make-writable")
    assert answer.status_code == 200, answer.text
    status: dict[str, object] = answer.json()
    return status


def test_the_demo_has_every_state_and_the_clusters_of_the_story(demo):
    assert {it.status()["state"] for it in demo.relationships.values()} == set(State)
    assert len(demo.relationships) == 21
    listening = {name for name, cluster in demo.clusters.items() if cluster.listens}
    assert listening == {"dr-west", "dr-east", "dc2-archive", "edge-hub", "dc1-prod", "dc3-media"}
    only_names = {"branch-04", "branch-07", "branch-09", "branch-11", "branch-12", "branch-14", "lab-north"}
    assert demo.clusters.keys() - listening == only_names


def test_the_demo_has_a_stalled_a_failing_and_healthy_relationships(clock, demo):
    before = demo.relationship("/dr/dc1/finance").status()
    assert before["replication_job_status"]["percent_complete"] == pytest.approx(64)
    assert before["replication_job_status"]["throughput_current"] == "0"
    clock.pass_time(3600)
    assert demo.relationship("/dr/dc1/finance").status() == before | {
        "replication_job_status": demo.relationship("/dr/dc1/finance").status()["replication_job_status"]
    }
    for path in ("/hub/cctv-11", "/dr/dc1/engineering"):
        assert demo.relationship(path).status()["error_from_last_job"] != ""
    for path in ("/dr/dc3/projects", "/dr/dc3/reference", "/hub/pos-14", "/hub/cctv-12"):
        status = demo.relationship(path).status()
        assert (status["state"], status["error_from_last_job"]) == ("ESTABLISHED", "")
        age = clock() - demo.relationship(path).recovery_point
        assert age < 2 * 3600, "healthy ones keep replicating"


@pytest.mark.parametrize("name", ["dr-east", "dc1-prod"])
def test_two_clusters_of_the_demo_fall_silent_a_minute_after_their_first_list(clock, demo, name):
    cluster = demo.clusters[name]
    with httpx.Client(transport=transport(cluster), base_url="https://x", timeout=5) as client:
        client.headers["Authorization"] = f"Bearer {cluster.reader_token}"
        clock.pass_time(900)  # however long it takes until somebody registers it
        assert client.get("/v1/version").status_code == 200
        clock.pass_time(900)
        assert client.get(LIST).status_code == 200
        clock.pass_time(59)
        assert client.get(LIST).status_code == 200
        clock.pass_time(1)
        for _ in range(3):
            with pytest.raises(httpx.ConnectTimeout):
                client.get(LIST)


@pytest.mark.parametrize(
    ("path", "takes", "figures"),
    [("/dr/dc1/finance", 20, True), ("/dr/dc1/engineering", 35, False), ("/dr/dc3/projects", 45, True),
     ("/dr/dc3/reference", 25, True), ("/hub/cctv-11", 60, False)],
)  # fmt: skip
def test_a_failover_in_the_demo_takes_long_enough_to_be_seen(clock, demo, path, takes, figures):
    assert fail_over(demo, path)["state"] == "DISCONNECTING"
    clock.pass_time(takes - 1)
    status = demo.relationship(path).status()
    assert status["state"] == "DISCONNECTING"
    assert (status["replication_job_status"] is not None) == figures
    clock.pass_time(1)
    assert demo.relationship(path).status()["state"] == "DISCONNECTED"


def test_one_revert_of_the_demo_hangs_and_one_fails(clock, demo):
    fail_over(demo, "/vault/legal")
    fail_over(demo, "/hub/cctv-12")
    clock.pass_time(3600)
    assert demo.relationship("/vault/legal").status()["state"] == "DISCONNECTING"
    failed = demo.relationship("/hub/cctv-12")
    assert any("revert" in text for text in (failed.revert_error, failed.status()["error_from_last_job"]))
    assert failed.status()["state"] == "ESTABLISHED"


def test_the_reverting_relationship_of_the_demo_arrives(clock, demo):
    status = demo.relationship("/dr/dc1/home").status()
    assert status["state"] == "DISCONNECTING"
    assert status["replication_job_status"]["percent_complete"] == pytest.approx(72)
    clock.pass_time(5 * 60)
    assert demo.relationship("/dr/dc1/home").status()["state"] == "DISCONNECTED"


def test_the_objectives_of_the_demo_name_clusters_and_paths_that_exist(demo):
    for cluster, prefix, _ in scenarios.OBJECTIVES:
        here = demo.clusters[cluster].relationships.values()
        assert any(it.target.path.startswith(prefix) for it in here), (cluster, prefix)


def test_the_tags_of_the_demo_name_clusters_and_paths_that_exist(demo):
    for cluster, prefix, _ in scenarios.TAGS:
        here = demo.clusters[cluster].relationships.values()
        assert any(it.target.path.startswith(prefix) for it in here), (cluster, prefix)


def test_one_relationship_of_the_demo_ends_a_job_every_ninety_seconds(clock, demo):
    dailies = demo.relationship("/dr/dc3/dailies")
    points = set()
    for _ in range(60):
        clock.pass_time(10)
        points.add(dailies.status()["recovery_point"])
    assert len(points) == 7


def test_one_relationship_of_the_demo_is_ready_for_a_planned_failover_after_its_next_job(clock, demo):
    publish, seen = demo.relationship("/dr/dc3/publish"), clock()
    assert publish.status()["source_root_read_only"] is True
    clock.pass_time(60)
    status = publish.status()
    assert (status["job_state"], status["error_from_last_job"]) == ("REPLICATION_NOT_RUNNING", "")
    assert publish.recovery_point > seen + 2


def test_one_relationship_of_the_demo_is_in_the_trap_of_policy_snapshots(clock, demo):
    stills, seen = demo.relationship("/vault/stills"), clock()
    clock.pass_time(180)
    assert stills.source_status()["replication_mode"] == "REPLICATION_SNAPSHOT_POLICY"
    assert stills.recovery_point > seen
    assert stills.status()["recovery_point_snapshot"]["timestamp"] <= wire.timestamp(seen)
    clock.pass_time(7200)
    assert stills.recovery_point < seen + 180, "nothing else is ever replicated"


def test_the_large_world_has_as_many_as_asked_for_and_they_are_healthy(clock):
    world = scenarios.large(3, 40, clock)
    assert len(world.relationships) == 120
    assert sum(cluster.listens for cluster in world.clusters.values()) == 3
    clock.pass_time(86400)
    world.advance()
    ages = [clock() - it.recovery_point for it in world.relationships.values()]
    assert max(ages) < 2 * 900
    assert {it.error_from_last_job for it in world.relationships.values()} == {""}
