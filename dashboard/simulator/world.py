"""A world of simulated clusters that share relationships and one clock.

Guarantee: what a client can see is a function of the clock, of the seed and of the requests so far. There are
no threads and no timers in here; everything due is played, in order and each thing at its own moment, when
somebody looks. So a manual clock makes hours pass in a test, and a process may sleep without falling behind.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dashboard.simulator import wire
from dashboard.simulator.cluster import Cluster
from dashboard.simulator.relationship import Relationship
from dashboard.simulator.terms import End, State, Work

if TYPE_CHECKING:
    from dashboard.simulator.calls import Received
    from dashboard.simulator.wire import Time

Clock = Callable[[], float]


class ManualClock:
    """A clock that moves only when a test says so. Starts at the real time unless told otherwise."""

    def __init__(self, start: Time | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = threading.Lock()

    def __call__(self) -> Time:
        return self._now

    def pass_time(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


class World:
    """Clusters, relationships and time. Safe to use from several threads."""

    def __init__(self, clock: Clock = time.time, *, seed: int = 1) -> None:
        self.clock, self.seed = clock, seed
        self.clusters: dict[str, Cluster] = {}  # by the name they were made with
        self.relationships: dict[str, Relationship] = {}
        self._random = random.Random(seed)  # noqa: S311 - a world that is the same each time
        self._lock = threading.RLock()
        self._last = clock()
        self._later: list[tuple[Time, int, Callable[[Time], object]]] = []
        self._order = itertools.count()

    # -- time ------------------------------------------------------------------------------------------------

    @contextmanager
    def entered(self) -> Iterator[Time]:
        """Hold the world still at one moment; what was to happen before it has happened."""
        with self._lock:
            now = max(self._last, self.clock())  # a clock set back stops the world, it never turns it back
            while self._later and self._later[0][0] <= now:
                at, _, act = heapq.heappop(self._later)
                self._last = at
                act(at)
            self._last = now
            yield now

    def later(self, at: Time, act: Callable[[Time], object]) -> None:
        """Do something at that time: a request that is still on its way."""
        with self._lock:
            heapq.heappush(self._later, (at, next(self._order), act))

    def advance(self) -> Time:
        """Play everything that is due, on every cluster; return the time."""
        with self.entered() as now:
            for relationship in list(self.relationships.values()):
                relationship.advance(now)
            return now

    # -- building --------------------------------------------------------------------------------------------

    def add_cluster(self, name: str, *, version: str = "7.8.0", listens: bool = True) -> Cluster:
        """A new cluster. One that does not listen is only a name at the other end of a relationship."""
        self.clusters[name] = cluster = Cluster(self, name, version=version, listens=listens)
        return cluster

    def relate(
        self,
        source: Cluster,
        source_path: str,
        target: Cluster,
        target_path: str,
        *,
        state: State = State.ESTABLISHED,
        age: float | None = 300.0,
        every: float = 600.0,
        takes: float = 60.0,
        percent: float | None = None,
    ) -> Relationship:
        """A relationship that is already somewhere in its life.

        `age` of the recovery point in seconds (None: there is none); `percent` of what runs now, be it a job,
        a revert or a resynchronisation, that `takes` so many seconds in all; None: nothing runs.
        """
        with self.entered() as now:
            it = Relationship(
                str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
                End(source, _directory(source_path), self._file_id()),
                End(
                    target,
                    target_path if state is State.AWAITING_AUTHORIZATION else _directory(target_path),
                    self._file_id(),
                ),
                state,
                every=every,
                takes=takes,
            )
            if age is not None:
                it.set_recovery_point(now - age)
                it.duration_of_last_job = takes
            if state is State.DISCONNECTED and it.recovery_point_snapshot is not None:
                old = it.recovery_point_snapshot["id"]
                it.recovery_point_snapshot = wire.snapshot(
                    target.next_snapshot(), f"revert_to_{old}_for_{source.name}", now, file_id=it.target.root_id
                )
            if state is State.ENDED:
                it.source.gone, it.end_reason = True, "The relationship was deleted on the source cluster."
            it.target.read_only = state not in (State.AWAITING_AUTHORIZATION, State.DISCONNECTED, State.ENDED)
            if percent is not None:
                it.work = Work(now - takes * percent / 100, takes)
            elif state is State.ESTABLISHED:
                it.next_job_at = max(now, now - age + every if age is not None else now) + it.jitter()
            self.relationships[it.id] = source.relationships[it.id] = target.relationships[it.id] = it
            return it

    def _file_id(self) -> str:
        """A file id in decimal; real ones go far beyond 64 bits (SEEN LIVE)."""
        return str(self._random.randrange(10**4, 10**29))

    def forget(self, relationship: Relationship) -> None:
        """Both ends have deleted it."""
        for place in (self, relationship.source.cluster, relationship.target.cluster):
            place.relationships.pop(relationship.id, None)

    # -- looking ---------------------------------------------------------------------------------------------

    def relationship(self, target_path: str) -> Relationship:
        """The relationship onto that target path, with or without its trailing slash. Raises KeyError."""
        for it in self.relationships.values():
            if _directory(it.target.path) == _directory(target_path):
                return it
        raise KeyError(target_path)

    def make_writable_received(self, relationship_id: str = "") -> list[Received]:
        """Every make-writable that reached any door of this world, oldest first."""
        found = [e for cluster in self.clusters.values() for e in cluster.make_writable_received(relationship_id)]
        return sorted(found, key=lambda entry: entry.at)


def _directory(path: str) -> str:
    """Paths of existing directories end in a slash (SEEN LIVE)."""
    return path.rstrip("/") + "/"
