"""Rendered fragments in Redis. A store that may always miss: every error means "miss", never a broken page.

A Redis that is frozen costs 0.1 s once; then it is left alone for five seconds. Nothing is kept here that the database
does not know, and nobody's session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

PATIENCE = 0.1
AWAY = 5.0
TOGETHER = 2.0  # seconds for which a thread waits for what another one makes
_PREFIX = "failover-desk:page:"
_MAKERS = [threading.Lock() for _ in range(64)]  # the process's, not a store's: threads that start it may make two


class Fragments:
    """`get` and `put` of bytes under a key, for seconds. With an empty `url` everything misses. `clock`: seconds."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._redis: redis.Redis | None = None
        if url:
            # Without this Retry the client would try four times, with pauses, before it says that Redis is dead.
            self._redis = redis.Redis.from_url(
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
            )
        self._away_until = clock()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        store = self._present()
        if store is None:
            return None
        try:
            found = store.get(_PREFIX + key)
        except (redis.RedisError, OSError) as error:
            self._stay_away(error)
            return None
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: bytes, *, seconds: float) -> None:
        store = self._present()
        if store is None:
            return
        try:
            store.set(_PREFIX + key, value, px=int(seconds * 1000))
        except (redis.RedisError, OSError) as error:
            self._stay_away(error)

    def shared(self, key: str, make: Callable[[], bytes], *, seconds: float) -> bytes:
        """What is kept under `key`, or what `make` gives, which is kept then.

        Of the threads that miss at the same moment one makes it, and the others wait for that: when a page changes that
        hundreds look at, each would else render it. Who has waited long enough makes it, too.
        """
        if (found := self.get(key)) is not None:
            return found
        maker = _MAKERS[hash(key) % len(_MAKERS)]
        first = self._present() is not None and maker.acquire(timeout=TOGETHER)
        try:
            if first and (found := self.get(key)) is not None:
                return found
            made = make()
            self.put(key, made, seconds=seconds)
            return made
        finally:
            if first:
                maker.release()

    def _present(self) -> redis.Redis | None:
        return self._redis if self._clock() >= self._away_until else None

    def _stay_away(self, error: Exception) -> None:
        with self._lock:
            first = self._clock() >= self._away_until
            self._away_until = self._clock() + AWAY
        if first:
            log.warning("Redis does not answer; fragments are rendered anew for %.0f s: %s", AWAY, error)


def remembered(key: str, compute: Callable[[], str], *, seconds: float) -> str:
    """`compute()`, or what somebody got from it within the last `seconds`. Without Redis it is computed each time."""
    if (found := fragments().get(key)) is not None:
        return found.decode()
    made = compute()
    fragments().put(key, made.encode(), seconds=seconds)
    return made


@cache
def fragments() -> Fragments:
    """The store of this process."""
    return Fragments(settings.REDIS_URL)
