"""The wall: one polled root for the whole screen, for any signed-in person. It says that it is stale by the browser's
own clock, so nothing here has to.

`/wall/?cluster=dr-west&cluster=dr-east` is a wall of these clusters: above about 150 relationships there are more
walls, not smaller letters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.models import User
from dashboard.failovers import readings
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, STARTED, State
from dashboard.failovers.models import Failover, Hold, Request
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web import screen
from dashboard.web.filters import Filter
from dashboard.web.guards import signed_in
from dashboard.web.live import cached_seen, live_answer
from dashboard.web.overview import Overview, Poll, overview
from dashboard.web.standing import summary
from dashboard.web.templatetags.desk import health_word, leaf

CADENCE = 5
REDRAWN_EVERY = 20  # seconds: ages are written in minutes and do not tick here
_HEADLINE = (Grade.CRITICAL, Grade.WARNING, Grade.UNKNOWN, Grade.ACTIVE, Grade.NORMAL, Grade.INACTIVE)
_SHOWN = (
    "cluster_id",
    "target_root_path",
    "state",
    "grade",
    "grade_rank",
    "reason",
    "reason_since",
    "state_since",
    "recovery_point_at",
    "objective",
    "job_running",
    "job_percent",
    "held_phase",
    "failed_over_at",
    "own_read_at",
    "missing_since",
    "gone_at",
    "unreadable",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A failover that was approved. `percent` None: no figures, then `since` ticks. With `size` it stands for all that
    its request carries: `done` of them are writable, and `words` say how the others stand."""

    health: str
    title: str
    number: str
    name: str
    target: str
    percent: int | None
    left: str
    since: datetime | None
    back_to: datetime | None
    size: int = 0
    done: int = 0
    words: str = ""


@require_safe
def wall(request: HttpRequest) -> HttpResponse:
    return render(request, "wall/page.html", _context(request, overview(signed_in(request), Filter())))


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    asked: list[Overview] = []
    user = signed_in(request)

    def ask() -> str:
        asked.append(overview(user, Filter()))
        return asked[0].poll.dump()

    poll = Poll.load(cached_seen(user, "wall", ask))
    answer = live_answer(
        request,
        region=f"wall {_query(request)}",
        seen=_seen(f"{poll.seen}.{poll.notices}", poll.at, request.GET.get("seen", "")),
        render=lambda: render_to_string(
            "wall/_screen.html", _context(request, asked[0] if asked else overview(user, Filter()))
        ),
        observed_age=poll.observed_age,
    )
    for name, value in poll.headers().items():
        answer[name] = value
    return answer


def _seen(version: str, now: float, has: str) -> str:
    """The version, and when it was drawn, in steps of REDRAWN_EVERY from then on."""
    old, _dash, drawn = has.partition("-")
    young = drawn.isdecimal() and 0 <= now - int(drawn[:12]) < REDRAWN_EVERY
    return has if old == version and young else f"{version}-{int(now)}"


def _chosen(request: HttpRequest) -> list[str]:
    return sorted(set(request.GET.getlist("cluster")))


def _query(request: HttpRequest) -> str:
    return urlencode([("cluster", name) for name in _chosen(request)])


def _context(request: HttpRequest, found: Overview) -> dict[str, Any]:
    now, names = found.now, _chosen(request)
    clusters = [cluster for cluster in found.clusters if not names or cluster.name in names]
    rows = _rows(clusters)
    counts = {grade: sum(row.grade == grade for row in rows) for grade in _HEADLINE}
    fields = [each for each in clusters if each.silent or each.listed]  # type: ignore[attr-defined]  # annotated
    query = _query(request)
    return {
        "now": now,
        "observed_at": now - timedelta(seconds=found.poll.observed_age)
        if found.poll.observed_age is not None
        else None,
        "clusters": clusters,
        "limited": bool(names) or signed_in(request).scope is not None,
        "counts": [(grade.value, health_word(grade), counts[grade]) for grade in _HEADLINE],
        "calm": bool(rows) and not any(counts[grade] for grade in _HEADLINE[:4]),
        "normal": counts[Grade.NORMAL],
        "inactive": counts[Grade.INACTIVE],
        "columns": screen.columns(rows, fields, now) if screen.tiled(rows, fields) else None,
        "grid": None if screen.tiled(rows, fields) else screen.grid(rows, fields, now),
        **_side(rows, clusters, found, signed_in(request)),
        "live_url": reverse("wall-live") + (f"?{query}" if query else ""),
        "seen": f"{found.seen}.{found.notices}-{int(found.poll.at)}",
        "cadence": CADENCE,
    }


