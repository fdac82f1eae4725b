"""The one clock of the desk. Each pass, by reading what is due from the database:

1. ends what was not approved or not started in time,
2. judges again whatever time alone has changed,
3. takes one step of each open failover that nobody rang for, that a crash left behind, or that is being watched,
4. hands out the reading of each cluster that is due: to a worker by the broker, or to its own threads when the broker
is
   dead or nobody took it.

A second sweep is harmless, a dead one stops the watching (never the safety), and the supervisor starts it again.
Steps and readings run in threads and a pass never waits for them, so one slow cluster delays no other; at most two at
once go to the same cluster.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import close_old_connections, connections

from dashboard.database import database_now
from dashboard.failovers import conduct, execution
from dashboard.failovers.lifecycle import STARTED
from dashboard.failovers.models import Failover, Heartbeat
from dashboard.fleet import observe
from dashboard.fleet import tasks as fleet_tasks
from dashboard.fleet.models import Cluster

log = logging.getLogger(__name__)

THREADS = 16
PER_CLUSTER = 2
DAILY = timedelta(days=1)


class Sweep:
    """One process's sweep. `with_broker=False`: reads the clusters itself (no Redis, or a test)."""

    def __init__(self, *, with_broker: bool = True) -> None:
        self.with_broker = with_broker
        self._steps = ThreadPoolExecutor(THREADS, thread_name_prefix="step")
        self._reads = ThreadPoolExecutor(THREADS, thread_name_prefix="read")
        self._lock = threading.Lock()
        self._busy: Counter[tuple[str, int]] = Counter()
        self._pruned_at: datetime | None = None

    def once(self) -> None:
        """One pass. Raises nothing that a single row or cluster causes; the database being away is the caller's."""
        now = database_now()
        Heartbeat.objects.update_or_create(driver="sweep", defaults={"at": now})
        conduct.expire_due(now)
        observe.regrade(now)
        self._step_failovers(now)
        self._hand_out(now)
        if self._pruned_at is None or now - self._pruned_at > DAILY:
            self._pruned_at = now
            observe.prune(now)

    def close(self) -> None:
        self._steps.shutdown(wait=True, cancel_futures=True)
        self._reads.shutdown(wait=True, cancel_futures=True)

    def _step_failovers(self, now: datetime) -> None:
        due = Failover.objects.filter(state__in=STARTED, next_step_at__lte=now).order_by(
            "approved_at", "position", "pk"
        )
        for pk, cluster in due.values_list("pk", "relationship__cluster_id"):
            self._run(self._steps, ("failover", pk), ("cluster", cluster), partial(execution.execute, pk))

    def _hand_out(self, now: datetime) -> None:
        due = set(observe.due_clusters(now))
        patience = 2 * settings.POLL_EVERY + timedelta(seconds=5)
        for cluster in Cluster.objects.filter(next_read_at__isnull=False):
            tried = cluster.last_try_at or cluster.added_at
            if cluster.pk in due and self.with_broker and now - tried < patience:
                self._run(self._reads, ("bell", cluster.pk), None, partial(self._ring, cluster.pk))
            elif cluster.pk in due:  # no broker, or nobody took the last two bells
                self._read(cluster.pk)

    def _ring(self, cluster: int) -> None:
        try:
            fleet_tasks.observe.apply_async((cluster,), expires=settings.POLL_EVERY.total_seconds(), retry=False)
        except Exception as error:  # noqa: BLE001  whatever the broker does, the cluster is read
            log.warning("The broker takes no reading (%s); the sweep reads by itself", type(error).__name__)
            observe.observe(cluster)

    def _read(self, cluster: int) -> None:
        self._run(self._reads, ("read", cluster), None, partial(observe.observe, cluster))

    def _run(
        self,
        pool: ThreadPoolExecutor,
        what: tuple[str, int],
        where: tuple[str, int] | None,
        work: Callable[[], None],
    ) -> None:
        """Give it to a thread, unless the same is under way or the cluster has its share."""
        with self._lock:
            if self._busy[what] or (where and self._busy[where] >= PER_CLUSTER):
                return
            for key in filter(None, (what, where)):
                self._busy[key] += 1

        def guarded() -> None:
            close_old_connections()
            try:
                work()
            except Exception:
                log.exception("A step of the sweep failed: %s %s", *what)
            finally:
                connections.close_all()
                with self._lock:
                    for key in filter(None, (what, where)):
                        self._busy[key] -= 1

        pool.submit(guarded)
