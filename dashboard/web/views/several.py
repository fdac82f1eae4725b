"""A site is down: choosing many relationships, and asking for all of them at once.

Both pages stand still, because a box that moves away under the finger ticks another one; they say since when. What is
chosen stands in the URL, so that it can be sent to somebody, and nothing of it is kept here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts.roles import Role
from dashboard.database import database_now
from dashboard.failovers import asking, preflight, reading
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.preflight import Check, Situation, Verdict
from dashboard.failovers.reading import Loss
from dashboard.fleet.jobs import Estimate
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web import forms
from dashboard.web.course import listed
from dashboard.web.filters import Filter
from dashboard.web.forms import Line
from dashboard.web.guards import kept, not_for, record_refusal, requires, signed_in
from dashboard.web.rows import can_fail_over, rows_of, shown
from dashboard.web.views.asking import ask, asked_before, form_context, mode_of
from dashboard.words import bare, to_type

LISTED = 500


# ── Choosing ─────────────────────────────────────────────────────────────────


@require_safe
@requires(Role.OPERATOR)
def select(request: HttpRequest) -> HttpResponse:
    """The list, as it is at one moment, with a box at each. What is ticked stays ticked while somebody filters."""
    user, now, chosen = signed_in(request), database_now(), Filter.of(request.GET)
    ticked = {row.pk: row for row in _rows(request, _keys(request))}
    found = Relationship.objects.visible_to(user).listed().select_related("cluster").worst_first()
    source = request.GET.get("all", "").replace("\0", "")
    if source:
        ticked |= {row.pk: row for row in found.filter(Filter(source=source).condition()) if _may(request, row)}
    rows = list(found.filter(chosen.condition())[: LISTED + 1])
    here = {row.pk for row in rows[:LISTED]}
    away = [row for pk, row in ticked.items() if pk not in here]
    possible = Counter(shown(row.source_cluster_name) for row in rows if _may(request, row))
    context = {
        "section": "relationships",
        "chosen": chosen,
        "rows": rows_of(rows[:LISTED], now, user),
        "away": rows_of(away, now, user),
        "ticked": ticked.keys(),
        "count": len(ticked),
        "most": asking.MOST,
        "too_many": len(ticked) > asking.MOST,
        "sources": sorted((name, n) for name, n in possible.items() if n > 1),
        "more": len(rows) > LISTED,
        "listed": LISTED,
        "clusters": list(Cluster.objects.visible_to(user).values_list("name", flat=True)),
        "all_sources": sorted(set(map(shown, found.values_list("source_cluster_name", flat=True)))),
        "now": now,
    }
    return render(request, "failovers/select.html", context, status=422 if context["too_many"] else 200)


def _may(request: HttpRequest, row: Relationship) -> bool:
    return can_fail_over(row) and signed_in(request).has(Role.OPERATOR, row.cluster.name)


def _keys(request: HttpRequest) -> list[int]:
    return list(dict.fromkeys(int(text) for text in request.GET.getlist("r") if text.isdecimal() and len(text) < 18))


def _rows(request: HttpRequest, keys: list[int]) -> list[Relationship]:
    """Those of these keys, in their order. Raises Http404 when one of them is not there for this person."""
    user, named = signed_in(request), Relationship.objects.filter(pk__in=keys)
    found = {row.pk: row for row in named.visible_to(user).select_related("cluster")}
    if len(found) < len(set(keys)):
        raise not_for(user, named.exclude(pk__in=found))
    return [found[key] for key in keys]


# ── Asking ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of the form. `wrong`: the sentence at its place."""

    row: Relationship
    line: Line
    situation: Situation
    loss: Loss
    bytes: Estimate | None
    checks: list[Check]
    typed: str
    wrong: str

    @property
    def blocked(self) -> bool:
        return bool(preflight.blocks(self.checks))

    @property
    def worst(self) -> Check | None:
        return next((check for check in self.checks if check.verdict in (Verdict.BLOCK, Verdict.WARN)), None)

    @property
    def others(self) -> list[Check]:
        return [check for check in self.checks if check is not self.worst]

    @property
    def bad(self) -> int:
        """How many of the others are no pass."""
        return sum(check.verdict in (Verdict.BLOCK, Verdict.WARN) for check in self.others)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.OPERATOR)
