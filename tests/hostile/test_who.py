"""Who answers: refused sign-ins, and other clusters behind an address."""

from __future__ import annotations

import httpx
import pytest

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import execution
from dashboard.failovers.lifecycle import STARTED, Concern, State
from dashboard.failovers.models import Failover
from dashboard.fleet import observe, registry
from dashboard.fleet.admission import Refused
from dashboard.fleet.models import Trouble
from dashboard.simulator import Cluster as Simulated
from dashboard.simulator import faults
from tests.failovers.desk import pass_time
from tests.hostile.scene import NODE, WRITABLE, Scene

APPROVED = ["request.made", "request.approved"]
REVERTING = [*APPROVED, "failover.sent", "failover.reverting"]
STRANGER = "33333333-0000-4000-8000-000000000000"

# ── H9: the sign-in is refused ──

REFUSED = {
    401: faults.expired_token,
    403: lambda **where: faults.refusal(403, "http_forbidden_error", "Lacks it.", **where),
}


def tries(scene: Scene, name: str) -> int:
    """How often this account came to the door for something that needs its token."""
    needs = ("relationships/", "who-am-i")
    return sum(each.user == name and any(part in each.path for part in needs) for each in scene.target.log)


def a_pass() -> None:
    """As the sweep makes it: whatever is due is done."""
    now = database_now()
    for pk in Failover.objects.filter(next_step_at__lte=now, state__in=STARTED).values_list("pk", flat=True):
        execution.execute(pk)
    for pk in observe.due_clusters(now):
        observe.observe(pk)
    for pk in observe.executors_due(now):
        observe.check_executor(pk)


def tries_in_a_minute(scene: Scene, name: str) -> int:
    """A little less than a minute: eleven passes, five seconds from one to the next, however long it takes itself."""
    before = tries(scene, name)
    for _ in range(11):
        began = database_now()
        a_pass()
        pass_time(5 - (database_now() - began).total_seconds())
    return tries(scene, name) - before


@pytest.mark.hostile("H9")
@pytest.mark.parametrize("status", REFUSED)
def test_a_reader_that_is_refused_tries_once_a_minute_whoever_asks(scene, status):
    scene.sim.revert_takes = 600
    scene.send()
    scene.fails(REFUSED[status](path="relationships", count=None))
    before = tries(scene, "desk-reader")
    for _ in range(3):  # the watch finds out first, again and again, and the list is due as well
        scene.step()
        observe.read_now(scene.cluster, database_now())
    assert tries(scene, "desk-reader") == before + 1
    assert tries_in_a_minute(scene, "desk-reader") == 0
    assert tries_in_a_minute(scene, "desk-reader") == 1
    scene.shows(
        page={
            "list": "dr refuses the sign-in of this dashboard.",
            "relationship": f"The cluster answered {status}",
            "failover": "Reverting",
        },
        database={"cluster.trouble": Trouble.SIGN_IN, "failover.state": State.REVERTING, "failover.concern": None},
        ledger=REVERTING,
        posts=1,
    )
    scene.honest()
    assert tries_in_a_minute(scene, "desk-reader") > 1
    scene.desk.clock.pass_time(600)
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"cluster.trouble": "", "failover.state": State.SUCCEEDED},
        ledger=[*REVERTING, "failover.disconnected", "failover.succeeded"],
        posts=1,
    )


