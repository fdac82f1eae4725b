"""The one clock of the desk. Each pass, by reading what is due from the database:

1. ends what was not approved or not started in time,
2. judges again whatever time alone has changed,
3. takes one step of each open failover that nobody rang for, that a crash left behind, or that is being watched,
4. hands out the reading of each cluster that is due: to a worker by the broker, or to its own threads when the broker
is dead or nobody took it.

It is the driver that needs no message (rule 1). A second sweep is harmless, a dead one stops the watching (never the
safety), and the supervisor starts it again. A pass never waits for a cluster: steps and readings run in `Lanes` of
their own, so a cluster that is slow or dead delays no other. Once a minute it asks whether the database is still the
one it was (`selfcheck`) and writes failed sign-ins and refused access into the ledger that nobody followed up, once a
day it prunes.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import OperationalError

from dashboard.accounts import refusals, signin
from dashboard.database import database_now
from dashboard.failovers import conduct, execution, recording, reminders, selfcheck, turns
from dashboard.failovers.lifecycle import STARTED, State
from dashboard.failovers.models import Failover, Heartbeat, Hold
from dashboard.fleet import observe
from dashboard.fleet import tasks as fleet_tasks
from dashboard.fleet.models import Cluster
from dashboard.lanes import Lanes

log = logging.getLogger(__name__)

PER_CLUSTER = 2
DAILY = timedelta(days=1)
MINUTELY = timedelta(minutes=1)


class Sweep:
    """One process's sweep. `with_broker=False`: reads the clusters itself (no Redis, or a test)."""

    def __init__(self, *, with_broker: bool = True) -> None:
        self.with_broker = with_broker
        self._steps = Lanes("step", prompt=8, waiting=16, each=PER_CLUSTER)
        self._reads = Lanes("read", prompt=8, waiting=12)
        self._done_at: dict[str, datetime] = {}

    def once(self) -> None:
        """One pass. Raises nothing that a single row or cluster causes; the database being away is the caller's."""
        now = database_now()
        if self._is_time("prove", recording.PROVED_EVERY, now):
            recording.prove()
        Heartbeat.objects.update_or_create(driver="sweep", defaults={"at": now})
        if self._must_look(now):  # first: a database that was put back must not be worked off
            try:
                selfcheck.look()
            except Exception:
                del self._done_at["selfcheck"]  # not looked: the next pass must not go on to the steps without it
                raise
        away: OperationalError | None = None
        parts = (conduct.expire_due, reminders.remind, observe.regrade, self._step_failovers, self._hand_out)
        for part in (*parts, self._tell, self._prune):
            try:
                part(now)
            except OperationalError as error:  # away; or one row is locked, and then it keeps only its own part waiting
                away = error
            except Exception:  # a row that one part stumbles over must not stop the others, pass after pass
                log.exception("A part of the pass failed")
        if away is not None:
            raise away

    def _tell(self, now: datetime) -> None:
        if self._is_time("tell", MINUTELY, now):
            signin.tell_what_is_left()
            refusals.tell_what_is_left()

    def _prune(self, now: datetime) -> None:
        if self._is_time("prune", DAILY, now):
            observe.prune(now)

    def _must_look(self, now: datetime) -> bool:
        """Each minute, and at once when a hold was lifted: its cause may still be there."""
        looked = self._done_at.get("selfcheck")
        if looked is not None and Hold.objects.filter(lifted_at__gte=looked).exists():
            del self._done_at["selfcheck"]
        return self._is_time("selfcheck", MINUTELY, now)

    def _is_time(self, what: str, every: timedelta, now: datetime) -> bool:
        last = self._done_at.get(what)
        if last is not None and now - last < every:
            return False
        self._done_at[what] = now
        return True

    def close(self, *, forget: bool = False) -> None:
        """End what this sweep has taken on; `forget`: only what is under way, the next sweep finds the rest."""
        self._steps.close(forget=forget)
        self._reads.close(forget=forget)

    def _step_failovers(self, now: datetime) -> None:
        # Whoever has waited longest comes first. By age alone, the oldest that cannot go on would come round again and
        # again, and use up the share of its cluster.
        due = Failover.objects.filter(state__in=STARTED, next_step_at__lte=now).order_by(
            "next_step_at", "request", "position"
        )
        busy = turns.room()
        for pk, state, cluster in due.values_list("pk", "state", "relationship__cluster_id"):
            if state == State.APPROVED:  # no need to ask for those whose turn cannot be yet
                busy[cluster] += 1
                if busy[cluster] > settings.AT_ONCE:
                    continue
            self._steps.put(cluster, pk, partial(execution.execute, pk))

    def _hand_out(self, now: datetime) -> None:
        patience = 2 * settings.POLL_EVERY + timedelta(seconds=5)
        for cluster in Cluster.objects.filter(pk__in=observe.due_clusters(now)):
            tried = cluster.last_try_at or cluster.added_at
            heard = self.with_broker and now - tried < patience  # else nobody took the last two bells
            read = self._ring if heard else observe.observe
            self._reads.put(cluster.pk, ("read", cluster.pk), partial(read, cluster.pk))
        for pk in observe.executors_due(now):
            self._reads.put(pk, ("executor", pk), partial(observe.check_executor, pk))

    def _ring(self, cluster: int) -> None:
        try:
            fleet_tasks.observe.apply_async((cluster,), expires=settings.POLL_EVERY.total_seconds(), retry=False)
        except Exception as error:  # noqa: BLE001  whatever the broker does, the cluster is read
            log.warning("The broker takes no reading (%s); the sweep reads by itself", type(error).__name__)
            observe.observe(cluster)
