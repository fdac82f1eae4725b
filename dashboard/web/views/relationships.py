"""The list of all target relationships of all clusters, worst first.

Everything that narrows the list stands in its URL. What is live is one table, and around it the counters, the clusters
and the banners, which come in the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.models import User
from dashboard.accounts.people import may_see_audit
from dashboard.accounts.roles import Role
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web import banners
from dashboard.web.filters import PAGE, Filter
from dashboard.web.guards import signed_in
from dashboard.web.live import cached_seen, live_answer
from dashboard.web.overview import Counts, Overview, Poll, overview
from dashboard.web.rows import rows_of, shown
from dashboard.web.templatetags.desk import STATE_WORDS, count, health_word

CADENCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One link of the strip."""

    key: str
    word: str
    count: int
    href: str
    health: str
    shape: str
    current: bool
    gap: bool = False


@require_safe
def relationships(request: HttpRequest) -> HttpResponse:
    chosen = Filter.of(request.GET)
    user = signed_in(request)
    context = _context(chosen, overview(user, chosen), user=user)
    selects = _selects(chosen, context["clusters"], user)
    context |= {"section": "relationships", "kept": _kept(chosen), "selects": selects}
    return render(request, "relationships/list.html", context)


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The table and the small parts around it. The search field asks here, too, without a `seen`: what it asks for then
    becomes the address of the page."""
    chosen = Filter.of(request.GET)
    asked: list[Overview] = []

    def ask() -> str:
        asked.append(overview(user, chosen))
        return asked[0].poll.dump()

    def render_parts() -> str:
        found = asked[0] if asked else overview(user, chosen)
        return render_to_string("relationships/_live.html", _context(chosen, found, user=user, heard=heard))

    user = signed_in(request)
    heard = request.GET.get("banners", "")
    poll = Poll.load(cached_seen(user, f"relationships{chosen.but().query}", ask))
    answer = live_answer(
        request,
        region=f"relationships{chosen.query} {heard}",
        seen=poll.seen,
        render=render_parts,
        observed_age=poll.observed_age,
        above=poll.notices,
    )
    for name, value in poll.headers().items():
        answer[name] = value
    if "seen" not in request.GET:
        answer["HX-Replace-Url"] = _at(chosen)
    return answer


# ── What the templates are given ─────────────────────────────────────────────


def _context(chosen: Filter, found: Overview, *, user: User, heard: str | None = None) -> dict[str, Any]:
    """`user` decides by roles alone what is offered: whoever has the same roles is given the same rendering. `heard`:
    the version of the banners that the browser has; None: the page is made anew."""
    rows, later = chosen.page(user)
    standing = banners.banners(found.clusters, found.now)
    version = banners.version(standing)
    return {
        "chosen": chosen,
        "clusters": found.clusters,
        "counts": found.counts,
        "counters": _counters(chosen, found.counts),
        "banners": None if heard == version else standing,
        "banners_version": version,
        "rows": rows_of(rows, found.now, user),
        "heads": _heads(chosen),
        "caption": _caption(len(rows), chosen, found.counts),
        "empty": _empty(chosen, found, user),
        "earlier": _at(chosen.but()) if chosen.after else "",
        "later": _at(chosen.but(after=later)) if later else "",
        "page_size": PAGE,
        "may_ask": user.has(Role.OPERATOR),
        "audit": reverse("audit") if may_see_audit(user) else "",
        "live_url": reverse("relationships-live") + chosen.query,
        "seen": found.seen,
        "cadence": CADENCE,
        "sprite": static("img/icons.svg"),
        "words": _words(),
    }


def _at(chosen: Filter) -> str:
    return reverse("relationships") + chosen.query


def _counters(chosen: Filter, counts: Counts) -> list[Counter]:
    """Health first, worst first; then what people do. Each shows the whole fleet's number and leads to its rows."""
    narrowed = chosen.health or chosen.approval or chosen.failover or chosen.access
    found = [
        Counter(
            key="all", word=_("All"), count=counts.all, href=_at(Filter()), health="", shape="", current=not narrowed
        )
    ]
    for grade in Grade:
        only = Filter(health=grade.value)
        found.append(
            Counter(
                key=grade.value,
                word=health_word(grade.value),
                count=counts.by_grade[grade.value],
                href=_at(only),
                health=grade.value,
                shape=f"h-{grade.value}",
                current=chosen.health == grade.value,
            )
        )
    people = (
        ("approval", "pending", _("Awaiting approval"), counts.waiting, "active", "i-two"),
        ("failover", "running", _("Failover running"), counts.running, "active", "h-active"),
        ("access", "writable", _("Writable targets"), counts.writable, "normal", "i-open"),
    )
    for name, value, word, number, health, shape in people:
        found.append(
            Counter(
                key=name,
                word=word,
                count=number,
                href=_at(Filter(**{name: value})),
                health=health,
                shape=shape,
                current=getattr(chosen, name) == value,
                gap=name == "approval",
            )
        )
    return found


