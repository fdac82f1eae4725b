"""Clusters that do not answer, and what the others notice of them: nothing. Shown by what happens before what, over
real connections: the silent ones are let go only when the others are done.
"""

from __future__ import annotations

import selectors
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from dashboard.accounts.people import actor_of
from dashboard.database import database_now
from dashboard.failovers import asking, conduct, reading
from dashboard.failovers.lifecycle import State
from dashboard.failovers.sweep import Sweep
from dashboard.fleet import access, observe
from dashboard.fleet.models import Cluster, Observation, Relationship
from dashboard.simulator import scenarios
from dashboard.simulator.certificates import Authority
from dashboard.simulator.doors import serve
from tests.running.processes import eventually

HEALTHY = 6
SILENT = 10  # more than there are places for prompt work, fewer than for work that waits


class Silence(httpx.BaseTransport):
    """A real server that accepts connections and says nothing until it is over; and the way there without any
    deadline, so that an attempt that has begun does not return by itself."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._over, self._wake = socket.socketpair()
        self._address = f"https://127.0.0.1:{self._server.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as ready:
            for each in (self._server, self._over):
                ready.register(each, selectors.EVENT_READ)
            while all(key.fileobj is not self._over for key, _ in ready.select()):
                self.accepted.append(self._server.accept()[0])

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with httpx.HTTPTransport(verify=False, trust_env=False) as way:
            return way.handle_request(httpx.Request(request.method, self._address))

    def end(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        for each in (self._server, *self.accepted, self._over, self._wake):
            each.close()


@pytest.fixture
def silence() -> Iterator[Silence]:
    it = Silence()
    yield it
    access.forget_transports()


@pytest.fixture
def clusters(transactional_db: None) -> Iterator[list[Cluster]]:
    """Behind real doors, each with one relationship, and all of them read."""
    world = scenarios.crowd(clusters=HEALTHY + SILENT)
    for it in world.relationships.values():
        it.revert_takes = 0.0
    authority = Authority()
    with ExitStack() as stack:
        for sim in [each for each in world.clusters.values() if each.listens]:
            door = stack.enter_context(serve(sim, leaf=authority.issue(sim.name, "127.0.0.1")))
            made = Cluster.objects.create(
                name=sim.name,
                url=door.url,
                uuid=sim.uuid,
                trust_kind="ca",
                certificate=door.ca_pem.decode(),
                reader_token=access.seal("reader", sim.uuid, sim.reader_token),
                executor_token=access.seal("executor", sim.uuid, sim.executor_token),
            )
            observe.observe(made.pk)
        yield list(Cluster.objects.order_by("name"))


def test_the_others_are_sent_verified_and_read_before_the_first_attempt_on_a_silent_one_is_over(
    clusters, cast, silence
):
    dead, healthy = clusters[:SILENT], clusters[SILENT:]
    rows = list(Relationship.objects.select_related("cluster").order_by("cluster__name"))  # the silent ones come first
    asked = asking.request(
        user=cast.rivera,
        actor=actor_of(cast.rivera),
        relationships=rows,
        typed=reading.expected_typing(rows),
        reason="The first site lost its power.",
        ticket="",
        nonce=uuid.uuid4(),
    )
    conduct.approve(
        user=cast.osei, actor=actor_of(cast.osei), request_pk=asked.pk, digest=asked.digest, comment="Go.", auth=""
    )
    for cluster in dead:
        access.through(cluster.url, silence)
    began = database_now()
    Cluster.objects.update(next_read_at=began)

    sweep = Sweep(with_broker=False)

    def done() -> bool:
        sweep.once()
        sent = asked.failovers.filter(relationship__cluster__in=healthy)
        read = Cluster.objects.filter(pk__in=[each.pk for each in healthy], last_read_at__gte=began)
        return sent.filter(state=State.SUCCEEDED).count() == read.count() == HEALTHY

    eventually(done)
    silent = asked.failovers.filter(relationship__cluster__in=dead)
    assert len(silence.accepted) >= SILENT  # each was tried
    assert not Observation.objects.filter(relationship__cluster__in=dead).exists()  # and no attempt has come back
    assert not Cluster.objects.filter(pk__in=[each.pk for each in dead]).exclude(trouble="").exists()

    silence.end()
    sweep.close()
    assert Observation.objects.filter(relationship__cluster__in=dead, words__startswith="unreachable").exists()
    assert [each.state for each in silent] == [State.APPROVED] * SILENT
