"""One simulated pair of clusters behind the transport, its target registered and read. What a hostile cluster would say
is put into its mouth word by word; what time would do to the record is done by moving the record into the past.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from django.db.models import DateTimeField, F

from dashboard.fleet import access, observe
from dashboard.fleet.models import Cluster, Event, Observation, RecoveryPoint, Relationship
from dashboard.simulator import Cluster as Simulated
from dashboard.simulator import ManualClock, World, faults, scenarios, transport

LIST = "/target-relationships/status/"
Edit = Callable[[dict[str, Any]], dict[str, Any] | None]


class Lookout:
    def __init__(self, world: World | None = None, name: str = "dr") -> None:
        self.clock = ManualClock()
        self.world = world or scenarios.pair(self.clock)
        self.target = self.world.clusters[name]
        self.cluster = register(self.target)
        self.sim = next(iter(self.target.relationships.values()))

    # ── Reading ──

    def read(self) -> Cluster:
        observe.observe(self.cluster.pk)
        self.cluster.refresh_from_db()
        return self.cluster

    @property
    def row(self) -> Relationship:
        return Relationship.objects.get(relationship_id=self.sim.id)

    def events(self, *kinds: str) -> list[str]:
        """Their words, oldest first."""
        found = Event.objects.filter(kind__in=kinds) if kinds else Event.objects.all()
        return [each.words for each in found.order_by("pk")]

    # ── What the cluster says ──

    def says(self, body: Any, *, path: str = LIST, **how: Any) -> None:
        """The next answer to this path has exactly this body."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.target.faults.add(faults.answers(raw, path=path, **how))

    def row_says(self, **fields: Any) -> None:
        """The next list is as it really is, with these fields changed in the first row; `...` takes one away."""
        rows = self.rows()
        for name, value in fields.items():
            if value is ...:
                del rows[0][name]
            else:
                rows[0][name] = value
        self.says(rows)

    def rows(self) -> list[dict[str, Any]]:
        return [each.status() for each in self.target.relationships.values() if each.target.cluster is self.target]

    def fails(self, fault: faults.Fault) -> None:
        self.target.faults.add(fault)

    def during(self, act: Callable[[], object]) -> None:
        """Do this while each request of the reader is on its way."""

        def answer(request: httpx.Request) -> httpx.Response:
            act()
            return transport(self.target).handle_request(request)

        access.through(self.cluster.url, httpx.MockTransport(answer))

    def by_hand(self, verb: str) -> None:
        """Somebody does it on the cluster itself, past the desk."""
        path = f"/v2/replication/target-relationships/{self.sim.id}/{verb}"
        headers = {"Authorization": f"Bearer {self.target.executor_token}"}
        with httpx.Client(transport=transport(self.target), base_url="https://cluster", headers=headers) as client:
            assert client.post(path).status_code == 200


def register(sim: Simulated, *, executor: bool = True) -> Cluster:
    url = f"https://{sim.name}.example:8000"
    access.through(url, transport(sim))
    return Cluster.objects.create(
        name=sim.name,
        url=url,
        uuid=sim.uuid,
        reported_name=sim.name,
        core_version=sim.version,
        trust_kind="ca",
        certificate="",
        reader_token=access.seal("reader", sim.uuid, sim.reader_token),
        executor_token=access.seal("executor", sim.uuid, sim.executor_token) if executor else "",
    )


def pass_time(seconds: float) -> None:
    """Everything written so far happened `seconds` earlier."""
    for model in (Cluster, Relationship, Event, RecoveryPoint, Observation):
        times = [each.name for each in model._meta.get_fields() if isinstance(each, DateTimeField)]
        model.objects.update(**{name: F(name) - timedelta(seconds=seconds) for name in times})


def columns(row: Relationship) -> dict[str, Any]:
    """Everything that is stored of a row."""
    return {each.attname: getattr(row, each.attname) for each in Relationship._meta.concrete_fields}
