"""One relationship, told in full: every field of the cluster's answer in its place, what the source side adds, and what
was watched. Read once, at one moment; no cluster is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from dashboard.accounts.models import User
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Request
from dashboard.failovers.story import Line
from dashboard.fleet.health import ACTIVE_STATES
from dashboard.fleet.models import Cluster, Relationship, Source, Trouble
from dashboard.web import chart
from dashboard.web.before import page_of
from dashboard.web.guards import not_for
from dashboard.web.overview import digest
from dashboard.web.rows import Row, is_stale, path_shown, read_age, rows_of, shown, took_of
from dashboard.words import clock, duration

EVENTS_FIRST, EVENTS_ALL = 12, 500
REDRAWN_EVERY = 60  # seconds: the chart grows although nothing changed


@dataclass(frozen=True, slots=True)
class Operation:
    """A failover of this relationship, as history shows it."""

    number: str
    href: str
    kind: str
    words: str
    detail: str
    asked: Request


def find(user: User, name: str, identifier: str) -> Relationship:
    """The newest one of this id on this cluster that is not gone, or else the newest that was; with the database's time
    as `now` and the versions of its failovers as `moves`. Raises Http404 when there is none that `user` may see."""
    moves = Failover.objects.filter(relationship=OuterRef("pk")).order_by().values("relationship")
    rows = Relationship.objects.filter(cluster__name=name, relationship_id=identifier)
    seen = rows.visible_to(user).select_related("cluster")
    found = seen.annotate(now=Now(), moves=Coalesce(Subquery(moves.annotate(n=Sum("version")).values("n")), 0))
    candidates = sorted(found, key=lambda row: (row.gone_at is None, row.pk))
    if not candidates:
        raise not_for(user, rows)
    return candidates[-1]


@dataclass(frozen=True)
class Detail:
    """`row` comes from `find`, for `user`. `span` is a key of chart.RANGES."""

    user: User
    row: Relationship
    now: datetime
    span: str
    all_events: bool = False

    @property
    def version(self) -> str:
        """Equal while nothing that this page shows has changed, but for the passing of time."""
        row: Any = self.row
        return digest((row.pk, row.version, row.cluster.version, row.moves))

    @cached_property
    def shown(self) -> Row:
        return rows_of([self.row], self.now, self.user)[0]

    @cached_property
    def status(self) -> Any:
        """The last good status, typed (qumulo.records.TargetStatus)."""
        return self.row.facts

    @property
    def stale(self) -> bool:
        return is_stale(self.row)

    # ── How it is, in sentences ──

    @property
    def sentences(self) -> list[str]:
        return [*self._trouble(), *self._state(), *self._lag(), *self._jobs()] or [
            _("Its recovery point is within the objective of %s.") % duration(self.row.objective)
        ]

    def _trouble(self) -> list[str]:
        row, cluster = self.row, self.row.cluster
        found = []
        if cluster.silent:
            at = clock(cluster.last_read_at, self.now) if cluster.last_read_at else _("it was added")
            found.append(_("%(name)s has not been read since %(at)s.") % {"name": cluster.name, "at": at})
        if cluster.trouble not in (Trouble.NONE, Trouble.UNREACHABLE):
            found.append(shown(cluster.trouble_words))
        if row.gone_at is not None:
            at = clock(row.gone_at, self.now)
            found.append(_("%(name)s does not list it any more since %(at)s.") % {"name": cluster.name, "at": at})
        if row.unreadable:
            found.append(_("What %s sent for it last cannot be read:") % cluster.name + f" {shown(row.unreadable)}")
        return [*found, _("What you see is what was last reported.")] if found else []

    def _state(self) -> list[str]:
        row = self.row
        if row.held_phase == "running":
            return [_("A failover of it is running: %s.") % row.held_by]
        since = {"name": row.cluster.name, "since": duration(self.now - row.state_since)}
        match row.state:
            case "AWAITING_AUTHORIZATION":
                return [_("It has been waiting to be authorized on %(name)s for at least %(since)s.") % since]
            case "DISCONNECTED":
                return [_("Nothing is replicated: it has been disconnected for at least %(since)s.") % since]
            case "ENDED":
                return [_("It has ended. Nothing is replicated any more.")]
            case state if state in ACTIVE_STATES:
                return [f"{_(ACTIVE_STATES[state])}."]
            case "ESTABLISHED":
                return []
        return [_("Its state is not known to this desk: %s.") % shown(row.state)]

    def _lag(self) -> list[str]:
        row, age = self.row, read_age(self.row, self.now)
        if row.state not in ("ESTABLISHED", *ACTIVE_STATES):
            return []
        if age is None:
            return [_("No job has ever succeeded: there is nothing to go back to.")]
        if self.shown.age.late and not self.shown.age.gauge:
            return [_("Its recovery point lies in the future: a clock is wrong, and its age is not known.")]
        if age <= row.objective_time:
            return []
        return [_("The recovery point is %.1f × its objective.") % (age / row.objective_time)]

    def _jobs(self) -> list[str]:
        row = self.row
        found = []
        if self.stalled is not None:
            found.append(_("The running job has copied nothing for %s.") % duration(self.stalled))
        if row.failed_jobs > 1:
            found.append(_("The last %d jobs failed.") % row.failed_jobs)
        elif row.failed_jobs or row.error:
            found.append(_("The last job failed."))
        if self.status.replication_enabled is False:
            found.append(_("Automatic replication is off."))
        return found

    @property
    def stalled(self) -> timedelta | None:
        since = self.row.stalled_since
        lasted = self.now - since if since else timedelta()
        return lasted if lasted >= settings.STALLED_AFTER else None

    # ── Recovery point ──

    @cached_property
    def chart(self) -> chart.Chart | None:
        row = self.row
        start = self.now - chart.RANGES[self.span]
        points = row.recovery_points.order_by("seen_at", "pk")
        before = points.filter(seen_at__lte=start).order_by("-seen_at", "-pk")[:1]
        known = [*before, *points.filter(seen_at__gt=start)]
        until = (row.read_at or self.now) if self.stale else self.now
        return chart.draw(
            [chart.Point(point.at, point.seen_at) for point in known],
            current=row.recovery_point_at,
            span=self.span,
            now=self.now,
            until=until,
            objective=row.objective_time,
        )

    @property
    def chart_words(self) -> str:
        """What the chart shows, for whoever does not see it."""
        drawn = self.chart
        if drawn is None:
            return ""
        values = {
            "span": self.span_words,
            "age": duration(drawn.age),
            "most": duration(drawn.most),
            "goal": duration(self.row.objective),
        }
        return (
            _("Recovery point age over the last %(span)s: now %(age)s, at most %(most)s; the objective is %(goal)s.")
            % values
        )

    @property
    def span_words(self) -> str:
        return duration(chart.RANGES[self.span])

    @property
    def spans(self) -> list[tuple[str, str]]:
        return [(key, f"{key[:-1]} {key[-1]}") for key in chart.RANGES]

    @property
    def snapshot_differs(self) -> bool:
        """The snapshot is older than the job that carried it: then it is what a failover goes back to."""
        point, loss = self.row.recovery_point_at, self.row.loss_from
        return point is not None and loss is not None and loss < point

    # ── Job ──

    @property
    def reverting(self) -> bool:
        return self.row.state == "DISCONNECTING"

    @property
    def last_job(self) -> str:
        took = took_of(self.row.status)
        if took is None:
            return _("None yet")
        return (_("Failed after %s") if self.row.error else _("Succeeded in %s")) % duration(took)

    # ── Source side ──

    @cached_property
    def source_cluster(self) -> Cluster | None:
        return Cluster.objects.visible_to(self.user).filter(uuid=self.row.source_cluster_uuid).first()

    @cached_property
    def source(self) -> Source | None:
        """What the source cluster itself reports, when it is one of the clusters here."""
        if self.source_cluster is None:
            return None
        return self.source_cluster.sources.filter(relationship_id=self.row.relationship_id).first()

    # ── What was seen, what was done ──

    @property
    def events(self) -> list[Line]:
        """Newest first. A change of health gets its silhouette."""
        most = EVENTS_ALL if self.all_events else EVENTS_FIRST
        return [Line(event.at, event.words, event.detail, event.grade) for event in self.row.events.all()[:most]]

    @property
    def operations(self) -> list[Operation]:
        rows = Failover.objects.visible_to(self.user).filter(relationship=self.row.pk)
        rows = rows.select_related("request", "relationship__cluster")
        return [_operation(failover) for failover in rows.prefetch_related("request__decisions").order_by("-pk")[:10]]

    @property
    def connected_from(self) -> str:
        """`10.20.4.11, port 3712`; "" when the cluster does not tell."""
        address, port = shown(self.status.source_address or ""), self.status.source_port
        if address and port is not None:
            return _("%(address)s, port %(port)d") % {"address": address, "port": port}
        return address

    @property
    def paths(self) -> tuple[str, str]:
        return path_shown(self.row.source_root_path), path_shown(self.row.target_root_path)


_KINDS = {
    State.SUCCEEDED: "good",
    State.REFUSED: "critical",
    State.STOPPED: "warning",
    State.CLOSED: "unknown",
    State.EXPIRED: "inactive",
    State.REJECTED: "inactive",
    State.CANCELLED: "inactive",
}


def _operation(failover: Failover) -> Operation:
    state, asked = State(failover.state), failover.request
    words = failover.get_state_display()
    if state is State.SUCCEEDED and failover.ended_at and failover.sent_at:
        words = _("writable after %s") % duration(failover.ended_at - failover.sent_at)
    approved = [vote.person_label for vote in asked.decisions.all() if vote.verdict == "approve"]
    detail = f"{asked.made_at:%Y-%m-%d}, {asked.requester_label}"
    if approved:
        detail += _(", approved by %s") % ", ".join(approved)
    href, kind = page_of(failover.number), _KINDS.get(state, "active")
    return Operation(failover.number, href, kind, words, detail, asked)