def _rows(clusters: list[Cluster]) -> list[Relationship]:
    """Worst first, with no more of each than the wall shows: it may be two thousand."""
    own = {cluster.pk: cluster for cluster in clusters}
    rows = list(Relationship.objects.listed().worst_first().filter(cluster__in=clusters).only(*_SHOWN))
    for row in rows:
        row.cluster = own[row.cluster_id]
    return rows


# ── The side: what people do ─────────────────────────────────────────────────


def _side(rows: list[Relationship], clusters: list[Cluster], found: Overview, user: User) -> dict[str, Any]:
    now = found.now
    names = [cluster.name for cluster in clusters]
    open_now = Failover.objects.visible_to(user).filter(state__in=STARTED, relationship__cluster__in=clusters)
    failovers = list(
        open_now.select_related("request", "relationship__cluster")
        .defer("request__facts_seen")
        .order_by("approved_at", "pk")
    )
    running = [_running(failover, now) for failover in failovers if failover.request.size == 1]
    several = {failover.request_id: failover for failover in failovers if failover.request.size > 1}
    running += [_running_several(one, now) for one in several.values()]
    concerns = [f for f in failovers if f.state in ON_THE_CLUSTER and readings.concern(f, now)]
    holds = [hold for hold in Hold.objects.standing() if not hold.scope or hold.scope in names]
    waiting = _waiting(clusters, user)
    return {
        "running": min(running, key=lambda each: -1 if each.percent is None else each.percent, default=None),
        "running_more": len(running) - 1,
        "unrecorded_since": found.unrecorded_since,
        "holds": holds,
        "concerns": concerns,
        "worst": _worst(rows, now),
        "waiting": waiting,
        "waiting_left": _left(waiting, now),
        "waiting_names": ", ".join(leaf(item.target_root_path) for asked in waiting for item in asked.items),
        "tight": bool(holds or concerns or found.unrecorded_since),
    }


def _waiting(clusters: list[Cluster], user: User) -> list[Request]:
    asked = Request.objects.visible_to(user).filter(failovers__state=State.REQUESTED)
    here = asked.filter(failovers__relationship__cluster__in=clusters)
    return list(here.distinct().order_by("decide_by"))


def _left(waiting: list[Request], now: datetime) -> str:
    """Until the first of them expires."""
    until = min((asked.decide_by for asked in waiting), default=None)
    return "" if until is None else _("%s left") % screen.coarse(max(until - now, timedelta()))


def _running(failover: Failover, now: datetime) -> Running:
    row = failover.relationship
    job = row.status.get("replication_job_status") or {}
    reverting = row.state == "DISCONNECTING" and failover.state in ON_THE_CLUSTER
    percent = int(row.job_percent) if reverting and row.job_percent is not None else None
    left = job.get("estimated_seconds_remaining") if percent is not None else None
    doubtful = readings.doubtful(failover, now)
    return Running(
        health="unknown" if doubtful else "active",
        title=_("Failover, outcome unknown") if doubtful else _title(failover.request),
        number=failover.number,
        name=leaf(row.target_root_path),
        target=row.cluster.name,
        percent=percent,
        left="" if left is None else _("%s left") % screen.coarse(timedelta(seconds=left)),
        since=failover.sent_at or failover.approved_at,
        back_to=failover.item.recovery_point_at,
    )


def _running_several(one: Failover, now: datetime) -> Running:
    """`one` of a request with several, for all of them."""
    asked = one.request
    failovers = list(asked.failovers.order_by("position"))
    done = sum(failover.state == State.SUCCEEDED for failover in failovers)
    return Running(
        health="active",
        title=_title(asked),
        number=asked.number,
        name="",
        target=", ".join(sorted({item.target_cluster for item in asked.items})),
        percent=None,
        left="",
        since=min((failover.approved_at for failover in failovers if failover.approved_at), default=None),
        back_to=None,
        size=asked.size,
        done=done,
        words=summary(failovers, now),
    )


def _title(asked: Request) -> str:
    if asked.break_glass:
        return _("Break-glass running")
    return _("Drill running") if asked.drill else _("Failover running")


def _worst(rows: list[Relationship], now: datetime) -> dict[str, Any] | None:
    """The recovery point that is furthest beyond its objective, or, when all keep it, the one nearest to it."""
    found = screen.nearest(rows, now)
    if found is None:
        return None
    row, age = found
    ratio = age / row.objective_time
    return {
        "late": ratio > 1,
        "health": row.grade if row.grade in (Grade.CRITICAL, Grade.WARNING) else Grade.WARNING,
        "age": screen.coarse(age),
        "percent": f"{ratio * 100:.0f} %",
        "times": f"{ratio:.1f}",
        "name": leaf(row.target_root_path),
        "goal": screen.coarse(row.objective_time),
        "target": row.cluster.name,
    }
