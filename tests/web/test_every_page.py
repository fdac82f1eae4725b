"""Every address, by every method, as every role and as nobody: what opens, what does not, and that nothing happens
where it does not. Who may do what stands in `matrix`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from dashboard.accounts import people
from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers.models import Decision, Failover, Hold, Policy, PolicyChange, Request, Review, Share
from dashboard.fleet.models import Cluster, Relationship
from tests.conftest import PASSWORD
from tests.web.fleet import Page
from tests.web.matrix import NOWHERE, PATTERNS, PEOPLE, ROUTES, Route, Who, address
from tests.web.scene import STAGES

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REACHED = {200, 204, 302, 303, 400, 409, 422}  # the view or its verb answered for itself
HTMX = {"HX-Request": "true"}


@pytest.fixture
def failover(desk) -> Failover:
    """A request that waits, on `dr`; and beside it another cluster, `far`, with a relationship of its own."""
    found = STAGES["requested"](desk)
    far = Cluster.objects.create(name="far", url="https://far:8000", uuid="far")
    copy = Relationship.objects.get(pk=found.relationship_id)
    copy.pk, copy.cluster, copy.relationship_id = None, far, "22222222-2222-4222-8222-222222222222"
    copy.held_by = copy.held_phase = copy.held_note = ""
    copy.save(force_insert=True)
    return found


@pytest.fixture
def crowd(db: None) -> dict[str, Client]:
    """A browser for each of the PEOPLE."""
    found = {}
    for who in PEOPLE:
        found[who.name] = client = Client()
        if who.name != "nobody":
            user = people.add(who.name, roles=who.roles or ["approver"], password=PASSWORD, actor=SYSTEM)
            client.force_login(user)
        if who.name == "removed":
            people.remove(who.name, actor=SYSTEM)
    return found


@contextmanager
def undone(client: Client) -> Iterator[None]:
    """Whatever happens within is taken back, so that each attempt finds the same desk."""
    cookies = client.cookies.output(header="", sep=";")
    point = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(point)
        client.cookies.clear()
        client.cookies.load(cookies)


def record() -> tuple[Any, ...]:
    """All that an act would leave behind, but for what is told of refusals."""
    counted = (Request, Share, Decision, Review, Policy, PolicyChange, Hold, Group)
    return (
        list(Failover.objects.order_by("pk").values_list("pk", "state", "version")),
        [model.objects.count() for model in counted],
        list(User.objects.order_by("pk").values_list("pk", "roles", "is_active", "password")),
        list(Cluster.objects.order_by("pk").values_list("pk", "next_read_at", "version")),
        Entry.objects.exclude(tag__endswith=".refused").count(),
    )


def expected(route: Route, method: str, who: Who) -> tuple[set[int], str]:
    """The statuses that are right, and why the ledger tells of it ("" when it tells nothing)."""
    roles = {"GET": route.gets, "HEAD": route.gets, "POST": route.posts}.get(method)
    if roles is None:
        return {405}, "method"
    has, sees = who.has(roles, everywhere=route.everywhere), who.sees or not route.of_cluster
    if has and sees:
        return ({404}, "") if route.off else (REACHED, "")
    if has:
        return {404}, "scope"
    return ({403}, "role") if sees else ({403, 404}, "")


def test_every_route_has_its_line():
    assert set(PATTERNS) == set(ROUTES)


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if not route.open))
def test_who_gets_what(failover, crowd, name):
    route, url, wrong = ROUTES[name], address(name, failover), []
    before = record()
    for who in PEOPLE:
        for method in METHODS if who.signed_in else ():
            with undone(crowd[who.name]):
                answer = crowd[who.name].generic(method, url, **_form(route, method))
                status, acted = answer.status_code, record() != before
                told = [entry.record["detail"]["why"] for entry in Entry.objects.filter(tag="access.refused")]
                leaked = [] if who.sees else [each for each in _secrets(failover) if each in _text(answer)]
            right, why = expected(route, method, who)
            may_act = method == "POST" and status not in (403, 404, 405) and (who.name != "mixed" or not route.body)
            for bad, words in (
                (status not in right, f"{status}, not {sorted(right)}"),
                (acted and not may_act, f"{status}, and something happened"),
                (bool(why) and told != [why], f"the ledger tells {told}, not {why}"),
                (bool(leaked), f"shows {leaked}"),
            ):
                wrong += [f"{method} {url} by {who.name}: {words}"] if bad else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if not route.open))
def test_nobody_gets_nothing(failover, crowd, name):
    url, before = address(name, failover), record()
    for who in ("nobody", "removed"):
        for method in METHODS:
            answer = crowd[who].generic(method, url)
            body = _text(answer)
            assert not [each for each in (*_secrets(failover), "dr/finance") if each in body], method
            assert answer.status_code in (200, 204, 302), method  # the way to sign in, and nothing else
            if url.endswith("/live/"):
                assert (answer.status_code, body) == (204, "")
    assert record() == before
    assert not Entry.objects.filter(tag="access.refused").exists()  # else anybody could grow the ledger


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if route.open))
def test_what_is_open_to_everybody_decides_nothing(failover, crowd, name):
    before = record()
    for client in (crowd["nobody"], crowd["the-admin"]):
        for method in METHODS:
            with undone(client):
                assert client.generic(method, address(name, failover)).status_code < 500
                assert record()[:-1] == before[:-1]


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if PATTERNS[name].pattern.converters))
def test_what_others_may_not_see_looks_like_what_is_not_there(failover, crowd, name):
    """To whoever may ask at all: 404, byte for byte the same, whichever part of the address it is."""
    route, before = ROUTES[name], record()
    names = PATTERNS[name].pattern.converters
    absent = [address(name, failover, **{key: NOWHERE[key]}) for key in names]
    for who in PEOPLE:
        for method, roles in (("GET", route.gets), ("POST", route.posts)):
            if roles is None or not who.has(roles, everywhere=route.everywhere):
                continue
            foreign = [address(name, failover)] if route.of_cluster and not who.sees else []
            pages = set()
            for url in (*absent, *foreign):
                with undone(crowd[who.name]):
                    answer = crowd[who.name].generic(method, url, **_form(route, method))
                assert answer.status_code == 404, f"{method} {url} by {who.name}"
                pages.add(_TOKEN.sub("", _text(answer)))
            assert len(pages) == 1
    assert record() == before


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if route.posts))
def test_a_form_without_its_token_is_refused_recorded_and_does_nothing(failover, crowd, name):
    before = record()
    for who in PEOPLE:
        if not who.signed_in:
            continue
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.get(username=who.name))
        for headers in ({}, HTMX, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}):
            answer = client.post(address(name, failover), ROUTES[name].body, headers=headers)
            assert answer.status_code == 403
            assert "The form was not sent by a page of this desk." in answer.content.decode()
        assert Entry.objects.filter(tag="access.refused").latest("seq").record["actor"]["account"] == who.name
    assert record() == before


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if route.gets and not route.open))
def test_every_page_and_fragment_is_well_formed_and_looking_decides_nothing(failover, crowd, name):
    before = record()
    for who in PEOPLE:
        if who.signed_in and who.has(ROUTES[name].gets, everywhere=ROUTES[name].everywhere):
            for headers in ({}, HTMX):
                answer = crowd[who.name].get(address(name, failover), headers=headers)
                if "html" in answer.get("Content-Type", ""):
                    Page(answer.content.decode())  # each element is closed, and once
    assert record() == before


_TOKEN = re.compile(r'"X-CSRFToken": "[^"]*"')


def _form(route: Route, method: str) -> dict[str, Any]:
    if method != "POST":
        return {}
    body = "&".join(f"{name}={value}" for name, value in route.body.items())
    return {"data": body, "content_type": "application/x-www-form-urlencoded"}


def _secrets(failover: Failover) -> tuple[str, ...]:
    """What only somebody who sees `dr` may read anywhere. (The relationship that `far` has looks the same.)"""
    return ("lost power", failover.number, failover.relationship.relationship_id)


def _text(answer: Any) -> str:
    """Without the address itself, which whoever asked has typed."""
    return answer.content.decode().replace(answer.wsgi_request.path, "")
