"""A desk with one simulated pair of clusters behind the transport, and the verbs on it.

Time passes in two ways here: the world's own clock (`world.clock.pass_time`) moves jobs and reverts, and `pass_time`
moves the desk's record into the past, which is what waiting looks like to a database.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, F

from dashboard.accounts.models import Group, User
from dashboard.accounts.people import actor_of
from dashboard.database import database_now
from dashboard.failovers import asking, closing, conduct, execution, guards, reading
from dashboard.failovers.models import Decision, Failover, Heartbeat, Policy, Request, Review
from dashboard.fleet import observe
from dashboard.fleet.models import Cluster, Observation, Relationship
from dashboard.simulator import ManualClock, World, scenarios
from tests.fleet.lookout import register

REASON = "dc1-prod lost power in row C at 02:53."


class Desk:
    def __init__(self, cast: Any, world: World | None = None) -> None:
        self.cast = cast
        self.clock = ManualClock()
        self.world = world or scenarios.pair(self.clock)
        self.target = self.world.clusters["dr"]
        self.cluster = self.register("dr")
        self.read()
        self.sim = self.world.relationship("/dr/finance/")
        self.row = Relationship.objects.get(relationship_id=self.sim.id)

    def register(self, name: str) -> Cluster:
        return register(self.world.clusters[name])

    def read(self) -> None:
        """One reading of the whole cluster, as the sweep hands it out."""
        observe.observe(self.cluster.pk)

    # ── People ──

    def request(self, by: User | None = None, **changes: Any) -> Request:
        user = by or self.cast.rivera
        self.row.refresh_from_db()
        values: dict[str, Any] = {
            "typed": "/dr/finance",
            "reason": REASON,
            "ticket": "INC-20719",
            "nonce": uuid.uuid4(),
        }
        rows = changes.pop("relationships", [self.row])
        return asking.request(user=user, actor=actor_of(user), relationships=rows, **values | changes)

    def approve(self, asked: Request, by: User | None = None, **changes: Any) -> Request:
        user = by or self.cast.osei
        values: dict[str, Any] = {"digest": asked.digest, "comment": "Go.", "auth": "Signed in with a password"}
        return conduct.approve(user=user, actor=actor_of(user), request_pk=asked.pk, **values | changes)

    def reject(self, asked: Request, by: User | None = None) -> Request:
        user = by or self.cast.osei
        said = {"digest": asked.digest, "comment": "Not now.", "auth": "Signed in with a password"}
        return conduct.reject(user=user, actor=actor_of(user), request_pk=asked.pk, **said)

    def cancel(self, asked: Request, by: User | None = None) -> Request:
        user = by or self.cast.rivera
        return conduct.cancel(user=user, actor=actor_of(user), request_pk=asked.pk)

    def close(self, failover: Failover, by: User | None = None, **changes: Any) -> Failover:
        user = by or self.cast.osei
        values: dict[str, Any] = {"outcome": "not_applied"}
        return closing.close(user=user, actor=actor_of(user), failover_pk=failover.pk, **values | changes)

    # ── Drivers ──

    def approved(self) -> Failover:
        asked = self.request()
        self.approve(asked)
        return asked.failovers.get()

    def step(self, failover: Failover) -> Failover:
        """One turn of any driver, now."""
        Failover.objects.filter(pk=failover.pk).update(next_step_at=database_now())
        execution.execute(failover.pk)
        failover.refresh_from_db()
        return failover

    def sent(self, *faults: Any) -> Failover:
        """An approved failover after its one attempt, with these faults on the way."""
        failover = self.approved()
        for fault in faults:
            self.target.faults.add(fault)
        return self.step(failover)

    def see_it_through(self, failover: Failover) -> Failover:
        """The revert ends, and two agreeing readings find it."""
        self.clock.pass_time(60)
        self.step(failover)
        pass_time(3)
        return self.step(failover)

    @property
    def rows(self) -> list[Relationship]:
        """On `dr`, by path."""
        here = Relationship.objects.filter(cluster__name="dr").select_related("cluster")
        return list(here.order_by("target_root_path"))

    def ask_for(self, rows: list[Relationship], **changes: Any) -> Request:
        values = {"typed": reading.expected_typing(rows), "relationships": rows}
        return self.request(**values | changes)

    def posts_of(self, failover: Failover) -> int:
        sim = self.world.clusters[failover.relationship.cluster.name]
        return len(sim.make_writable_received(failover.relationship.relationship_id))

    @property
    def posts(self) -> int:
        """Make-writable requests that reached the cluster: what all of this is about."""
        return len(self.target.make_writable_received(self.sim.id))


def site(cast: Any, *, rows: int = 5) -> Desk:
    """A site that is down: prod replicated `rows` directories to `dr` (`desk.rows`), and one to `dr-b`."""
    clock = ManualClock()
    world = scenarios.pair(clock)
    prod, target = world.clusters["prod"], world.clusters["dr"]
    for number in range(rows - 1):
        world.relate(prod, f"/prod/{number:03d}", target, f"/dr/{number:03d}")
    world.relate(prod, "/prod/elsewhere", world.add_cluster("dr-b"), "/b/elsewhere")
    desk = Desk(cast, world)
    desk.clock = clock
    observe.observe(desk.register("dr-b").pk)
    return desk


def policy(name: str = "finance", *, shares: dict[str, int], **more: Any) -> Policy:
    """A policy as the shell makes one, for every cluster unless it says otherwise."""
    listed = [{"group": group, "count": count} for group, count in shares.items()]
    return Policy.objects.create(name=name, shares=listed, **more)


def group(name: str, *users: User) -> None:
    Group.objects.get_or_create(name=name)[0].members.add(*(user.person for user in users))


def pass_time(seconds: float) -> None:
    """Everything written so far happened `seconds` earlier. What a request says is frozen, so the guards step aside."""
    with guards_aside():
        for model in (Request, Decision, Review, Failover, Heartbeat, Observation, Cluster, Relationship):
            times = [f.name for f in model._meta.get_fields() if isinstance(f, DateTimeField)]
            model.objects.update(**{name: F(name) - timedelta(seconds=seconds) for name in times})


@contextmanager
def guards_aside() -> Iterator[None]:
    """As after somebody who owns the tables took the triggers away; they are back afterwards."""
    if connection.vendor == "postgresql":  # it alters no table while foreign keys wait to be checked
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    guards.drop(connection)
    yield
    guards.install(connection)
