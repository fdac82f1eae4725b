"""One cause, one alarm: a cluster that cannot be read is one banner, not one alarm for each of its relationships.

Banners are read aloud when they appear, so they may be swapped only when they say something else. What passes by itself
(how long, next try in) is written by the browser and is no part of what a banner says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from dashboard.fleet.models import Cluster, Trouble
from dashboard.fleet.sample import SKEW_SHOWN
from dashboard.web.filters import Filter
from dashboard.web.overview import digest, until_next_try
from dashboard.words import duration, visible

_SILENT_APART = 3  # more silent clusters than these have one cause that lies elsewhere: one banner


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """`title` and `text` are sentences; `since` is written between them with its length, `next_try` ticks at the end.
    `name` is the cluster that can be asked again, "" when that is no use."""

    health: str
    title: str
    text: str
    since: datetime | None = None
    name: str = ""
    next_try: datetime | None = None
    href: str = ""
    label: str = ""
    lines: tuple[str, ...] = ()

    @property
    def shape(self) -> str:
        return f"h-{self.health}"


def banners(clusters: Sequence[Cluster], now: datetime) -> list[Banner]:
    """`clusters` carry `listed`, the number of their relationships. Worst first: unknown before warning."""
    silent = [
        cluster for cluster in clusters if cluster.silent and cluster.trouble in (Trouble.NONE, Trouble.UNREACHABLE)
    ]
    together = [_many(silent)] if len(silent) > _SILENT_APART else []
    alone = [] if together else silent
    found = [banner for cluster in clusters for banner in _of(cluster, now, silent=cluster in alone)]
    return sorted([*together, *found], key=lambda banner: banner.health)


def version(found: list[Banner]) -> str:
    """Equal while the banners say the same."""
    return digest([(b.health, b.title, b.text, b.since, b.lines) for b in found])


def _many(silent: list[Cluster]) -> Banner:
    return Banner(
        health="unknown",
        title=_("%d clusters do not answer.") % len(silent),
        text=", ".join(cluster.name for cluster in silent)
        + ". "
        + _("Their relationships show what was last reported. They cannot be failed over until their cluster answers."),
        href=Filter(health="unknown").query,
        label=_("Show what is unknown"),
    )


def _of(cluster: Cluster, now: datetime, *, silent: bool) -> Iterator[Banner]:
    if silent:
        yield _silent(cluster, now)
    elif cluster.trouble in _TROUBLES and (cluster.silent or cluster.trouble != Trouble.NONSENSE):
        title, text = _TROUBLES[Trouble(cluster.trouble)]
        words = (visible(cluster.trouble_words), _(text) if text else "", _rows(cluster))
        yield _troubled(cluster, now, _(title) % cluster.name, " ".join(filter(None, words)))
    if cluster.executor_trouble:
        yield Banner(
            health="warning",
            title=_("%s refuses the executor token: no failover to it can start.") % cluster.name,
            text=visible(cluster.executor_trouble),
        )
    if cluster.clock_ahead is not None and abs(cluster.clock_ahead) > SKEW_SHOWN:
        apart = duration(round(abs(cluster.clock_ahead) / 60) * 60)  # in minutes: it must not change with each reading
        yield Banner(
            health="warning",
            title=_("The clocks of %(name)s and this desk differ by %(apart)s.")
            % {"name": cluster.name, "apart": apart},
            text=_("How old its recovery points are is not known exactly."),
        )
    if cluster.node_state not in ("", "ACTIVE"):
        yield Banner(
            health="warning",
            title=_("The node of %(name)s that answers is %(state)s.")
            % {"name": cluster.name, "state": visible(cluster.node_state)},
            text=_("Failovers to it may be requested; it may not act at once."),
        )
    if cluster.unreadable_rows:
        lines = tuple(visible(line) for line in cluster.unreadable_rows.splitlines())
        titles = ("%s lists a relationship that cannot be read.", "%s lists relationships that cannot be read.")
        yield Banner(
            health="unknown",
            title=ngettext(*titles, len(lines)) % cluster.name,
            text=_("They are not in this list."),
            lines=lines,
        )


def _silent(cluster: Cluster, now: datetime) -> Banner:
    since = cluster.last_read_at or cluster.added_at
    title = _("%s has not answered since") if cluster.last_read_at else _("%s has never answered. It was added at")
    words = (_rows(cluster), _("They cannot be failed over until it answers.") if _listed(cluster) else "")
    return _troubled(cluster, now, title % cluster.name, " ".join(filter(None, words)), since)


def _troubled(cluster: Cluster, now: datetime, title: str, text: str, since: datetime | None = None) -> Banner:
    listed = _listed(cluster)
    return Banner(
        health="unknown",
        title=title,
        text=text,
        since=since,
        name=cluster.name,
        next_try=now + until_next_try(cluster, now),
        href=Filter(cluster=cluster.name).query if listed else "",
        label=ngettext("Show this one", "Show these %(n)d", listed) % {"n": listed},
    )


def _rows(cluster: Cluster) -> str:
    listed = _listed(cluster)
    if not listed:
        return ""
    words = ngettext(
        "Its relationship shows what it last reported.", "Its %(n)d relationships show what it last reported.", listed
    )
    return words % {"n": listed}


def _listed(cluster: Cluster) -> int:
    listed: int = cluster.listed  # type: ignore[attr-defined]  # annotated by overview
    return listed


_TROUBLES = {
    Trouble.SIGN_IN: (
        gettext_noop("%s refuses the sign-in of this dashboard."),
        gettext_noop("An admin can give it a new token: manage.py cluster change."),
    ),
    Trouble.CERTIFICATE: (
        gettext_noop("%s shows another certificate than the one registered."),
        gettext_noop("No token was sent to it."),
    ),
    Trouble.IDENTITY: (
        gettext_noop("Another cluster has answered for %s."),
        gettext_noop(
            "Nothing that it says is taken over, and nothing is sent to it, before an admin has made sure of it and "
            "registered it again: manage.py cluster change."
        ),
    ),
    Trouble.NONSENSE: (gettext_noop("%s answers what cannot be read."), ""),
}
