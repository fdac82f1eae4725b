"""What several tests of the pages stand on: a fleet behind its transports, and a real Redis that may be away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _no_fragment_outlives_its_test() -> Iterator[None]:
    from dashboard.web.fragments import fragments

    fragments.cache_clear()
    yield
    fragments.cache_clear()


@pytest.fixture(autouse=True)
def _no_verdict_outlives_its_test() -> None:
    from dashboard.web.views import meta

    meta.forget()


@pytest.fixture(scope="module")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A real Redis, as the one-machine set starts it."""
    import redis

    from dashboard import embedded
    from tests.running.processes import eventually, running

    folder = tmp_path_factory.mktemp("redis")
    child, url = embedded.plan_redis(folder, dict(os.environ))

    def answers() -> bool:
        with suppress(redis.RedisError, OSError):
            return bool(redis.Redis.from_url(url).ping())
        return False

    with running(child.command, folder / "log") as program:
        eventually(answers)
        yield url, program.pid


@pytest.fixture
def redis_socket(_redis: tuple[str, int]) -> tuple[str, int]:
    """Its address and its process; empty, whatever the test before left in it."""
    import redis

    redis.Redis.from_url(_redis[0]).flushall()
    return _redis


@pytest.fixture
def with_redis(redis_socket: tuple[str, int], settings: Any) -> str:
    from dashboard.web.fragments import fragments

    # What stands in the address rules over the store's own patience: a busy machine must not look like a dead Redis.
    settings.REDIS_URL = f"{redis_socket[0]}?socket_timeout=30&socket_connect_timeout=30"
    fragments.cache_clear()
    return redis_socket[0]


@pytest.fixture
def fleet(db: None) -> Iterator[Any]:
    """The demonstration's world, registered and read once."""
    from dashboard.fleet import access
    from tests.web.fleet import Fleet

    yield Fleet()
    access.forget_transports()


@pytest.fixture
def pair(db: None) -> Iterator[Any]:
    """One cluster with one relationship, which can be made to say anything."""
    from dashboard.fleet import access
    from tests.fleet.lookout import Lookout

    watching = Lookout()
    watching.read()
    yield watching
    access.forget_transports()


@pytest.fixture
def desk(db: None, cast: Any) -> Iterator[Any]:
    """The desk of the failovers' tests: one simulated pair of clusters, and the verbs on it."""
    from dashboard.fleet import access
    from tests.failovers.desk import Desk

    yield Desk(cast)
    access.forget_transports()


@pytest.fixture
def sites(db: None, cast: Any) -> Iterator[Any]:
    """Such a desk with two target clusters, `dr` and `far`: one source replicates to both."""
    from dashboard.fleet import access, observe
    from dashboard.simulator import ManualClock, scenarios
    from tests.failovers.desk import Desk

    world = scenarios.pair(ManualClock())
    world.relate(world.clusters["prod"], "/prod/mail", world.add_cluster("far"), "/far/mail")
    desk = Desk(cast, world)
    observe.observe(desk.register("far").pk)
    yield desk
    access.forget_transports()
