"""What only real connections show: answers without an end, answers that drip, and machines that are not the ones that
are trusted.
"""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dashboard.failovers import crashpoints
from dashboard.failovers.lifecycle import State
from dashboard.failovers.sweep import Sweep
from dashboard.fleet import access
from dashboard.fleet.models import Cluster, Trouble
from dashboard.simulator import ManualClock, scenarios, transport
from dashboard.simulator.certificates import Authority
from dashboard.simulator.doors import serve
from tests.fleet.lookout import register
from tests.hostile.scene import LIST, WRITABLE, Scene
from tests.qumulo.lab import Behaviour, Connection, Issued, Server, authority, issue, leaf, serving
from tests.running.processes import eventually

APPROVED = ["request.made", "request.approved"]
DOUBT = [*APPROVED, "failover.sent", "failover.doubt"]
MIB = 1024 * 1024
Strange = Callable[[Connection], None]


def front(scene: Scene, where: str, strange: Strange) -> Behaviour:
    """The simulated cluster on a real connection; requests for `where` are processed, and answered strangely."""
    inner = transport(scene.target)

    def behave(connection: Connection) -> None:
        while head := connection.request():
            method, path, *_ = head.split(b" ", 2)
            lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
            headers = dict(line.decode().split(": ", 1) for line in lines)
            answer = inner.handle_request(httpx.Request(method.decode(), f"https://dr{path.decode()}", headers=headers))
            if where in path.decode():
                return strange(connection)
            date = f"Date: {answer.headers['Date']}\r\n"
            connection.answer(raw=answer.read(), status=f"{answer.status_code} OK", headers=date)
        return None

    return behave


@contextmanager
def answering(scene: Scene, where: str, strange: Strange, **seconds: float) -> Iterator[Server]:
    with serving(front(scene, where, strange)) as server:
        scene.at(server.url)
        access.within(server.url, **seconds)
        yield server


def anywhere(scene: Scene, strange: Strange, trouble: Trouble, words: str, *, within: float = 20) -> None:
    """The list, the re-check, make-writable and the watch, one after the other. `within`: seconds that a strange answer
    is given, and that no honest one before it has to keep to."""
    patient = dict.fromkeys(("connect", "read", "list", "post"), 20.0)
    with answering(scene, LIST, strange, **patient | {"list": within}):
        scene.poll()
    found: dict[str, Any] = {"cluster.trouble": trouble, "row.kept": True}
    page = {"relationship": words if trouble != Trouble.UNREACHABLE else "/dr/finance", "list": "Established"}
    scene.shows(page=page, database=found, ledger=[], posts=0)

    scene.honest()
    scene.at("https://dr.example:8000")
    access.through("https://dr.example:8000", transport(scene.target))
    scene.poll()
    scene.approve()
    with answering(scene, scene.status, strange, **patient | {"read": within}):
        scene.step()
    found = {"failover.state": State.APPROVED, "failover.sent_at": None}
    scene.shows(page={"failover": ["dr gives no usable answer.", words]}, database=found, ledger=APPROVED, posts=0)

    with answering(scene, WRITABLE, strange, **patient | {"post": within}):
        scene.step()
    sent: dict[str, Any] = {"failover.state": State.SENT, "failover.doubtful": True}
    scene.shows(page={"failover": ["Outcome unknown.", words]}, database=sent, ledger=DOUBT, posts=1)

    scene.revert_ends()
    with answering(scene, scene.status, strange, **patient | {"read": within}):
        scene.step()
    sent["failover.first_writable_at"] = None
    scene.shows(page={"failover": "No usable answer since"}, database=sent, ledger=DOUBT, posts=1)


# ── H5: without an end ──