def fail_over_several(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _ask(request)
    typed = kept(request)
    if typed:
        lines = forms.lines_of(typed, lambda name: typed.get(name, ""))
        rows = _rows(request, [line.pk for line in lines])
        return _page(request, rows, lines, typed, nonce=forms.nonce_of(typed) or uuid4(), signed_out=True)
    rows = _rows(request, _keys(request))
    if not rows or len(rows) > asking.MOST:
        return select(request) if rows else redirect("select")
    if len(rows) == 1:
        address = reverse("fail-over", args=(rows[0].cluster.name, rows[0].relationship_id))
        again = forms.number_of(request.GET.get("again", ""))
        return redirect(f"{address}?again=FO-{again}" if again else address)
    return _page(request, rows, [], asked_before(request, rows), nonce=uuid4())


def _ask(request: HttpRequest) -> HttpResponse:
    form = forms.AskSeveral.of(request.POST)
    rows = _rows(request, [line.pk for line in form.lines])
    typed = form.ask.kept
    if form.look:
        return _page(request, rows, form.lines, typed, nonce=form.ask.nonce)
    try:
        made = ask(request, rows, _ordered(rows, form.lines), form.ask)
    except Refused as refused:
        record_refusal(request, refused, object=_several(form.lines))
        return _page(request, rows, form.lines, typed, nonce=form.ask.nonce, error=refused)
    return HttpResponse(status=303, headers={"Location": reverse("failover", args=(made.number,))})


def _several(lines: list[Line]) -> str:
    return f"{sum(line.taken for line in lines)} relationships"


def _ordered(rows: list[Relationship], lines: list[Line]) -> list[Relationship]:
    """Those whose boxes are on, by their places; of two at the same place, the one that stands first."""
    taken = [(row, line) for row, line in zip(rows, lines, strict=True) if line.taken]
    for row, line in taken:
        if not line.place:
            name = f"{row.cluster.name}:{bare(row.target_root_path)}"
            raise Refused(f"The place of {name} is not a number from 1 to 999.", field=f"order-{row.pk}")
    return [row for row, _line in sorted(taken, key=lambda pair: pair[1].place)]


def _page(
    request: HttpRequest,
    rows: list[Relationship],
    lines: list[Line],
    typed: dict[str, str],
    *,
    nonce: UUID,
    error: Refused | None = None,
    signed_out: bool = False,
) -> HttpResponse:
    mode = mode_of(typed.get("mode", ""))
    choices = _choices(request, rows, lines, mode, error)
    taken = [choice for choice in choices if choice.line.taken]
    on = [choice.row for choice in taken]
    context = form_context(request, on or rows, nonce) | {
        "section": "relationships",
        "choices": choices,
        "taken": len(taken),
        "blocked": sum(choice.blocked for choice in choices),
        "targets": listed(sorted({row.cluster.name for row in rows})),
        "sources": listed(sorted({shown(row.source_cluster_name) for row in rows})),
        "losses": [choice.loss for choice in taken if choice.loss.kind == "lost"],
        "worst": max(taken, key=_loses, default=None),
        "expected": reading.expected_typing(on) if on else "",
        "mode": mode,
        "typed": typed,
        "error": error,
        "signed_out": signed_out,
        "select_url": f"{reverse('select')}?" + "&".join(f"r={row.pk}" for row in on),
        "now": database_now(),
    }
    return render(request, "failovers/several.html", context, status=422 if error else 200)


def _choices(
    request: HttpRequest, rows: list[Relationship], lines: list[Line], mode: str, error: Refused | None
) -> list[Choice]:
    """Without lines: as the page is first shown, with the boxes off of those that a check blocks."""
    user, now, around = signed_in(request), database_now(), reading.Around(rows)
    found = []
    for place, row in enumerate(rows, start=1):
        situation = reading.situation(row, now=now, user=user, around=around, mode=mode)
        checks = preflight.judge(situation)
        free = not preflight.blocks(checks)
        line = lines[place - 1] if lines else Line(pk=row.pk, order=str(place), taken=free)
        found.append(
            Choice(
                row=row,
                line=line,
                situation=situation,
                loss=(loss := reading.loss(situation)),
                bytes=reading.in_bytes(row, loss),
                checks=checks,
                typed=to_type(row.cluster.name, row.target_root_path, ambiguous=False),
                wrong=error.words if error and error.field == f"order-{row.pk}" else "",
            )
        )
    return found


def _loses(choice: Choice) -> tuple[bool, Any]:
    length = choice.loss.length
    return choice.loss.kind == "unknown", length.total_seconds() if length else 0
