"""The one page that a failover has for its whole life, and what people decide on it.

A GET decides nothing. A verb that says no brings the page back with what was typed and its one sentence, and leaves a
refusal in the ledger; one that came second is answered with 409 and the page of now. Success is shown only in the state
that two readings of the cluster lead to.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard.accounts.roles import Role
from dashboard.failovers import closing, conduct
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.failovers.models import Decision, Failover
from dashboard.fleet.models import Observation
from dashboard.web import forms, parts
from dashboard.web.course import Course
from dashboard.web.guards import actor, kept, not_for, post_only, record_refusal, requires, signed_in
from dashboard.web.live import cached_seen, live_answer, pulse

_AGES_AFTER = 10  # seconds after which an open failover is told anew, because time alone may have changed its words


@require_safe
def failover(request: HttpRequest, number: str) -> HttpResponse:
    typed = kept(request)
    return _page(request, _course(request, number), typed=typed, signed_out=bool(typed))


@require_safe
def failover_live(request: HttpRequest, number: str) -> HttpResponse:
    asked: list[Course] = []

    def ask() -> str:
        asked.append(_course(request, number))
        return _seen(asked[0])

    def render_parts() -> str:
        return make(request, course, seen)

    user = signed_in(request)
    seen = cached_seen(user, f"failover {number}", ask)
    if request.GET.get("seen") != seen:
        course = asked[0] if asked else _course(request, number)
        same_shape = request.GET.get("shape") == parts.shape(course)
        make = parts.changes if same_shape else parts.whole
    answer = live_answer(request, region="", seen=seen, render=render_parts, observed_age=pulse(user).age, shared=False)
    if answer.status_code == 200 and not same_shape:
        # It has come to another stage, with other forms: the whole page changes, not its parts.
        answer["HX-Retarget"], answer["HX-Reswap"] = "#failover", "outerHTML"
    return answer


def _course(request: HttpRequest, number: str) -> Course:
    """One query for everything that `_seen` needs. Raises Http404 for a number that was never given, or
    that this person may not see."""
    readings = Observation.objects.filter(relationship=OuterRef("relationship"), held_by=number)
    votes = Decision.objects.filter(request=OuterRef("request"))
    rows = Failover.objects.select_related("request__requester", "relationship__cluster").annotate(
        now=Now(),
        last_reading=Subquery(readings.order_by("-at", "-pk").values("pk")[:1]),
        last_vote=Subquery(votes.order_by("-pk").values("pk")[:1]),
    )
    user, named = signed_in(request), rows.filter(request=forms.number_of(number), position=0)
    found = named.visible_to(user).first()
    if found is None:
        raise not_for(user, named)
    now: datetime = found.now  # type: ignore[attr-defined]  # annotated
    deadline = {State.REQUESTED: found.request.decide_by, State.APPROVED: found.run_by}.get(State(found.state))
    if deadline is not None and deadline <= now and conduct.expire_due(now):
        found = rows.get(pk=found.pk)  # whoever reads it first ends what is too late
    return Course(found, user, now)


def _seen(course: Course) -> str:
    """The version of all that the page shows, without reading it: rows, votes, readings. What time alone changes is at
    most ten seconds old while the failover is open."""
    f = course.failover
    row, cluster = f.relationship, f.relationship.cluster
    shown = [f.version, f.last_vote, f.last_reading, row.version, cluster.version, cluster.last_read_at]  # type: ignore[attr-defined]  # annotated
    return parts.digest(repr([*shown, int(course.now.timestamp()) // _AGES_AFTER]))


def _page(
    request: HttpRequest,
    course: Course,
    *,
    error: Refused | None = None,
    typed: dict[str, str] | None = None,
    status: int = 200,
    signed_out: bool = False,
) -> HttpResponse:
    section = "approvals" if course.state is State.REQUESTED else "relationships"
    context = parts.context(request, course, _seen(course))
    context |= {"error": error, "typed": typed or {}, "section": section, "signed_out": signed_out}
    return render(request, "failovers/page.html", context, status=status)


# ── The verbs ────────────────────────────────────────────────────────────────


@post_only
@requires(Role.APPROVER)
def decide(request: HttpRequest, number: str) -> HttpResponse:
    """Approve or reject. Facts that changed since the request must have been shown and ticked."""
    course, form = _course(request, number), forms.Decide.of(request.POST)
    user, who = signed_in(request), actor(request)
    pk, said = course.asked.pk, {"digest": form.digest, "comment": form.comment, "auth": "password"}
    try:
        if form.verdict == "approve":
            changed = form.changed if form.seen else ""
            conduct.approve(user=user, actor=who, request_pk=pk, changed=changed, **said)
        else:
            conduct.reject(user=user, actor=who, request_pk=pk, **said)
    except Refused as refused:
        return _refused(request, course, refused, {"comment": form.comment})
    return _see(number)


@post_only
def cancel(request: HttpRequest, number: str) -> HttpResponse:
    course = _course(request, number)
    forms.read(request.POST)
    try:
        conduct.cancel(user=signed_in(request), actor=actor(request), request_pk=course.asked.pk)
    except Refused as refused:
        return _refused(request, course, refused)
    return _see(number)


@post_only
@requires(Role.APPROVER)
def close(request: HttpRequest, number: str) -> HttpResponse:
    course, form = _course(request, number), forms.Close.of(request.POST)
    try:
        closing.close(
            user=signed_in(request),
            actor=actor(request),
            failover_pk=course.failover.pk,
            outcome=form.outcome,
            reason=form.reason,
        )
    except Refused as refused:
        return _refused(request, course, refused, {"reason": form.reason})
    return _see(number)


def _see(number: str) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": reverse("failover", args=(number,))})


def _refused(
    request: HttpRequest, course: Course, refused: Refused, typed: dict[str, str] | None = None
) -> HttpResponse:
    """The page of now with the sentence; what was typed is kept where its form still stands."""
    number = course.failover.number
    record_refusal(request, refused, object=number)
    status = 409 if isinstance(refused, Stale) else 422
    return _page(request, _course(request, number), error=refused, typed=typed, status=status)
