"""The answer to a poll: nothing when nothing changed, one rendering for all who have the same rights when it did.

What is kept between polls is kept for each scope apart: whoever may see other clusters never gets it.

`seen` is the version of what a region shows. The browser says which one it has; equal means 204, zero bytes, and the
page stays as it is. Every answer, the 204 too, says how old the newest data is (`X-Observed-Age`, seconds), so that a
page is fresh only while somebody really reads the clusters. The age is that of any cluster: one that is silent has its
own alarm. Never 304 or 286: the first blanks the page in htmx 2, the second does nothing in htmx 4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover
from dashboard.failovers.recording import refused_since
from dashboard.fleet.models import Cluster
from dashboard.web import notices
from dashboard.web.build import build
from dashboard.web.fragments import fragments, remembered

KEEP_FRAGMENT = 60.0
KEEP_SEEN = 1.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What every page shows of all that this person sees. `waiting`: requests that wait for a decision. `notices`: the
    version of what stands above each page, `unrecorded_since` a part of it: the ledger takes no entry since then."""

    observed_at: datetime | None
    waiting: int
    clusters: str
    notices: str = ""
    unrecorded_since: datetime | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the newest successful reading of any cluster; None when there never was one."""
        return None if self.observed_at is None else max(0.0, (timezone.now() - self.observed_at).total_seconds())

    @property
    def seen(self) -> str:
        """The part of a region's `seen` that stands for the clusters and the requests that wait."""
        return f"{self.clusters}.{self.waiting}"


def pulse(user: User) -> Pulse:
    """One query, or none when somebody with the same scope asked within the last second."""
    found = json.loads(cached_seen(user, "pulse", lambda: _ask_pulse(user)))
    at, since = (datetime.fromisoformat(found[name]) if found[name] else None for name in ("at", "unrecorded_since"))
    return Pulse(at, found["waiting"], found["clusters"], found["notices"], since)


def requests_waiting(user: User) -> Coalesce:
    """How many requests wait for a decision that this person sees, to be asked along with something else."""
    # Without order_by() the model's own order would be grouped by, too, which PostgreSQL refuses and SQLite lets pass.
    seen = Failover.objects.visible_to(user)
    waiting = seen.filter(state=State.REQUESTED).order_by().annotate(one=Value(1)).values("one")
    return Coalesce(Subquery(waiting.annotate(n=Count("request", distinct=True)).values("n")), 0)


def _ask_pulse(user: User) -> str:
    found = Cluster.objects.visible_to(user).aggregate(
        at=Max("last_read_at"),
        n=Count("pk"),
        version=Coalesce(Sum("version"), 0),
        waiting=Max(requests_waiting(user)),
        now=Max(Now()),
        **{name: Max(fact) for name, fact in notices.facts(user).items()},
    )
    since = refused_since(found["swept_at"], found["proved_at"], found["now"] or timezone.now())
    return json.dumps(
        {
            "at": found["at"].isoformat() if found["at"] else None,
            "waiting": found["waiting"] or 0,
            "clusters": f"{found['n']}.{found['version']}",
            "notices": notices.version(found["hold_acts"], since),
            "unrecorded_since": since.isoformat() if since else None,
        }
    )


def cached_seen(user: User, key: str, compute: Callable[[], str]) -> str:
    """`compute()`, or what a poll of somebody with the same scope got from it within the last second. `key` names all
    else that it depends on."""
    return remembered(f"seen:{_digest(key, _scope(user))}", compute, seconds=KEEP_SEEN)


def live_answer(
    request: HttpRequest,
    *,
    region: str,
    seen: str,
    render: Callable[[], str],
    observed_age: float | None,
    shared: bool = True,
    above: str = "",
) -> HttpResponse:
    """204 when the browser has `seen` already, else 200 with the fragment. When the browser's notices are not those of
    `above` (`Pulse.notices`; "" is a region without a page around it), the notices come along, or alone.

    `region` names everything but `seen` and the viewer's roles that decides what is rendered: page, filters, object.
    `render` makes the fragment without a request (no CSRF token of one person may reach another). With `shared=False`
    it is made for this person alone, and not kept. `observed_age` (seconds): `pulse(user).age`.
    """
    told = notices.rendered(request) if above and notices.are_old(request, above) else ""
    if request.GET.get("seen") == seen and told:
        answer = HttpResponse(headers={"HX-Reswap": "none"})  # what is out of band is put in all the same
    elif request.GET.get("seen") == seen:
        answer = HttpResponse(status=204)
    elif not shared:
        answer = HttpResponse(render())
    else:
        key = f"html:{_digest(build(), region, seen, _rights(request))}"
        answer = HttpResponse(fragments().shared(key, lambda: render().encode(), seconds=KEEP_FRAGMENT))
    if told:
        answer.write(told)
    if observed_age is not None:
        answer["X-Observed-Age"] = f"{observed_age:.1f}"
    return answer


def _scope(user: User) -> str:
    # No cluster is named "*", and none has a comma in its name.
    return "*" if user.scope is None else ",".join(sorted(user.scope))


def _rights(request: HttpRequest) -> str:
    """The roles with their clusters, from which the scope follows."""
    return ",".join(sorted(getattr(request.user, "roles", [])))


def _digest(*parts: str) -> str:
    """Keys of one length, that no text in a filter can make meet another key."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
