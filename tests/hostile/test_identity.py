"""What an answer is about: names and ids that change hands, bend addresses, or are no longer there."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import Concern, State
from dashboard.fleet import access, observe, registry
from dashboard.fleet.admission import Refused
from dashboard.fleet.models import Cluster, Event, Relationship
from dashboard.simulator import faults, transport
from tests.failovers.desk import pass_time
from tests.fleet.lookout import register
from tests.hostile.scene import LIST, WRITABLE, Scene
from tests.qumulo.lab import authority

APPROVED = ["request.made", "request.approved"]
REVERTING = [*APPROVED, "failover.sent", "failover.reverting"]
STRANGER = "33333333-0000-4000-8000-000000000000"

# ── H11 to H14: names and ids ──


@pytest.mark.hostile("H11")
def test_a_cluster_that_was_renamed_is_the_same_and_the_plan_keeps_what_it_said(scene):
    failover = scene.approve()
    plan = failover.request.plan
    scene.target.rename("dr-new")
    pass_time(61)
    scene.poll()
    failover.request.refresh_from_db()
    assert failover.request.plan == plan
    assert '"target_cluster":"dr"' in plan
    assert scene.target.uuid in plan
    assert "dr calls itself dr-new now, dr before." in Entry.objects.get(tag="cluster.changed").payload
    scene.shows(
        page={"clusters": "dr-new", "failover": "Making /dr/finance on dr writable"},
        database={"cluster.trouble": "", "cluster.name": "dr", "cluster.reported_name": "dr-new"},
        ledger=[*APPROVED, "cluster.changed"],
        posts=0,
    )
    scene.step()
    scene.shows(
        page={"failover": "Reverting"},
        database={"failover.state": State.REVERTING},
        ledger=[*APPROVED, "cluster.changed", "failover.sent", "failover.reverting"],
        posts=1,
    )


@pytest.mark.hostile("H12")
def test_a_cluster_cannot_be_registered_a_second_time(scene):
    access.through("https://alias.example:8000", transport(scene.target))
    with pytest.raises(Refused, match="This cluster is registered already, as dr; no token was sent"):
        registry.add(
            "alias",
            "https://alias.example:8000",
            actor=chain.cli(),
            reader_token=scene.target.reader_token,
            ca=authority().pem,
        )
    assert [each.bearer for each in scene.target.log[-3:]] == [False] * 3
    page = {"list": "1 of 1 relationships"}
    scene.shows(page=page, database={"rows": 1, "cluster.trouble": ""}, ledger=[], posts=0)
    assert Cluster.objects.count() == 1


@pytest.mark.hostile("H13")
def test_one_id_on_two_clusters_is_two_relationships_and_a_failover_of_one_leaves_the_other_alone(scene):
    east = scene.desk.world.add_cluster("dr-east")
    twin = scene.desk.world.relate(scene.desk.world.clusters["prod"], "/prod/finance", east, "/dr/finance")
    for place in (east.relationships, scene.desk.world.clusters["prod"].relationships):
        place.pop(twin.id)
    twin.id = scene.sim.id
    east.relationships[twin.id] = twin
    registered = register(east)
    observe.observe(registered.pk)
    scene.failover = scene.desk.request(typed="dr:/dr/finance").failovers.get()
    scene.desk.approve(scene.failover.request)
    scene.step()
    scene.revert_ends()
    observe.observe(registered.pk)
    scene.step(times=2)
    other = Relationship.objects.get(cluster=registered)
    assert (other.state, other.target_root_read_only, other.held_by) == ("ESTABLISHED", True, "")
    assert [each.path for each in east.log if each.method == "POST"] == []
    scene.shows(
        page={"failover": "The target is writable.", "list": ["dr-east", "Established", "Both sides writable"]},
        database={"failover.state": State.SUCCEEDED, "rows": 2},
        ledger=[*REVERTING, "failover.disconnected", "failover.succeeded"],
        posts=1,
    )


ANOTHER = {
    "source cluster": {"source_cluster_uuid": STRANGER},
    "target directory": {"target_root_id": "77"},
    "target path": {"target_root_path": "/dr/payroll/"},
    "source path": {"source_root_path": "/prod/payroll/"},
}


@pytest.mark.hostile("H14")
@pytest.mark.parametrize("change", ANOTHER.values(), ids=ANOTHER)
@pytest.mark.parametrize("listed", [True, False], ids=["listed first", "found by the sender"])
def test_an_id_that_is_used_again_stops_what_was_approved_for_the_one_before(scene, change, listed):
    old = scene.approve().relationship_id
    scene.row_says(**change)
    if listed:
        scene.poll()
    scene.step()
    scene.shows(
        page={"failover": ["Stopped before sending.", "changed after the request. Nothing was sent."]},
        database={"failover.state": State.STOPPED, "failover.relationship_id": old},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )
    if listed and "path" not in next(iter(change)):
        new = Relationship.objects.exclude(pk=old).get()
        assert (new.held_by, new.failed_over_at, new.gone_at) == ("", None, None)
        assert scene.row.gone_at is not None
        assert Event.objects.filter(detail="Its id belongs to another relationship now").exists()


@pytest.mark.hostile("H14")
@pytest.mark.parametrize("change", ANOTHER.values(), ids=ANOTHER)
def test_an_id_that_is_used_again_calls_a_person_to_what_is_under_way(scene, change):
    scene.send()
    scene.revert_ends()
    scene.row_says(**change)
    scene.poll()
    scene.step(times=3)
    scene.shows(
        page={"failover": ["A person must look.", "no longer the one that was approved"]},
        database={"failover.state": State.REVERTING, "failover.concern": Concern.IDENTITY},
        ledger=REVERTING,
        posts=1,
    )


# ── H15, H16: ids that are none, relationships that are not there ──

BENT = ["../../../v1/users/1", "a?b=c", "a%2fb", "a b", "a" * 10_000, "x" * 65, "", 7, None, "é", "a\nb", "{}"]


@pytest.mark.hostile("H15")
@pytest.mark.parametrize("identifier", BENT, ids=lambda value: str(value)[:12])
def test_an_id_that_would_bend_an_address_is_put_into_none(scene, identifier):
    scene.says(
        [scene.sim.status(), scene.sim.status() | {"id": identifier, "target_root_path": "/dr/bent/"}], path=LIST
    )
    scene.poll()
    scene.shows(
        page={"list": ["dr lists a relationship that cannot be read.", "A row without a usable id"]},
        database={"cluster.trouble": "", "rows": 1, "row.kept": True, "row.unreadable": ""},
        ledger=[],
        posts=0,
    )
    assert {each.path for each in scene.target.log} <= {
        *("/v1/node/state", "/v1/version", "/v1/cluster/settings"),
        *("/v2/replication/target-relationships/status/", "/v2/replication/source-relationships/status/"),
    }


@pytest.mark.hostile("H15")
def test_an_id_that_bends_addresses_in_answer_to_make_writable_is_doubt(scene):
    scene.approve()
    scene.says(scene.sim.status() | {"id": "../../x"}, path=WRITABLE)
    scene.step()
    scene.shows(
        page={"failover": "Outcome unknown."},
        database={"failover.state": State.SENT, "failover.doubtful": True},
        ledger=[*APPROVED, "failover.sent", "failover.doubt"],
        posts=1,
    )


@pytest.mark.hostile("H16")
def test_one_absence_is_nothing_and_three_in_a_row_are_the_end_of_its_listing(scene):
    scene.says([], path=LIST)
    for misses in (1, 2):
        scene.poll()
        found = {"row.misses": misses, "row.gone_at": None, "row.grade": "normal", "row.kept": True}
        scene.shows(page={"list": "Established"}, database=found, ledger=[], posts=0)
    scene.poll()
    assert scene.row.gone_at is not None
    scene.shows(
        page={"list": "No longer listed", "relationship": "dr does not list it any more", "dialog": "does not list"},
        database={"row.grade": "unknown", "row.kept": True, "cluster.trouble": ""},
        ledger=[],
        posts=0,
    )


def vanish(scene: Scene) -> None:
    gone = faults.refusal(404, "http_not_found_error", "No such relationship.", path=scene.sim.id, count=None)
    scene.fails(gone)
    scene.says([], path=LIST)


@pytest.mark.hostile("H16")
def test_a_relationship_that_is_not_there_is_not_made_writable(scene):
    scene.approve()
    vanish(scene)
    scene.step()
    scene.shows(
        page={"failover": "dr no longer knows the relationship. Nothing was sent."},
        database={"failover.state": State.STOPPED},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )


@pytest.mark.hostile("H16")
def test_a_relationship_that_vanishes_under_way_calls_a_person_after_a_while_and_counts_again_when_it_is_back(scene):
    scene.send()
    vanish(scene)
    scene.step()
    watched: dict[str, Any] = {"failover.state": State.REVERTING, "failover.concern": None}
    scene.shows(page={"failover": "Reverting"}, database=watched, ledger=REVERTING, posts=1)
    for _ in range(3):
        scene.poll()
    pass_time(31)
    scene.step()
    watched["failover.concern"] = Concern.VANISHED
    page = {"failover": ["A person must look.", "The cluster no longer knows the relationship."]}
    scene.shows(page=page, database=watched, ledger=REVERTING, posts=1)
    scene.honest()
    scene.revert_ends()
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED},
        ledger=[*REVERTING, "failover.disconnected", "failover.succeeded"],
        posts=1,
    )