def endless(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while connection.pause(0):
        connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")


def bomb(connection: Connection) -> None:
    """Sixty-four megabytes in sixty-four kilobytes."""
    connection.answer(raw=zlib.compress(b" " * 64 * MIB, wbits=31), headers="Content-Encoding: gzip\r\n")


def dense(connection: Connection) -> None:
    """Small as text, and two hundred megabytes as objects."""
    connection.answer(raw=b"[" + b"{}," * (8 * MIB // 3 - 10) + b"{}]")


ENDLESS: dict[str, tuple[Strange, str]] = {
    "without an end": (endless, "The cluster's answer is too large."),
    "packed": (bomb, "The cluster's answer is compressed, which was not asked for."),
    "dense": (dense, "The cluster's answer cannot be read. It holds too many values."),
}


@pytest.mark.hostile("H5")
@pytest.mark.parametrize(("strange", "words"), ENDLESS.values(), ids=ENDLESS)
def test_no_answer_takes_more_memory_than_is_meant_for_one(scene, strange, words):
    zlib.crc32(b"")
    tracemalloc.start()
    try:
        anywhere(scene, strange, Trouble.NONSENSE, words)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100 * MIB  # this process holds what the server sends as well


@pytest.mark.hostile("H5")
def test_a_list_of_more_rows_than_an_answer_can_hold_is_not_gone_through(scene):
    scene.says(b"[" + b"0," * 40_000 + b"0]", path=LIST)
    scene.poll()
    words = "It lists more rows than there can be."
    found = {"cluster.trouble": Trouble.NONSENSE, "row.kept": True}
    scene.shows(page={"relationship": words}, database=found, ledger=[], posts=0)


# ── H6: drop by drop ──


def dripped_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while connection.pause(0.05):
        connection.send(b"X-Drop: y\r\n")


def dripped_body(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while connection.pause(0.05):
        connection.send(b" ")


def dripping_from_the_start(connection: Connection) -> None:
    connection.request()
    dripped_headers(connection)


@pytest.mark.hostile("H6")
@pytest.mark.parametrize("drip", [dripped_headers, dripped_body])
def test_an_answer_that_drips_is_given_up_at_its_deadline(scene, drip):
    """No single read ever takes long, so a limit for each of them would never end this."""
    anywhere(scene, drip, Trouble.UNREACHABLE, "No answer came within 0.8 s.", within=0.8)


@pytest.mark.hostile("H6")
@pytest.mark.django_db(transaction=True)
def test_one_cluster_that_drips_among_twenty_delays_none_of_the_others_and_no_failover(cast, settings):
    """Its first reading has not come to an end when each of the others has been read three times, and a failover of
    one of them is on its way."""
    settings.POLL_EVERY = timedelta(milliseconds=10)
    clock = ManualClock()
    world = scenarios.pair(clock)
    others = [world.add_cluster(f"dr-{number:02d}") for number in range(18)]
    for other in others:
        world.relate(world.clusters["prod"], f"/prod/{other.name}", other, f"/dr/{other.name}")
    with ExitStack() as stack:
        stack.callback(access.forget_transports)
        scene = Scene(cast, world)
        scene.desk.clock = clock
        for sim in others:
            register(sim)
        slow = register(world.add_cluster("dr-slow"))
        failover = scene.approve()

        access.forget_transports()
        for sim in [scene.target, *others]:
            door = stack.enter_context(serve(sim))
            Cluster.objects.filter(name=sim.name).update(url=door.url, certificate=door.ca_pem.decode())
        sweep = stack.enter_context(closing(Sweep(with_broker=False)))
        dripping = stack.enter_context(serving(dripping_from_the_start))
        Cluster.objects.filter(pk=slow.pk).update(url=dripping.url, certificate=authority().pem)
        access.within(dripping.url, read=10_000, list=10_000)  # no deadline may help the others

        def done() -> bool:
            sweep.once()
            failover.refresh_from_db()
            read = all(len(sim.received("GET", LIST)) >= 3 for sim in [scene.target, *others])
            return read and failover.state == State.REVERTING and bool(dripping.requests)

        eventually(done)
        slow.refresh_from_db()
        assert (dripping.connections, len(dripping.requests)) == (1, 1)
        assert (slow.last_read_at, slow.trouble) == (None, "")
        assert slow.last_try_at is not None
        scene.shows(
            page={"list": ["19 of 19 relationships", "dr-17"], "failover": "Reverting"},
            database={"failover.state": State.REVERTING, "cluster.trouble": "", "rows": 19},
            ledger=[*APPROVED, "failover.sent", "failover.reverting"],
            posts=1,
        )


# ── H7, H8: somewhere else, somebody else ──


@pytest.mark.hostile("H7")
def test_where_a_redirect_leads_nobody_is_called(scene):
    with serving(lambda connection: None) as elsewhere:

        def away(connection: Connection) -> None:
            connection.answer({}, status="308 Permanent Redirect", headers=f"Location: {elsewhere.url}/\r\n")

        words = "The cluster answered 308 with a redirect, which is never followed."
        anywhere(scene, away, Trouble.NONSENSE, words)
        assert elsewhere.connections == 0


def listen(connection: Connection) -> None:
    connection.request()


def impostors() -> dict[str, tuple[Issued, str]]:
    """What is shown, and what is said of it."""
    return {
        "another authority's": (issue("dr", by=issue("Other", authority=True)), "is not trusted"),
        "ended": (issue("dr", by=authority(), days=-1), "certificate has expired"),
        "another host's": (issue("dr", by=authority(), host="192.0.2.1"), "is not trusted"),
    }


@pytest.mark.hostile("H8")
@pytest.mark.parametrize("case", ["another authority's", "ended", "another host's"])
def test_a_machine_with_another_certificate_learns_nothing_and_is_sent_nothing(scene, case):
    shown, words = impostors()[case]
    scene.approve()
    with serving(listen, certificate=shown) as impostor:
        scene.at(impostor.url)
        scene.poll()
        scene.step()
        scene.shows(
            page={
                "list": ["dr shows another certificate than the one registered.", words, "No token was sent to it."],
                "failover": ["dr gives no usable answer.", words],
            },
            database={"cluster.trouble": Trouble.CERTIFICATE, "row.kept": True, "failover.state": State.APPROVED},
            ledger=APPROVED,
            posts=0,
        )
        assert impostor.connections == 2
        assert impostor.received == b""
    assert scene.cluster.certificate == authority().pem  # nothing is trusted again by itself


@pytest.mark.hostile("H8")
def test_a_pinned_certificate_that_was_renewed_is_not_taken_for_the_pinned_one(scene):
    Cluster.objects.update(trust_kind="pinned", certificate=leaf().pem)
    scene.send()
    renewed = issue("qumulo", by=authority())
    with serving(listen, certificate=renewed) as impostor:
        scene.at(impostor.url)
        scene.poll()
        scene.step()
        scene.shows(
            page={"list": "dr shows another certificate than the one registered.", "failover": "Reverting"},
            database={"cluster.trouble": Trouble.CERTIFICATE, "failover.state": State.REVERTING},
            ledger=[*APPROVED, "failover.sent", "failover.reverting"],
            posts=1,
        )
        assert impostor.received == b""


@pytest.mark.hostile("H8")
def test_a_certificate_that_changes_between_check_and_sending_lets_no_byte_of_make_writable_out(scene):
    """The kept connection is gone, and on the new one somebody else shows himself: that is proof that nothing left."""
    scene.approve()
    trusted = Authority().issue("dr", "127.0.0.1")
    with serve(scene.target, leaf=trusted) as door:
        scene.at(door.url)
        Cluster.objects.update(certificate=door.ca_pem.decode())

        def change(point: str) -> None:
            if point == "send.after_intent":
                door.show(Authority().issue("dr", "127.0.0.1"))

        crashpoints.listen(change)
        try:
            scene.step()
        finally:
            crashpoints.listen(None)
        ledger = [*APPROVED, "failover.sent", "failover.notsent"]
        found = {"failover.state": State.APPROVED, "failover.sent_at": None, "failover.attempts": 1}
        scene.shows(page={"failover": "About to start"}, database=found, ledger=ledger, posts=0)

        door.show(trusted)
        scene.step()
        scene.shows(
            page={"failover": "Reverting"},
            database={"failover.state": State.REVERTING, "failover.attempts": 2},
            ledger=[*ledger, "failover.sent", "failover.reverting"],
            posts=1,
        )
