"""The state of all that a person sees of the fleet, in two queries: what each poll of the list and the wall asks first,
and mostly all.

`seen` is the version of what such a page shows: count, sum of versions and sum of keys of the rows that its filter
selects, the counters, the requests that wait, and the versions of the clusters. Never the newest of some timestamps: a
transaction that commits late would hide behind a younger one. Time alone changes rows, too; the sweep judges those
again and raises their version, so no clock has to be looked at here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db.models import Count, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.failovers.recording import refused_since
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.fleet.observe import LONGEST_READING
from dashboard.web import notices
from dashboard.web.filters import RUNNING, WAITING, WRITABLE, Filter
from dashboard.web.live import requests_waiting

_CLUSTER_FIELDS = (
    "name",
    "version",
    "added_at",
    "next_read_at",
    "last_try_at",
    "last_read_at",
    "silent",
    "trouble",
    "trouble_words",
    "trouble_since",
    "unreadable_rows",
    "clock_ahead",
    "executor_trouble",
    "node_state",
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of what this person sees; `shown` is how many the filter selects. `requests` wait for a decision,
    `waiting` are the relationships that they are about."""

    shown: int
    all: int
    by_grade: dict[str, int]
    waiting: int
    requests: int
    running: int
    writable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What every answer needs, the empty ones too; small enough to be kept for a second. Ages in seconds at `at`."""

    at: float
    seen: str
    notices: str
    observed: float | None
    ages: dict[str, float]
    tries: dict[str, float]

    @classmethod
    def load(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def dump(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @property
    def observed_age(self) -> float | None:
        """Seconds since the newest successful reading of any cluster: whether the desk is watching at all."""
        return None if self.observed is None else self.observed + self._since

    def headers(self) -> dict[str, str]:
        """The ages of the clusters, and when those that do not answer are tried next. A 204 changes no markup, so the
        browser takes from here what it makes tick. Names are slugs: commas and equals signs are free."""
        ages = ",".join(f"{name}={age + self._since:.1f}" for name, age in self.ages.items())
        tries = ",".join(f"{name}={max(left - self._since, 0):.1f}" for name, left in self.tries.items())
        return {"X-Cluster-Ages": ages, "X-Cluster-Tries": tries}

    @property
    def _since(self) -> float:
        return max(timezone.now().timestamp() - self.at, 0)


@dataclass(frozen=True, slots=True)
class Overview:
    """`now` is the database's clock. Each cluster carries `listed`, the number of its relationships."""

    now: datetime
    clusters: Sequence[Cluster]
    counts: Counts
    seen: str
    notices: str = ""
    unrecorded_since: datetime | None = None

    @property
    def poll(self) -> Poll:
        ages = {c.name: (self.now - c.last_read_at).total_seconds() for c in self.clusters if c.last_read_at}
        failing = [c for c in self.clusters if c.trouble or c.silent]
        return Poll(
            at=timezone.now().timestamp(),
            seen=self.seen,
            notices=self.notices,
            observed=min(ages.values(), default=None),
            ages=ages,
            tries={c.name: until_next_try(c, self.now).total_seconds() for c in failing},
        )


def overview(user: User, chosen: Filter) -> Overview:
    """Ask the database, twice. Nothing in it comes from a cluster that `user` does not see."""
    condition = chosen.condition()
    grades = {grade.value: Count("pk", filter=Q(grade=grade.value)) for grade in Grade}
    found = (
        Relationship.objects.visible_to(user)
        .listed()
        .aggregate(
            _shown=Count("pk", filter=condition),
            _versions=Sum("version", filter=condition),
            _keys=Sum("pk", filter=condition),
            _all=Count("pk"),
            _waiting=Count("pk", filter=WAITING),
            _running=Count("pk", filter=RUNNING),
            _writable=Count("pk", filter=WRITABLE),
            **grades,
        )
    )
    listed = Count("relationships", filter=Q(relationships__hidden=False))
    rows = Cluster.objects.visible_to(user).only(*_CLUSTER_FIELDS)
    beside = {"now": Now(), "listed": listed, "requests": requests_waiting(user), **notices.facts(user)}
    clusters: list[Any] = list(rows.annotate(**beside).order_by("pk"))
    counts = Counts(
        shown=found["_shown"],
        all=found["_all"],
        by_grade={name: found[name] for name in grades},
        waiting=found["_waiting"],
        requests=clusters[0].requests if clusters else 0,
        running=found["_running"],
        writable=found["_writable"],
    )
    now = clusters[0].now if clusters else timezone.now()
    since = refused_since(clusters[0].swept_at, clusters[0].proved_at, now) if clusters else None
    above = notices.version(clusters[0].hold_acts if clusters else 0, since)
    parts = [*found.values(), counts.requests, *((cluster.pk, cluster.version) for cluster in clusters)]
    return Overview(now, clusters, counts, digest(parts), above, since)


def until_next_try(cluster: Cluster, now: datetime) -> timedelta:
    """Zero while a reading is under way."""
    if cluster.last_try_at is not None and cluster.next_read_at == cluster.last_try_at + LONGEST_READING:
        return timedelta()
    return max(cluster.next_read_at - now, timedelta())


def digest(parts: object) -> str:
    """Short, and fit for a URL."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
