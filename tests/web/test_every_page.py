"""Every address, as every role and as nobody: what opens, what does not, and that looking never decides anything.

The tables name each route. A new one without a line here fails.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from dashboard.accounts.models import User
from dashboard.audit.models import Entry
from dashboard.failovers.models import Decision, Failover, Request
from tests.web.fleet import Page, browser
from tests.web.scene import STAGES

ALL = {"operator", "approver", "auditor", "admin", "viewer"}
HTMX = {"HX-Request": "true"}

# Who gets the page; everybody else who is signed in gets 403.
PAGES: dict[str, set[str]] = {
    "relationships": ALL,
    "relationships-live": ALL,
    "relationship": ALL,
    "relationship-live": ALL,
    "fail-over": ALL,
    "fail-over-checks": ALL,
    "approvals": ALL,
    "approvals-live": ALL,
    "failover": ALL,
    "failover-live": ALL,
    "audit": {"auditor", "approver", "admin"},
    "audit-entry": {"auditor", "approver", "admin"},
    "wall": ALL,
    "wall-live": ALL,
    "clusters": {"admin"},
    "cluster": ALL,
    "account": ALL,
    "account-app": ALL,
    "account-key": ALL,
    "account-codes": ALL,
}
# What takes a form, who may send it (the verbs then judge the person), and a body that would have an effect.
FORMS: dict[str, tuple[set[str], dict[str, str]]] = {
    "fail-over": ({"operator"}, {"typed": "/dr/finance", "reason": "long enough a reason", "ticket": ""}),
    "failover-decide": ({"approver"}, {"decision": "approve", "comment": ""}),
    "failover-cancel": (ALL, {}),
    "failover-close": ({"approver"}, {"outcome": "not_applied", "reason": ""}),
    "relationship-read-now": (ALL, {}),
    "cluster-read-now": (ALL, {}),
    "sign-out": (ALL, {}),
}
OPEN = {"sign-in", "second-factor", "sign-in-with", "sign-in-return", "health", "csp-report"}
# What every account may do with itself alone; tests/web/test_account.py and test_confirm.py say what that is.
OWN = {"factor-remove", "confirm-challenge", "confirm-with"}
REDIRECTS = {"cluster"}  # leads to the list, filtered


def routes(patterns: list[Any]) -> dict[str, URLPattern]:
    found: dict[str, URLPattern] = {}
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            found |= routes(pattern.url_patterns)
        else:
            found[pattern.name or str(pattern.pattern)] = pattern
    return found


ROUTES = routes(get_resolver().url_patterns)


@pytest.fixture
def failover(desk):
    return STAGES["requested"](desk)


@pytest.fixture
def everybody(cast) -> dict[str, User]:
    return {
        "operator": cast.rivera,
        "approver": cast.osei,
        "auditor": cast.okafor,
        "admin": cast.admin,
        "viewer": cast.viewer,
    }


def address(route: str, failover: Failover, **other: Any) -> str:
    """Of a thing that is there, but for what `other` says."""
    there = {
        "cluster": "dr",
        "relationship": failover.relationship.relationship_id,
        "number": failover.number,
        "seq": 1,
        "name": "dr",
    }
    wanted = ROUTES[route].pattern.converters
    return reverse(route, kwargs={key: (there | other)[key] for key in wanted})


def record() -> tuple[Any, ...]:
    """All that a decision would leave behind."""
    return (
        list(Failover.objects.order_by("pk").values_list("pk", "state", "version")),
        Decision.objects.count(),
        Request.objects.count(),
        Entry.objects.count(),
    )


def test_every_route_has_its_line():
    assert set(ROUTES) == PAGES.keys() | FORMS.keys() | OPEN | OWN


@pytest.mark.parametrize("name", PAGES)
def test_who_gets_the_page(failover, everybody, name):
    before = record()
    for role, user in everybody.items():
        for headers in ({}, HTMX):
            answer = browser(user).get(address(name, failover), headers=headers)
            expected = 403 if role not in PAGES[name] else 302 if name in REDIRECTS else 200
            assert answer.status_code == expected, role
            if answer.status_code == 200:
                Page(answer.content.decode())  # well-formed: each element is closed, and once
    assert record() == before  # looking decides nothing, and leaves no entry


@pytest.mark.parametrize("name", FORMS.keys() - PAGES.keys())
def test_what_only_takes_a_form_is_not_opened(failover, everybody, name):
    before = record()
    for user in everybody.values():
        assert browser(user).get(address(name, failover)).status_code == 405
    assert record() == before


@pytest.mark.parametrize("name", FORMS)
def test_a_form_without_its_token_is_refused_and_does_nothing(failover, everybody, name):
    before = record()
    for user in everybody.values():
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        for headers in ({}, HTMX, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}):
            answer = client.post(address(name, failover), FORMS[name][1], headers=headers)
            assert answer.status_code == 403
            assert "The form was not sent by a page of this desk." in answer.content.decode()
    assert record() == before


@pytest.mark.parametrize("name", FORMS)
def test_who_may_send_the_form(failover, everybody, name):
    roles, body = FORMS[name]
    for role in sorted(everybody.keys() - roles):
        before = record()
        assert browser(everybody[role]).post(address(name, failover), body).status_code == 403
        assert record() == before
    for role in sorted(roles):
        assert browser(everybody[role]).post(address(name, failover), body).status_code != 403


@pytest.mark.parametrize("name", sorted(PAGES.keys() | FORMS.keys()))
def test_nobody_gets_nothing(failover, name):
    before, client = record(), Client()
    for answer in (client.get(address(name, failover)), client.post(address(name, failover), {"x": "1"})):
        body = answer.content.decode()
        assert "dr/finance" not in body
        assert "lost power" not in body
        if address(name, failover).endswith("/live/"):
            assert (answer.status_code, body) == (204, "")
    assert record() == before


OTHER = {
    "cluster": "another",
    "relationship": "11111111-1111-4111-8111-111111111111",
    "number": "FO-998877",
    "seq": 998877,
    "name": "another",
}


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if route.pattern.converters))
def test_what_is_not_there_is_404_for_whoever_may_ask(failover, everybody, name):
    before = record()
    for key in ROUTES[name].pattern.converters:
        elsewhere = address(name, failover, **{key: OTHER[key]})
        if name in PAGES:
            for role in PAGES[name]:
                answer = browser(everybody[role]).get(elsewhere)
                assert answer.status_code == 404, role
                assert "lost power" not in answer.content.decode()
        if name in FORMS:
            for role in FORMS[name][0]:
                body = FORMS[name][1]
                assert browser(everybody[role]).post(elsewhere, body).status_code == 404, role
    assert record() == before
