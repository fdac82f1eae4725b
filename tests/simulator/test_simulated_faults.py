"""Every scripted fault behind both doors: what the client sees, apart from what the cluster did."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from dashboard.simulator import Cluster, ManualClock, World, faults, scenarios, serve, transport
from dashboard.simulator.faults import Fault, Sees

ONLY = "/make-writable"
Open = Callable[[Cluster], httpx.Client]


@pytest.fixture(params=["transport", "https"])
def open_door(request: pytest.FixtureRequest) -> Iterator[Open]:
    closing: list[Callable[[], None]] = []

    def open_it(cluster: Cluster) -> httpx.Client:
        if request.param == "transport":
            client = httpx.Client(transport=transport(cluster), base_url="https://dr", timeout=30)
        else:
            door = serve(cluster)
            closing.append(door.stop)
            trust = ssl.create_default_context(cadata=door.ca_pem.decode())
            client = httpx.Client(verify=trust, base_url=door.url, timeout=30, trust_env=False)
        client.headers["Authorization"] = f"Bearer {cluster.executor_token}"
        closing.append(client.close)
        return client

    yield open_it
    for close in reversed(closing):
        close()


def send(client: httpx.Client, world: World, timeout: float = 30) -> Any:
    """The answer, or the exception that came instead of one."""
    identity = next(iter(world.relationships))
    try:
        return client.post(f"/v2/replication/target-relationships/{identity}/make-writable", timeout=timeout)
    except httpx.TransportError as error:
        return error


LOST = httpx.RemoteProtocolError
RESET = (httpx.ReadError, httpx.RemoteProtocolError)  # the ssl module may call a reset an end of file


@pytest.mark.parametrize(
    ("make", "how", "sees", "applied"),
    [
        (faults.lost_request, {}, LOST, False),
        (faults.lost_answer, {}, LOST, True),
        (faults.late, {"seconds": 5}, LOST, False),
        (faults.late, {"seconds": 5, "sees": Sees.RESET}, RESET, False),
        (faults.late, {"seconds": 5, "sees": Sees.ERROR}, 503, False),
        (faults.slow_before, {"seconds": 0.05}, 200, True),
        (faults.slow_after, {"seconds": 0.05}, 200, True),
        (faults.reset, {}, RESET, True),
        (faults.reset, {"applied": False}, RESET, False),
        (faults.half_body, {}, LOST, True),
        (faults.half_body, {"applied": False}, LOST, False),
        (faults.not_http, {}, LOST, True),
        (faults.not_http, {"applied": False}, LOST, False),
        (faults.garbage, {}, 200, True),
        (faults.garbage, {"applied": False}, 200, False),
        (faults.wrong_id, {}, 200, True),
        (faults.error, {"status": 503}, 503, False),
        (faults.error, {"status": 500, "applied": True}, 500, True),
        (faults.html, {}, 502, False),
        (faults.html, {"status": 504, "applied": True}, 504, True),
        (faults.refusal, {}, 409, False),
        (faults.expired_token, {}, 401, False),
        (faults.redirect, {}, 307, False),
    ],
)
def test_what_the_client_sees_and_what_the_cluster_did(open_door, make, how, sees, applied):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(make(path=ONLY, **how))
    client = open_door(dr)
    result = send(client, world)
    if isinstance(sees, int):
        assert isinstance(result, httpx.Response), result
        assert result.status_code == sees
    else:
        assert isinstance(result, sees), result
    state = world.relationship("/dr/finance").status()["state"]
    assert state == ("DISCONNECTING" if applied else "ESTABLISHED")
    (entry,) = world.make_writable_received()
    assert (entry.applied_at is not None) == applied
    assert entry.user == "desk-executor"
    assert client.get("/v1/version").status_code == 200, "the next call meets no fault"


def test_a_late_request_is_applied_once_and_at_its_own_time(open_door):
    clock = ManualClock()
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    it = world.relationship("/dr/finance")
    dr.faults.add(faults.late(20, path=ONLY))
    began = clock()
    assert isinstance(send(open_door(dr), world), LOST)
    clock.pass_time(19)
    assert it.status()["state"] == "ESTABLISHED"
    (entry,) = world.make_writable_received()
    assert (entry.status, entry.applied_at) == (None, None)
    clock.pass_time(600)
    assert it.status()["state"] == "DISCONNECTED"
    (entry,) = world.make_writable_received()
    assert (entry.status, entry.applied_at, entry.at) == (200, began + 20, began)
    revert = it.status()["recovery_point_snapshot"]["timestamp"]
    from dashboard.simulator import wire

    assert revert == wire.timestamp(began + 23), "though nobody looked for ten minutes"


def test_a_late_request_that_comes_too_late_is_refused_by_the_cluster(open_door):
    clock = ManualClock()
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    client = open_door(dr)
    dr.faults.add(faults.late(20, path=ONLY))
    send(client, world)
    assert send(client, world).status_code == 200
    clock.pass_time(20)
    first, second = world.make_writable_received()
    assert (first.status, first.applied_at, second.status) == (409, None, 200)


@pytest.mark.parametrize("applied", [True, False])
def test_no_answer_ends_in_the_clients_own_patience(open_door, applied):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.no_answer(path=ONLY, applied=applied))
    assert isinstance(send(open_door(dr), world, timeout=0.3), httpx.ReadTimeout)
    assert (world.relationship("/dr/finance").status()["state"] == "DISCONNECTING") == applied


def test_a_wrong_id_is_the_honest_answer_for_another_relationship(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.wrong_id(path=ONLY))
    body = send(open_door(dr), world).json()
    assert body["id"] not in world.relationships
    assert body["state"] == "DISCONNECTING"


def test_bodies_of_failures_are_what_they_claim_to_be(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    client = open_door(dr)
    dr.faults.add(faults.refusal(409, "replication_busy_error", "The node is busy."))
    refused = client.get("/v1/version")
    assert (refused.json()["error_class"], refused.json()["description"]) == (
        "replication_busy_error",
        "The node is busy.",
    )
    dr.faults.add(faults.html())
    assert client.get("/v1/version").headers["content-type"] == "text/html"
    dr.faults.add(faults.redirect("https://192.0.2.9/x"))
    assert client.get("/v1/version").headers["location"] == "https://192.0.2.9/x"
    dr.faults.add(faults.answers(b'{"cluster_id": NaN}', status=200))
    assert client.get("/v1/node/state").text == '{"cluster_id": NaN}'
    dr.faults.add(faults.garbage())
    with pytest.raises(ValueError, match="Unterminated"):
        client.get("/v1/version").json()


def test_a_silent_node_answers_no_connection_and_logs_nothing(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.silent())
    client = open_door(dr)
    assert isinstance(send(client, world, timeout=0.3), httpx.ConnectTimeout)
    assert dr.log == []
    dr.faults.clear()
    assert send(client, world).status_code == 200


def test_a_node_that_falls_silent_leaves_open_connections_without_an_answer(open_door):
    """Over the transport each request is a connection of its own, so there it is the connection that hangs."""
    world = scenarios.pair()
    dr = world.clusters["dr"]
    client = open_door(dr)
    assert client.get("/v1/version").status_code == 200
    dr.faults.add(faults.silent())
    assert isinstance(send(client, world, timeout=0.3), httpx.ReadTimeout | httpx.ConnectTimeout)
    assert world.relationship("/dr/finance").status()["state"] == "ESTABLISHED"


def test_a_node_refuses_connections_as_often_as_told(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.refused(count=3))
    client = open_door(dr)
    assert [type(send(client, world)) for _ in range(3)] == [httpx.ConnectError] * 3
    assert dr.log == []
    assert send(client, world).status_code == 200


def test_a_fault_strikes_only_where_it_is_aimed_and_as_often_as_told(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.error(500, method="GET", path="/v1/version", skip=1, count=2))
    client = open_door(dr)
    assert client.get("/v1/node/state").status_code == 200
    assert client.post("/v1/version").status_code == 405
    assert [client.get("/v1/version").status_code for _ in range(4)] == [200, 500, 500, 200]


def test_a_fault_can_last_and_can_begin_after_a_while(open_door):
    clock = ManualClock()
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    dr.faults.add(faults.error(503, count=None, grace=60))
    client = open_door(dr)
    clock.pass_time(3600)  # the while begins with the first request
    assert client.get("/v1/version").status_code == 200
    clock.pass_time(59)
    assert client.get("/v1/version").status_code == 200
    clock.pass_time(1)
    assert [client.get("/v1/version").status_code for _ in range(3)] == [503] * 3


def test_a_flapping_node_comes_and_goes_with_the_clock(open_door):
    clock = ManualClock()
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    dr.faults.add(faults.flapping(up=5, down=10))
    seen = []
    for _ in range(6):
        result = send(open_door(dr), world)
        seen.append(isinstance(result, httpx.Response))
        clock.pass_time(5)
    assert seen == [True, False, False, True, False, False]


def test_the_first_fault_that_strikes_wins(open_door):
    world = scenarios.pair()
    dr = world.clusters["dr"]
    dr.faults.add(faults.error(500))
    dr.faults.add(faults.error(501))
    client = open_door(dr)
    assert [client.get("/v1/version").status_code for _ in range(3)] == [500, 501, 200]


def test_waiting_passes_on_a_manual_clock_and_ends_with_the_clients_patience():
    """Only the transport can do that: a thousand seconds pass without anybody sleeping."""
    clock = ManualClock()
    world = scenarios.pair(clock)
    dr = world.clusters["dr"]
    it = world.relationship("/dr/finance")
    with httpx.Client(transport=transport(dr), base_url="https://dr", timeout=40) as client:
        client.headers["Authorization"] = f"Bearer {dr.executor_token}"
        began = clock()
        dr.faults.add(faults.slow_before(100, path=ONLY))
        assert isinstance(send(client, world, timeout=40), httpx.ReadTimeout)
        assert clock() == began + 40
        assert it.status()["state"] == "ESTABLISHED", "it is still waiting to be processed"
        clock.pass_time(60)
        assert it.status()["state"] == "DISCONNECTING"
        (entry,) = world.make_writable_received()
        assert entry.applied_at == began + 100

        dr.faults.add(faults.slow_after(30, path="/v1/version"))
        assert client.get("/v1/version").status_code == 200
        assert clock() == began + 130


def test_a_maker_exists_for_each_name_that_another_process_may_ask_for():
    for name, make in faults.MAKERS.items():
        fault = make(1.0) if name in ("late", "slow_before", "slow_after") else make()
        assert isinstance(fault, Fault), name
