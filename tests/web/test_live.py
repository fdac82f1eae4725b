"""Polls: nothing when nothing changed, one rendering for equal rights, and a Redis that may die at any time."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from dashboard.accounts import people
from dashboard.accounts.models import User
from dashboard.audit.chain import SYSTEM
from dashboard.failovers.models import Failover, Request
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web.fragments import AWAY, Fragments, fragments
from dashboard.web.live import pulse
from tests.conftest import PASSWORD, Cast
from tests.web import desk_urls
from tests.web.fleet import keep

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.web.desk_urls")]


@pytest.fixture(autouse=True)
def _forget() -> None:
    desk_urls.rendered.clear()


@pytest.fixture
def cluster() -> Cluster:
    return make_cluster("dr-west", read=timedelta(seconds=4))


def make_cluster(name: str, *, read: timedelta | None) -> Cluster:
    at = timezone.now() - read if read is not None else None
    return Cluster.objects.create(name=name, url="https://x:8000", uuid=name, last_read_at=at)


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def poll(client: Client, seen: str = "", **more: str) -> Any:
    return client.get("/form/live/", {"seen": seen, **more}, headers={"HX-Request": "true"})


def seen_now(user: Any) -> str:
    return f"{pulse(user).seen}.{Cluster.objects.count()}"


# ── The answer ──


def test_nothing_new_is_204_with_the_age_of_the_data(cast: Cast, cluster: Cluster) -> None:
    answer = poll(signed_in(cast.viewer), seen_now(cast.viewer))
    assert answer.status_code == 204
    assert answer.content == b""
    assert 4 <= float(answer["X-Observed-Age"]) < 60
    assert answer["X-Build"]
    assert answer["Cache-Control"] == "no-store"
    assert desk_urls.rendered == []


def test_something_new_is_the_fragment_with_the_same_headers(cast: Cast, cluster: Cluster) -> None:
    answer = poll(signed_in(cast.viewer), "another")
    assert answer.status_code == 200
    assert answer.content == b"<div>page? 1</div>"
    assert float(answer["X-Observed-Age"]) >= 4
    assert answer["X-Build"]


def test_data_that_was_never_read_has_no_age_at_all(cast: Cast) -> None:
    make_cluster("new", read=None)
    answer = poll(signed_in(cast.viewer), "another")
    assert "X-Observed-Age" not in answer


def test_one_silent_cluster_does_not_make_the_rest_old(cast: Cast, cluster: Cluster) -> None:
    make_cluster("silent", read=timedelta(hours=3))
    age = pulse(cast.viewer).age
    assert age is not None
    assert age < 60


def test_a_change_of_any_cluster_and_a_new_request_change_what_was_seen(cast: Cast, cluster: Cluster) -> None:
    first = pulse(cast.viewer).seen
    Cluster.objects.filter(pk=cluster.pk).update(version=2)
    second = pulse(cast.viewer).seen
    make_cluster("another", read=None)
    assert len({first, second, pulse(cast.viewer).seen}) == 3


def test_a_poll_costs_four_queries_without_redis(cast: Cast, cluster: Cluster, django_assert_num_queries: Any) -> None:
    client = signed_in(cast.viewer)
    seen = seen_now(cast.viewer)
    with django_assert_num_queries(4):  # session, user, pulse, the region's own
        assert poll(client, seen).status_code == 204


def test_a_poll_costs_two_queries_with_redis(
    cast: Cast, cluster: Cluster, with_redis: str, django_assert_num_queries: Any
) -> None:
    client = signed_in(cast.viewer)
    seen = seen_now(cast.viewer)
    poll(client, seen)
    keep(with_redis)
    with django_assert_num_queries(2):  # session, user
        assert poll(client, seen).status_code == 204


# ── Requests that wait ──


def test_a_request_with_several_failovers_waits_once(sites: Any, cast: Cast) -> None:
    assert pulse(cast.viewer).waiting == 0
    asked: Request = sites.ask_for(list(Relationship.objects.select_related("cluster").order_by("pk")))
    assert Failover.objects.filter(request=asked, state="requested").count() == 2
    assert pulse(cast.viewer).waiting == 1
    sites.cancel(asked)
    assert pulse(cast.viewer).waiting == 0


# ── One rendering for equal rights ──


def test_viewers_with_the_same_rights_share_one_rendering(cast: Cast, cluster: Cluster, with_redis: str) -> None:
    bodies = {poll(signed_in(user)).content for user in (cast.rivera, cast.tanaka, cast.rivera)}
    assert desk_urls.rendered == ["page?"]
    assert len(bodies) == 1
    poll(signed_in(cast.viewer))
    assert desk_urls.rendered == ["page?", "page?"]


def test_the_same_role_for_another_cluster_is_another_right(cast: Cast, with_redis: str) -> None:
    """Even when both see as much, at the same versions: `seen` is the same for both, what they may see is not."""
    for name in ("dr-west", "dr-east"):
        make_cluster(name, read=None)
        people.add(name, roles=[f"viewer@{name}"], password=PASSWORD, actor=SYSTEM)
    west, east = User.objects.get(username="dr-west"), User.objects.get(username="dr-east")
    assert pulse(west).seen == pulse(east).seen
    for user in (west, east, west):
        assert poll(signed_in(user)).status_code == 200
    assert desk_urls.rendered == ["page?", "page?"]


def test_another_filter_is_another_fragment(cast: Cast, cluster: Cluster, with_redis: str) -> None:
    client = signed_in(cast.viewer)
    assert b"page?a 1" in poll(client, q="a").content
    assert b"page?b 1" in poll(client, q="b").content
    assert b"page?a 1" in poll(client, q="a").content
    assert desk_urls.rendered == ["page?a", "page?b"]


def test_what_is_for_one_person_is_not_kept(cast: Cast, cluster: Cluster, with_redis: str) -> None:
    for _ in range(2):
        poll(signed_in(cast.viewer), mine="1")
    assert desk_urls.rendered == ["page?", "page?"]
    assert not list(redis.Redis.from_url(with_redis).scan_iter("failover-desk:page:html:*"))


# ── A Redis that dies ──


def test_a_redis_that_is_not_there_costs_speed_and_no_page(cast: Cast, cluster: Cluster, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    fragments.cache_clear()
    client = signed_in(cast.viewer)
    assert [poll(client).status_code for _ in range(2)] == [200, 200]
    assert desk_urls.rendered == ["page?", "page?"]


def test_a_redis_that_is_frozen_costs_speed_and_no_page(
    cast: Cast, cluster: Cluster, redis_socket: tuple[str, int], settings: Any
) -> None:
    settings.REDIS_URL = redis_socket[0]
    fragments.cache_clear()
    client = signed_in(cast.viewer)
    poll(client)
    os.kill(redis_socket[1], signal.SIGSTOP)
    try:
        assert [poll(client).status_code for _ in range(2)] == [200, 200]
    finally:
        os.kill(redis_socket[1], signal.SIGCONT)
    assert desk_urls.rendered == ["page?", "page?", "page?"]


class Mute:
    """A server that takes calls and never answers one."""

    def __init__(self, folder: Path) -> None:
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / "mute.sock"))
        self._door.listen()
        self._door.setblocking(False)
        self._calls: list[socket.socket] = []
        self.url = f"unix://{folder / 'mute.sock'}"

    @property
    def calls(self) -> int:
        with suppress(BlockingIOError):
            while True:
                self._calls.append(self._door.accept()[0])
        return len(self._calls)

    def close(self) -> None:
        for each in (self._door, *self._calls):
            each.close()


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Mute]:
    server = Mute(tmp_path)
    yield server
    server.close()


def test_after_one_silence_redis_is_left_alone_for_a_while(mute: Mute) -> None:
    now = 100.0
    store = Fragments(mute.url, clock=lambda: now)
    assert [store.get("a"), store.get("a")] == [None, None]
    store.put("a", b"x", seconds=1)
    assert mute.calls == 1
    now += AWAY
    assert store.get("a") is None
    assert mute.calls == 2


def test_after_that_while_it_is_used_again(mute: Mute, redis_socket: tuple[str, int], tmp_path: Path) -> None:
    now = 100.0
    path = tmp_path / "redis.sock"
    store = Fragments(f"unix://{path}?socket_timeout=30&socket_connect_timeout=30", clock=lambda: now)
    assert store.get("a") is None
    path.symlink_to(redis_socket[0].removeprefix("unix://"))
    store.put("a", b"x", seconds=60)
    now += AWAY
    assert store.get("a") is None  # it was away when it should have been put
    store.put("a", b"x", seconds=60)
    assert store.get("a") == b"x"


def test_without_an_address_everything_misses() -> None:
    store = Fragments("")
    store.put("a", b"x", seconds=60)
    assert store.get("a") is None


def test_of_many_that_miss_at_once_one_makes_it_and_all_get_it(
    with_redis: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("dashboard.web.fragments.TOGETHER", 60.0)  # nobody gives up waiting for the one
    made: list[int] = []
    all_make = threading.Barrier(4)

    def make() -> bytes:
        made.append(1)
        with suppress(threading.BrokenBarrierError):
            all_make.wait(0.5)  # as long as the others need to come here, if they do
        return b"x"

    with ThreadPoolExecutor(4) as four:
        stores = [Fragments(settings.REDIS_URL) for _ in range(4)]  # as threads do that begin the process together
        got = list(four.map(lambda store: store.shared("a", make, seconds=60), stores))
    assert (got, made) == ([b"x"] * 4, [1])


def test_nobody_waits_for_ever_for_what_another_one_makes(with_redis: str) -> None:
    stuck, begun = threading.Event(), threading.Event()

    def never() -> bytes:
        begun.set()
        stuck.wait(60)
        return b"late"

    with ThreadPoolExecutor(1) as other:
        late = other.submit(fragments().shared, "a", never, seconds=60)
        assert begun.wait(60)
        assert fragments().shared("a", lambda: b"mine", seconds=60) == b"mine"
        stuck.set()
        assert late.result() == b"late"


def test_what_fails_to_be_made_keeps_nobody_from_making_it(with_redis: str) -> None:
    with pytest.raises(ZeroDivisionError):
        fragments().shared("a", lambda: bytes(1 // 0), seconds=60)
    assert fragments().shared("a", lambda: b"x", seconds=60) == b"x"


def test_a_fragment_is_not_kept_for_ever(with_redis: str) -> None:
    fragments().put("a", b"x", seconds=60)
    assert 0 < redis.Redis.from_url(with_redis).pttl("failover-desk:page:a") <= 60_000
