"""The one page that a request has for its whole life, and what people decide on it. A request with several failovers
has a page of all, and each of them its own.

A GET decides nothing. A verb that says no brings the page back with what was typed and its one sentence, and leaves a
refusal in the ledger; one that came second is answered with 409 and the page of now. Success is shown only in the state
that two readings of the cluster lead to.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.accounts.roles import Role
from dashboard.failovers import closing, conduct
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.failovers.models import Decision, Failover, Request, Review
from dashboard.fleet.models import Observation
from dashboard.web import confirm, forms, notices, parts
from dashboard.web.guards import actor, kept, not_for, post_only, record_refusal, requires, signed_in
from dashboard.web.live import cached_seen, live_answer, pulse
from dashboard.web.parts import Sheet
from dashboard.web.standing import STANDINGS
from dashboard.web.whole import Whole

_AGES_AFTER = 10  # seconds after which what is open is told anew, because time alone may have changed its words


@require_safe
def failover(request: HttpRequest, number: str, place: int = 0) -> HttpResponse:
    """`place`: of one among several, counted from 1."""
    typed = kept(request)
    return _page(request, _sheet(request, number, place), typed=typed, signed_out=bool(typed))


@require_safe
def failover_live(request: HttpRequest, number: str, place: int = 0) -> HttpResponse:
    user = signed_in(request)
    asked: list[Sheet] = []

    def ask() -> str:
        asked.append(_sheet(request, number, place))
        return _seen(asked[0])

    def render_parts() -> str:
        return make(request, sheet, seen)

    seen = cached_seen(user, f"failover {number}/{place}", ask)
    is_new = request.GET.get("seen") != seen
    if is_new:
        sheet = asked[0] if asked else _sheet(request, number, place)
        same_shape = request.GET.get("shape") == sheet.shape
        make = parts.changes if same_shape else parts.whole
    now = pulse(user)
    answer = live_answer(
        request, region="", seen=seen, render=render_parts, observed_age=now.age, shared=False, above=now.notices
    )
    if is_new and not same_shape:
        # It has come to another stage, with other forms: the whole page changes, not its parts.
        answer["HX-Retarget"], answer["HX-Reswap"] = "#failover", "outerHTML"
    return answer


def _sheet(request: HttpRequest, number: str, place: int = 0) -> Sheet:
    """One query. Raises Http404 for a number that was never given, and for one of clusters that this person may not
    see."""
    user, pk = signed_in(request), forms.number_of(number)
    votes, reviews = (
        Decision.objects.filter(request=OuterRef("request")),
        Review.objects.filter(request=OuterRef("request")),
    )
    readings = Observation.objects.filter(relationship=OuterRef("relationship"), at__gte=OuterRef("request__made_at"))
    rows = Failover.objects.visible_to(user).select_related("request__requester", "relationship__cluster")
    rows = rows.defer("request__facts_seen", "request__plan")  # long, the same in each row, and no poll needs them
    rows = (
        rows.filter(request=pk)
        .order_by("position")
        .annotate(
            now=Now(),
            last_reading=Subquery(readings.order_by("-at", "-pk").values("pk")[:1]),
            last_vote=Subquery(votes.order_by("-pk").values("pk")[:1]),
            last_review=Subquery(reviews.order_by("-pk").values("pk")[:1]),
            hold_acts=notices.facts(user)["hold_acts"],
        )
    )
    failovers = list(rows)
    if not failovers:
        raise not_for(user, Request.objects.filter(pk=pk))
    if place > len(failovers):
        raise Http404
    now: datetime = failovers[0].now  # type: ignore[attr-defined]  # annotated
    if any(_is_late(each, now) for each in failovers) and conduct.expire_due(now):
        failovers = list(rows.all())  # whoever reads it first ends what is too late
    asked = failovers[0].request
    for each in failovers:
        each.request = asked  # its plan is read once for all
    whole, only = Whole(asked, failovers, user, now), request.GET.get("only", "")
    course = whole.courses[max(place, 1) - 1] if place or not whole.many else None
    return Sheet(whole, course, only if only in STANDINGS and course is None else "")


def _is_late(failover: Failover, now: datetime) -> bool:
    deadline = {State.REQUESTED: failover.request.decide_by, State.APPROVED: failover.run_by}.get(State(failover.state))
    return deadline is not None and deadline <= now


def _seen(sheet: Sheet) -> str:
    """The version of all that the page shows, without reading it: rows, votes, reviews, readings, holds. What time
    alone changes is at most ten seconds old while something of it is open."""
    each: Any = sheet.whole.failovers[0]
    shown: list[object] = [sheet.only, int(sheet.whole.now.timestamp()) // _AGES_AFTER, each.hold_acts]
    for each in sheet.whole.failovers:
        row, cluster = each.relationship, each.relationship.cluster
        shown.append((each.version, each.last_vote, each.last_review, each.last_reading))
        shown.append((row.version, cluster.version, cluster.last_read_at))
    return parts.digest(repr(shown))


def _page(
    request: HttpRequest,
    sheet: Sheet,
    *,
    error: Refused | None = None,
    typed: dict[str, str] | None = None,
    status: int = 200,
    signed_out: bool = False,
) -> HttpResponse:
    section = "approvals" if sheet.whole.waiting else "relationships"
    context = parts.context(request, sheet, _seen(sheet))
    context |= {"error": error, "typed": typed or {}, "section": section, "signed_out": signed_out}
    if sheet.decides and sheet.whole.may_decide:
        context["confirm"] = confirm.offer(request, "approve", sheet.whole.asked.digest)
    elif sheet.whole.may_review:
        context["confirm"] = confirm.offer(request, "review", sheet.whole.asked.digest)
    return render(request, "failovers/page.html", context, status=status)


# ── The verbs ────────────────────────────────────────────────────────────────


@post_only
@requires(Role.APPROVER)
def decide(request: HttpRequest, number: str) -> HttpResponse:
    """Approve or reject, after proving again who it is. Facts that changed must have been shown and ticked."""
    sheet, form = _sheet(request, number), forms.Decide.of(request.POST)
    user, who, asked = signed_in(request), actor(request), sheet.whole.asked
    try:
        # Whoever may not decide, or saw something else, is told so by the verb: a vote without a proof is on no digest,
        # so it never counts.
        auth = digest = ""
        if sheet.whole.may_decide and form.digest == asked.digest:
            auth, digest = confirm.prove(request, "approve", asked.digest).words, form.digest
        said = {"digest": digest, "comment": form.comment, "auth": auth}
        if form.verdict == "approve":
            conduct.approve(user=user, actor=who, request_pk=asked.pk, changed=form.changed, **said)
        else:
            conduct.reject(user=user, actor=who, request_pk=asked.pk, **said)
    except Refused as refused:
        return _refused(request, sheet, refused, {"comment": form.comment})
    return _see(sheet)


@post_only
@requires(Role.APPROVER, Role.AUDITOR, Role.ADMIN)
def review(request: HttpRequest, number: str) -> HttpResponse:
    """What somebody else says of a break-glass, afterwards."""
    sheet, form = _sheet(request, number), forms.Review.of(request.POST)
    asked = sheet.whole.asked
    try:
        proof = confirm.prove(request, "review", asked.digest)
        conduct.review(
            user=signed_in(request),
            actor=actor(request),
            request_pk=asked.pk,
            comment=form.comment,
            auth=proof.words,
        )
    except Refused as refused:
        return _refused(request, sheet, refused, {"comment": form.comment})
    return _see(sheet)


@post_only
def cancel(request: HttpRequest, number: str) -> HttpResponse:
    sheet = _sheet(request, number)
    forms.read(request.POST)
    try:
        conduct.cancel(user=signed_in(request), actor=actor(request), request_pk=sheet.whole.asked.pk)
    except Refused as refused:
        return _refused(request, sheet, refused)
    return _see(sheet)


@post_only
@requires(Role.APPROVER)
def close(request: HttpRequest, number: str, place: int = 1) -> HttpResponse:
    sheet, form = _sheet(request, number, place), forms.Close.of(request.POST)
    if sheet.course is None:
        raise Http404
    try:
        closing.close(
            user=signed_in(request),
            actor=actor(request),
            failover_pk=sheet.course.failover.pk,
            outcome=form.outcome,
            reason=form.reason,
        )
    except Refused as refused:
        return _refused(request, sheet, refused, {"reason": form.reason})
    return _see(sheet)


def _see(sheet: Sheet) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": sheet.address})


def _refused(request: HttpRequest, sheet: Sheet, refused: Refused, typed: dict[str, str] | None = None) -> HttpResponse:
    """The page of now with the sentence; what was typed is kept where its form still stands."""
    record_refusal(request, refused, object=sheet.number)
    status = 409 if isinstance(refused, Stale) else 422
    place = sheet.course.place if sheet.course else 0
    now = _sheet(request, sheet.whole.number, place)
    return _page(request, now, error=refused, typed=typed, status=status)