def _heads(chosen: Filter) -> list[dict[str, str]]:
    heads = (
        ("", _("Health")),
        ("state", _("Replication state")),
        ("target", _("Source and target")),
        ("rpo", _("Recovery point age")),
    )
    direction = {"": "descending", "rpo": "descending"}
    found = [
        {
            "word": word,
            "href": _at(chosen.but(sort=sort)),
            "sorted": direction.get(sort, "ascending") if chosen.sort == sort else "",
        }
        for sort, word in heads
    ]
    return [*found, {"word": _("Job and last error"), "href": "", "sorted": ""}]


def _caption(number: int, chosen: Filter, counts: Counts) -> str:
    order = {
        "": _("worst first"),
        "state": _("by state"),
        "target": _("by target"),
        "rpo": _("oldest recovery point first"),
    }[chosen.sort]
    words = _("%(number)s of %(all)s relationships, %(order)s.")
    if chosen.narrows and counts.shown != number:
        words = _("%(number)s of %(shown)s that match, of %(all)s relationships, %(order)s.")
    gauge = _("Gauge: age of the recovery point from 0 to twice its objective; the mark is the objective.")
    numbers = {"number": count(number), "shown": count(counts.shown), "all": count(counts.all), "order": order}
    return f"{words % numbers} {gauge}"


def _empty(chosen: Filter, found: Overview, user: User) -> dict[str, str]:
    if not found.clusters and user.scope is not None:
        return {
            "title": _("There is nothing that you may see"),
            "text": _("Your roles are limited to %s, which is not here. An admin can change them.")
            % ", ".join(sorted(user.scope)),
        }
    if not found.clusters:
        return {
            "title": _("No clusters yet"),
            "text": _("Add a cluster and a read-only token to see its target relationships: manage.py cluster add"),
        }
    if chosen.q:
        return {
            "title": _("No relationship matches"),
            "text": _("Nothing has “%s” in its path, clusters, error or ID.") % chosen.q,
            "href": _at(chosen.but(q="")),
            "label": _("Clear the search"),
        }
    if chosen.narrows or chosen.after:
        return {
            "title": _("No relationship matches"),
            "text": _("Right now none is like this."),
            "href": _at(Filter()),
            "label": _("Show all"),
        }
    if not found.poll.ages:
        return {"title": _("Nothing read yet"), "text": _("The first reading of a cluster takes a few seconds.")}
    return {"title": _("No target relationships"), "text": _("The clusters here are the target of none.")}


def _words() -> dict[str, str]:
    """Said in each row, translated once."""
    return {
        "writable": _("Writable"),
        "read_only": _("Read-only"),
        "progress": _("Job progress"),
        "fail_over": _("Fail over…"),
        "more": _("More actions for"),
        "details": _("Show details"),
        "audit": _("Show in audit trail"),
        "copy": _("Copy target path"),
        "copied": _("Copied"),
        "by_hand": _("Copy this:"),
        "break_glass": _("Break-glass"),
        "drill": _("Drill"),
    }


def _kept(chosen: Filter) -> list[tuple[str, str]]:
    """What the search form carries along without showing it."""
    names = ("health", "approval", "failover", "access", "sort")
    return [(name, getattr(chosen, name)) for name in names if getattr(chosen, name)]


def _selects(chosen: Filter, clusters: list[Cluster], user: User) -> list[dict[str, Any]]:
    rows = Relationship.objects.visible_to(user).listed()
    sources = rows.order_by("source_cluster_name").values_list("source_cluster_name", flat=True)
    options = {
        "state": (_("State"), _("Any state"), [(state, _(word)) for state, word in STATE_WORDS.items()]),
        "cluster": (_("Target cluster"), _("Any target cluster"), [(c.name, c.name) for c in clusters]),
        "source": (_("Source cluster"), _("Any source"), [(name, name) for name in map(shown, sources.distinct())]),
    }
    return [
        {"name": name, "label": label, "any": any_, "options": found, "value": getattr(chosen, name)}
        for name, (label, any_, found) in options.items()
    ]