@pytest.mark.hostile("H9")
@pytest.mark.parametrize("status", REFUSED)
def test_an_executor_that_is_refused_tries_once_a_minute_however_many_wait(scene, status):
    for number in range(3):
        scene.desk.world.relate(scene.desk.world.clusters["prod"], f"/p/{number}", scene.target, f"/dr/{number}")
    scene.poll()
    a_pass()  # the token is checked, and good
    asked = scene.desk.ask_for(scene.desk.rows)
    scene.desk.approve(asked)

    def refuse(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if scene.target.executor_token not in request.headers.get("Authorization", "") or NODE in request.url.path:
            return response
        return httpx.Response(status, json={"error_class": "http_sign_in_error", "description": "Not with this one."})

    scene.through(refuse)
    assert tries_in_a_minute(scene, "desk-executor") == 1
    assert tries_in_a_minute(scene, "desk-executor") == 1
    assert set(asked.failovers.values_list("state", flat=True)) == {State.APPROVED}
    scene.shows(
        page={"list": "dr refuses the executor token: no failover to it can start."},
        database={"cluster.trouble": "", "row.held_phase": "running"},
        ledger=["request.made", *["request.approved"] * 4],
        posts=0,
    )


@pytest.mark.hostile("H9")
@pytest.mark.parametrize("status", REFUSED)
def test_a_make_writable_that_is_refused_for_its_token_is_not_sent_again(scene, status):
    scene.approve()
    scene.fails(REFUSED[status](path=WRITABLE, count=None))
    scene.step(times=3)
    scene.shows(
        page={"failover": [f"It answered {status}", "Nothing was changed."]},
        database={"failover.state": State.REFUSED, "failover.attempts": 1},
        ledger=[*APPROVED, "failover.sent", "failover.refused"],
        posts=1,
    )


# ── H10: another cluster behind the address ──


def stranger(scene: Scene) -> Simulated:
    """The address leads to another machine now; it lists the same relationships."""
    other = scene.desk.world.add_cluster("impostor")
    other.relationships = scene.target.relationships
    scene.target.stand_in = other
    return other


LATCHED = ["Another cluster has answered for dr.", "manage.py cluster change"]


@pytest.mark.hostile("H10")
@pytest.mark.parametrize("seen_by", ["the list", "the sender"])
def test_another_cluster_behind_the_address_stops_what_was_approved_and_stays_disbelieved(scene, seen_by):
    scene.approve()
    other = stranger(scene)
    read_at = scene.cluster.last_read_at
    if seen_by == "the list":
        scene.poll()
        scene.honest()  # the address is turned back before the sender comes
    scene.step()
    stopped = {"failover.state": State.STOPPED, "failover.sent_at": None}
    ledger = [*APPROVED, "failover.stopped"]
    scene.shows(
        page={"failover": ["Stopped before sending.", "Nothing was sent."], "list": LATCHED},
        database={"cluster.trouble": Trouble.IDENTITY, "row.kept": True, "cluster.last_read_at": read_at} | stopped,
        ledger=ledger,
        posts=0,
    )

    assert other.log
    assert not any(each.bearer for each in other.log)  # it was asked who it is, and was given no token
    # Neither the right answer nor silence ends it; somebody has to register the cluster again.
    scene.honest()
    scene.poll()
    scene.fails(faults.refused())
    scene.poll()
    scene.honest()
    scene.poll()
    scene.shows(
        page={"list": [*LATCHED, "dr answers at its address again, after another cluster did."]},
        database={"cluster.trouble": Trouble.IDENTITY, "cluster.last_read_at": read_at},
        ledger=ledger,
        posts=0,
    )
    registry.change("dr", url=scene.cluster.url, actor=chain.cli())
    scene.poll()
    scene.shows(
        page={"list": "Established"},
        database={"cluster.trouble": "", "cluster.trouble_words": "", "row.grade": "normal"},
        ledger=[*ledger, "cluster.changed"],
        posts=0,
    )
    assert "it is believed again" in Entry.objects.get(tag="cluster.changed").payload


@pytest.mark.hostile("H10")
def test_a_cluster_that_is_disbelieved_is_not_asked_for_a_failover_and_not_registered_by_another(scene):
    stranger(scene)
    scene.poll()
    with pytest.raises(Refused, match="answers another cluster"):
        registry.change("dr", url=scene.cluster.url, actor=chain.cli())
    page = {"dialog": "dr is another cluster than the one registered."}
    scene.shows(page=page, database={"cluster.trouble": Trouble.IDENTITY}, ledger=[], posts=0)


@pytest.mark.hostile("H10")
@pytest.mark.parametrize("seen_by", ["the list", "the watch"])
def test_another_cluster_behind_the_address_calls_a_person_to_what_is_under_way(scene, seen_by):
    scene.send()
    scene.revert_ends()
    stranger(scene)
    if seen_by == "the list":
        scene.poll()
        scene.honest()
    scene.step()
    calls = {"failover.state": State.REVERTING, "failover.concern": Concern.IDENTITY}
    page = {"failover": ["A person must look.", "no longer the one that was approved"], "list": LATCHED}
    scene.shows(page=page, database=calls, ledger=REVERTING, posts=1)

    scene.honest()
    asked = scene.requests
    scene.step(times=3)  # the right one again, and nobody has said so
    assert scene.requests == asked
    scene.shows(page={"failover": "A person must look."}, database=calls, ledger=REVERTING, posts=1)

    registry.change("dr", url=scene.cluster.url, actor=chain.cli())
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"cluster.trouble": "", "failover.state": State.SUCCEEDED},
        ledger=[*REVERTING, "cluster.changed", "failover.disconnected", "failover.succeeded"],
        posts=1,
    )


@pytest.mark.hostile("H10")
def test_a_row_of_another_target_cluster_is_another_cluster_that_speaks(scene):
    scene.approve()
    scene.row_says(target_cluster_uuid=STRANGER, state="DISCONNECTED", target_root_read_only=False)
    scene.poll()
    found = {"cluster.trouble": Trouble.IDENTITY, "row.kept": True}
    scene.shows(page={"list": LATCHED}, database=found, ledger=APPROVED, posts=0)
    scene.honest()
    scene.step()
    scene.shows(
        page={"failover": "Another cluster has answered at the address of dr. Nothing was sent."},
        database={"failover.state": State.STOPPED},
        ledger=[*APPROVED, "failover.stopped"],
        posts=0,
    )
