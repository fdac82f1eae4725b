"""The way to the clusters, and a book of what went over it. The book is what the invariants believe; the desk's own
record is what they judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from dashboard.simulator import Cluster, Received, Relationship, faults, transport
from tests.model import drivers
from tests.model.clock import OneClock
from tests.model.drivers import Driver

# What may become of a make-writable, and of any request. The latest that the model lets one arrive is 40 s after it
# left: TCP_USER_TIMEOUT and what a cluster takes to act on what it has received.
FATES: dict[str, Callable[..., faults.Fault] | None] = {
    "answered": None,
    "lost": faults.lost_request,
    "answer lost": faults.lost_answer,
    "5 s late": lambda **where: faults.late(5, **where),
    "35 s late": lambda **where: faults.late(35, **where),
    "40 s late": lambda **where: faults.late(40, sees=faults.Sees.RESET, **where),
    "slow": lambda **where: faults.slow_before(30, **where),
    "too slow": lambda **where: faults.slow_after(60, **where),
    "refused": faults.refusal,
    "failed": faults.error,
    "failed, and done": lambda **where: faults.error(applied=True, **where),
    "answered by another": faults.html,
    "half an answer": faults.half_body,
    "about another": faults.wrong_id,
}


@dataclass(frozen=True, slots=True)
class Post:
    """A make-writable that reached a cluster. `entry`: the line in that cluster's own journal."""

    driver: Driver
    failover: int
    boottime: float
    cluster: Cluster
    relationship: Relationship | None
    entry: Received

    @property
    def processed(self) -> bool:
        return self.entry.applied_at is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """A status that a driver was given."""

    failover: int
    boottime: float
    cluster: Cluster
    relationship: Relationship | None
    state: str
    read_only: bool
    recovery_point: float | None

    @property
    def writable(self) -> bool:
        return self.state == "DISCONNECTED" and not self.read_only


class Way(httpx.BaseTransport):
    """To the address of one cluster. `answers`: the cluster behind that address now. One driver's connection goes to
    the one that answered when it was opened, for as long as it lasts."""

    def __init__(self, clock: OneClock, cluster: Cluster) -> None:
        self.clock, self.cluster, self.answers = clock, cluster, cluster
        self.fate = "answered"  # of the next make-writable
        self.posts: list[Post] = []
        self.seen: list[Seen] = []
        self.on_post: Callable[[Post], None] = lambda post: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        driver, path = drivers.current(), request.url.path
        if driver is None:
            return transport(self.answers).handle_request(request)
        if driver.cluster is None or path == "/v1/node/state":
            driver.cluster = self.answers
        if path == "/v1/node/state":
            answer = transport(driver.cluster).handle_request(request)
            driver.stand_still("between node and status")
            return answer
        if request.method == "POST":
            return self._post(driver, request)
        answer = transport(driver.cluster).handle_request(request)
        self._note(driver, answer)
        return answer

    def _post(self, driver: Driver, request: httpx.Request) -> httpx.Response:
        cluster, key = driver.cluster, request.url.path.split("/")[-2]
        relationship, at = cluster.relationships.get(key), self.clock.boottime
        maker, fate = FATES[self.fate], None
        if maker is not None:
            fate = cluster.faults.add(maker(method="POST", path="/make-writable"))
        before = len(cluster.make_writable_received())
        try:
            return transport(cluster).handle_request(request)
        finally:
            if fate is not None:
                fate.count = 0  # it was for this one
            for entry in cluster.make_writable_received()[before:]:
                post = Post(driver, driver.about, at, cluster, relationship, entry)
                self.posts.append(post)
                self.on_post(post)
            driver.stand_still("answered")

    def _note(self, driver: Driver, answer: httpx.Response) -> None:
        try:
            found: Any = answer.json() if answer.status_code == httpx.codes.OK else {}
        except ValueError:
            return
        if not isinstance(found, dict) or "target_root_read_only" not in found:
            return
        relationship = driver.cluster.relationships.get(found["id"])
        driver.read = Seen(
            failover=driver.about,
            boottime=self.clock.boottime,
            cluster=driver.cluster,
            relationship=relationship,
            state=found["state"],
            read_only=found["target_root_read_only"],
            recovery_point=relationship.recovery_point if relationship else None,
        )
        self.seen.append(driver.read)
