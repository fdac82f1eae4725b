"""Holds: everybody reads what is held and why; approvers and admins hold, with a reason and nothing else in the way;
admins lift, on a page that says first what expires by it. The verbs are in `failovers.holds`.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit.chain import SYSTEM
from dashboard.failovers import holds, said
from dashboard.failovers.lifecycle import Refused, Stale
from dashboard.failovers.models import Failover, Hold
from dashboard.fleet.models import Cluster
from dashboard.web import confirm, forms
from dashboard.web.guards import actor, kept, record_refusal, requires, signed_in
from dashboard.words import visible

_RECENT = 20
EVERYWHERE = "*"  # in the form, where an empty field would be one that was forgotten; no cluster has such a name


@dataclass(frozen=True, slots=True)
class Held:
    """A scope with the holds that stand on it."""

    scope: str
    holds: list[Hold]

    @property
    def lift_at(self) -> str:
        return reverse("hold-lift-cluster", args=(self.scope,)) if self.scope else reverse("hold-lift")


@require_http_methods(["GET", "HEAD", "POST"])
def holds_list(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _hold(request)
    typed = kept(request)
    return _page(request, typed=typed, signed_out=bool(typed))


@requires(Role.APPROVER, Role.ADMIN)
def _hold(request: HttpRequest) -> HttpResponse:
    form = forms.read(request.POST, ["scope", "reason"])
    user = signed_in(request)
    try:
        scope = _chosen(form["scope"], user)
        holds.hold_once(actor=actor(request), scope=scope, reason=form["reason"], user=user)
    except Refused as refused:
        record_refusal(request, refused, object=f"hold:{visible(form['scope'])[:64]}")
        return _page(request, typed=form, error=refused)
    return _see(reverse("holds"))


def _chosen(scope: str, user: User) -> str:
    if scope == EVERYWHERE:
        return ""
    if not Cluster.objects.visible_to(user).filter(name=scope).exists():
        raise Refused("Choose what to hold.", field="scope", tag="hold.refused")
    return scope


def _page(
    request: HttpRequest, *, typed: dict[str, str], error: Refused | None = None, signed_out: bool = False
) -> HttpResponse:
    user = signed_in(request)
    seen = Hold.objects.visible_to(user)
    found: dict[str, list[Hold]] = {}
    for hold in seen.standing():
        found.setdefault(hold.scope, []).append(hold)
    context = {
        "section": "holds",
        "held": [Held(scope, each) for scope, each in sorted(found.items())],
        "lifted": seen.filter(lifted_at__isnull=False).order_by("-lifted_at", "-pk")[:_RECENT],
        "may_lift": holds.may_lift(user),
        "everywhere": EVERYWHERE if holds.may_hold(user, "") else "",
        "clusters": _clusters(user),
        "typed": typed,
        "error": error,
        "signed_out": signed_out,
    }
    return render(request, "holds/list.html", context, status=422 if error else 200)


def _clusters(user: User) -> list[str]:
    """Names of those that this person may hold."""
    names = Cluster.objects.visible_to(user).order_by("name").values_list("name", flat=True)
    return [name for name in names if holds.may_hold(user, name)]


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def hold_lift(request: HttpRequest, cluster: str = "") -> HttpResponse:
    """Of one cluster, or of everything ("")."""
    standing = list(holds.standing(cluster))
    if cluster and not standing and not Cluster.objects.filter(name=cluster).exists():
        raise Http404
    if request.method == "POST":
        return _lift(request, cluster)
    typed = kept(request)
    return _lift_page(request, cluster, typed=typed, signed_out=bool(typed))


def _lift(request: HttpRequest, scope: str) -> HttpResponse:
    form = forms.read(request.POST, ["seen", "reason", *confirm.FIELDS])
    try:
        said.reason(form["reason"], tag="hold.refused")  # before the proof is spent: who mistypes confirms once
        proof = confirm.prove(request, "lift", _bound(scope, form["seen"]))
        seen = [int(each) for each in form["seen"].split() if each.isdecimal()]
        holds.lift(
            actor=actor(request),
            scope=scope,
            reason=form["reason"],
            user=signed_in(request),
            seen=seen,
            auth=proof.words,
        )
    except Refused as refused:
        record_refusal(request, refused, object=f"hold:{scope or 'all'}")
        return _lift_page(request, scope, typed=form, error=refused)
    return _see(reverse("holds"))


def _lift_page(
    request: HttpRequest, scope: str, *, typed: dict[str, str], error: Refused | None = None, signed_out: bool = False
) -> HttpResponse:
    standing = list(holds.standing(scope))
    seen = " ".join(str(hold.pk) for hold in standing)
    waiting = list(holds.waiting(scope).order_by("request", "position"))
    context = {
        "section": "holds",
        "scope": scope,
        "standing": standing,
        "own": any(hold.by == SYSTEM.label for hold in standing),
        "seen": seen,
        "waiting": waiting,
        "requests": _numbers(waiting),
        "others": Hold.objects.standing().exclude(scope=scope),
        "typed": typed,
        "error": error,
        "signed_out": signed_out,
        "confirm": confirm.offer(request, "lift", _bound(scope, seen)),
    }
    status = 200 if error is None else 409 if isinstance(error, Stale) else 422
    return render(request, "holds/lift.html", context, status=status)


def _bound(scope: str, seen: str) -> str:
    """What a confirmation is for: these holds, as the page showed them."""
    return f"{scope or EVERYWHERE} {seen}"


def _numbers(waiting: list[Failover]) -> list[str]:
    """Of the requests that expire, each once."""
    return list(dict.fromkeys(failover.request.number for failover in waiting))


def _see(address: str) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": address})
