from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

# Rooms of the product are imported inside the fixtures: this file is loaded before Django is.
if TYPE_CHECKING:
    from dashboard.simulator import Cluster, ManualClock, World

Client = Callable[..., httpx.Client]


@pytest.fixture
def clock() -> ManualClock:
    from dashboard.simulator import ManualClock

    return ManualClock(1_773_457_960.25)


@pytest.fixture
def world(clock: ManualClock) -> World:
    from dashboard.simulator import scenarios

    return scenarios.pair(clock)


@pytest.fixture
def dr(world: World) -> Cluster:
    return world.clusters["dr"]


@pytest.fixture
def prod(world: World) -> Cluster:
    return world.clusters["prod"]


@pytest.fixture
def sign_in() -> Iterator[Client]:
    """A client of one cluster: `sign_in(dr)` with an administrator's session, `sign_in(dr, token)` with that token."""
    from dashboard.simulator import transport

    with ExitStack() as stack:

        def client(cluster: Cluster, token: str | None = None, timeout: float = 30) -> httpx.Client:
            it = stack.enter_context(
                httpx.Client(transport=transport(cluster), base_url="https://dr.example:8000", timeout=timeout)
            )
            if token is None:
                answer = it.post("/v1/session/login", json={"username": cluster.username, "password": cluster.password})
                token = answer.json()["bearer_token"]
            if token:
                it.headers["Authorization"] = f"Bearer {token}"
            return it

        yield client


@pytest.fixture
def targets(world: World) -> str:
    """Where the only relationship lives on its target cluster."""
    return f"/v2/replication/target-relationships/{next(iter(world.relationships))}"


@pytest.fixture
def sources(world: World) -> str:
    """The same on its source cluster."""
    return f"/v2/replication/source-relationships/{next(iter(world.relationships))}"
