"""Every address, by every method, as every role and as nobody: what opens, what does not, and that nothing happens
where it does not. Who may do what stands in `matrix`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from dashboard.accounts import people
from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.models import Decision, Failover, Hold, Policy, PolicyChange, Request, Review, Share
from dashboard.fleet.models import Cluster, Relationship
from tests.conftest import PASSWORD
from tests.web.fleet import Page
from tests.web.matrix import NOWHERE, PATTERNS, PEOPLE, ROUTES, Route, Who, address
from tests.web.scene import STAGES

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
REACHED = {200, 204, 302, 303, 400, 409, 422}  # the view or its verb answered for itself
# Where a refusal is told, and how long ago somebody clicked; nothing else is written by looking or being refused.
TELLING = {"audit_entry", "audit_head", "accounts_accessrefusals", "django_session"}
_WRITES = re.compile(r'(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM|REPLACE INTO) "(\w+)"')
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _thousands_of_refusals_are_not_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="django.request")


@pytest.fixture
def failover(desk) -> Failover:
    """A request that waits, on `dr`; and beside it another cluster, `far`, with a relationship of its own."""
    found = STAGES["requested"](desk)
    far = Cluster.objects.create(name="far", url="https://far:8000", uuid="far")
    copy = Relationship.objects.get(pk=found.relationship_id)
    copy.pk, copy.cluster, copy.relationship_id = None, far, "22222222-2222-4222-8222-222222222222"
    copy.held_by = copy.held_phase = copy.held_note = ""
    copy.save(force_insert=True)
    Policy.objects.create(name="dr", cluster="dr", shares=[{"group": "", "count": 1}])
    waiting = {"pk": 1, "name": "dr", "words": "Asks for nobody.", "weakens": True, "verdict": "waiting"}
    PolicyChange.objects.create(**waiting, by_label="somebody", at=database_now())
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


@contextmanager
def written() -> Iterator[set[str]]:
    """Names of the tables that are written to within."""
    tables: set[str] = set()

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if found := _WRITES.match(sql):
            tables.add(found[1])
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        yield tables


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
    for who, method in product([who for who in PEOPLE if who.signed_in], METHODS):
        with undone(crowd[who.name]), written() as tables:
            answer = crowd[who.name].generic(method, url, **_form(route, method))
            told = [entry.record["detail"]["why"] for entry in Entry.objects.filter(tag="access.refused")]
            # Seeing is enough to have a cluster read again, and for nothing else that has a form.
            acted = who.name == "mixed" and bool(route.body) and record() != before
        status, (right, why) = answer.status_code, expected(route, method, who)
        only_told = method != "POST" or status in (403, 404, 405)
        body = _text(answer)
        leaked = [] if who.sees else [each for each in _secrets(failover) if each in body]
        for bad, words in (
            (status not in right, f"{status}, not {sorted(right)}"),
            (acted or (only_told and tables - TELLING), f"{status}, and {sorted(tables)} were written"),
            (why and told != [why], f"the ledger tells {told}, not {why}"),
            (leaked, f"shows {leaked}"),
        ):
            wrong += [f"{method} {url} by {who.name}: {words}"] if bad else []
    assert not wrong, "\n".join(wrong)


def test_nobody_gets_nothing(failover, crowd):
    before = record()
    for name, route in ROUTES.items():
        for who, method in product(("nobody", "removed"), () if route.open else METHODS):
            url = address(name, failover)
            answer = crowd[who].generic(method, url)
            body = _text(answer)
            shown = [each for each in (*_secrets(failover), "dr/finance") if each in body and each not in url]
            assert not shown, f"{method} {url}"
            assert answer.status_code in (200, 204, 302), f"{method} {url}"  # the way to sign in, and nothing else
            if url.endswith("/live/"):
                assert (answer.status_code, body) == (204, "")
    assert record() == before
    assert not Entry.objects.filter(tag="access.refused").exists()  # else anybody could grow the ledger


def test_what_is_open_to_everybody_decides_nothing(failover, crowd):
    before = record()
    for name, route in ROUTES.items():
        for who, method in product(("nobody", "the-admin"), METHODS if route.open else ()):
            with undone(crowd[who]):
                assert crowd[who].generic(method, address(name, failover)).status_code < 500, f"{method} {name}"
                assert record()[:-1] == before[:-1], f"{method} {name}"


def test_what_others_may_not_see_looks_like_what_is_not_there(failover, crowd):
    """To whoever may ask at all: 404, byte for byte the same, whichever part of the address it is."""
    before, pages = record(), set()
    for name, route in ROUTES.items():
        absent = [address(name, failover, **{key: NOWHERE[key]}) for key in PATTERNS[name].pattern.converters]
        for who, (method, roles) in product(PEOPLE, (("GET", route.gets), ("POST", route.posts))):
            if not (absent and roles and who.has(roles, everywhere=route.everywhere)):
                continue
            for url in (*absent, *([address(name, failover)] if route.of_cluster and not who.sees else [])):
                with undone(crowd[who.name]):
                    answer = crowd[who.name].generic(method, url, **_form(route, method))
                assert answer.status_code == 404, f"{method} {url} by {who.name}"
                pages.add(_text(answer))
    assert len(pages) == 1
    assert record() == before


def test_a_form_without_its_token_is_refused_recorded_and_does_nothing(failover, crowd):
    before = record()
    for who in PEOPLE:
        client = Client(enforce_csrf_checks=True)
        client.cookies = crowd[who.name].cookies
        for name in [name for name, route in ROUTES.items() if route.posts and who.signed_in]:
            for headers in ({}, HTMX, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}):
                with undone(client):
                    answer = client.post(address(name, failover), ROUTES[name].body, headers=headers)
                    told = Entry.objects.get(tag="access.refused").record
                assert answer.status_code == 403, f"{name} by {who.name}"
                assert "The form was not sent by a page of this desk." in answer.content.decode()
                assert (told["actor"]["account"], told["detail"]["why"]) == (who.name, "form")
    assert record() == before


def test_every_page_and_fragment_is_well_formed(failover, crowd):
    for (name, route), who in product(ROUTES.items(), PEOPLE):
        if not route.open and route.gets and len(who.roles) == 1 and who.has(route.gets, everywhere=route.everywhere):
            answer = crowd[who.name].get(address(name, failover), headers=HTMX)
            body = _body(answer)
            if "html" in answer.get("Content-Type", ""):
                Page(body)  # each element is closed, and once


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
    return _body(answer).replace(answer.wsgi_request.path, "")


def _body(answer: Any) -> str:
    body = b"".join(answer) if answer.streaming else answer.content  # what is streamed is closed at its end
    return body.decode(errors="replace")
