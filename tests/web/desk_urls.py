"""The product's addresses, and a few small pages on which its doors, polls and forms are tried."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.failovers.lifecycle import Refused
from dashboard.fleet.models import Cluster
from dashboard.web.guards import actor, kept, post_only, record_refusal, requires, signed_in
from dashboard.web.live import cached_seen, live_answer, pulse

handler400 = "dashboard.web.views.errors.bad_request"
handler403 = "dashboard.web.views.errors.forbidden"
handler404 = "dashboard.web.views.errors.not_found"
handler500 = "dashboard.web.views.errors.server_error"

sent: list[dict[str, str]] = []  # what forms brought to the views below
rendered: list[str] = []  # regions that were rendered, not taken from Redis


def page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        sent.append(request.POST.dict())
        return HttpResponse("sent")
    return HttpResponse(f"form {sorted(kept(request).items())}")


@post_only
def decide(request: HttpRequest) -> HttpResponse:
    sent.append(request.POST.dict())
    return HttpResponse("decided")


def live(request: HttpRequest) -> HttpResponse:
    """As a page's poll is meant to be: the pulse, one query of its own, and the answer."""
    user = signed_in(request)
    now, region = pulse(user), f"page?{request.GET.get('q', '')}"
    seen = cached_seen(user, region, lambda: str(Cluster.objects.visible_to(user).count()))

    def render() -> str:
        rendered.append(region)
        return f"<div>{region} {seen}</div>"

    shared = request.GET.get("mine") is None
    return live_answer(
        request, region=region, seen=f"{now.seen}.{seen}", render=render, observed_age=now.age, shared=shared
    )


def refuse(request: HttpRequest) -> HttpResponse:
    refused = Refused("The path does not match.", field="typed", tag="request.refused")
    try:
        with transaction.atomic():
            chain.append("request.made", actor=actor(request), words="never happened")
            raise refused
    except Refused as said:
        record_refusal(request, said, object="FO-1042")
    return HttpResponse("refused")


@requires(Role.APPROVER, Role.ADMIN)
def approvers_only(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("in")


def no(_request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("Not <b>today</b>.")


def broken(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the password is hunter2")


urlpatterns = [
    path("form/", page),
    path("form/decide/", decide),
    path("form/live/", live),
    path("wall/", page),
    path("wall/live/", live),
    path("refuse/", refuse),
    path("approvers/", approvers_only),
    path("no/", no),
    path("broken/", broken),
    path("", include("dashboard.web.urls")),
]
