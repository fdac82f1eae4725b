"""Who may do what at which address: one line for each route of the desk, and who the people are that try it.

A new route needs its line here; `test_every_page` makes every request that follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from dashboard.failovers.models import Failover

ALL = frozenset({"viewer", "operator", "approver", "auditor", "admin"})
READERS = frozenset({"auditor", "approver", "admin"})
ADMINS = frozenset({"admin"})


@dataclass(frozen=True, kw_only=True)
class Route:
    """`gets`: the roles that get the page; `posts`: the roles whose form reaches the verb (which judges again); None:
    the method is not taken. `body` is what such a form holds.

    `of_cluster`: the address names something of a cluster. `everywhere`: a role that is limited to clusters does not
    count. `open`: for whoever comes, signed in or not. `off`: answers 404 unless a setting turns it on.
    """

    gets: frozenset[str] | None = None
    posts: frozenset[str] | None = None
    body: dict[str, str] = field(default_factory=dict)
    of_cluster: bool = False
    everywhere: bool = False
    open: bool = False
    off: bool = False


def of_cluster(**how: Any) -> Route:
    return Route(of_cluster=True, **how)


_ASK = {"typed": "/dr/finance", "reason": "long enough a reason", "ticket": ""}
_DECIDE = {"decision": "approve", "comment": ""}
_HOLD = {"scope": "dr", "reason": "long enough a reason"}
_LIFT = {"seen": "", "reason": "long enough a reason"}
_CLOSE = {"outcome": "not_applied", "reason": ""}

ROUTES: dict[str, Route] = {
    # Coming and going
    "sign-in": Route(open=True),
    "second-factor": Route(open=True),
    "sign-in-with": Route(open=True),
    "sign-in-return": Route(open=True),
    "sign-out": Route(posts=ALL),
    "health": Route(open=True),
    "csp-report": Route(open=True),
    "account": Route(gets=ALL),
    "account-app": Route(gets=ALL, posts=ALL),
    "account-key": Route(gets=ALL, posts=ALL),
    "account-codes": Route(gets=ALL, posts=ALL),
    "factor-remove": Route(gets=ALL, posts=ALL, off=True),  # of one's own factors; nobody here has any
    "confirm-challenge": Route(gets=ALL),
    "confirm-with": Route(posts=ALL, off=True),
    # Relationships
    "relationships": Route(gets=ALL),
    "relationships-live": Route(gets=ALL),
    "relationship": of_cluster(gets=ALL),
    "relationship-live": of_cluster(gets=ALL),
    "relationship-read-now": of_cluster(posts=ALL),
    "wall": Route(gets=ALL),
    "wall-live": Route(gets=ALL),
    # Asking
    "fail-over": of_cluster(gets=ALL, posts=frozenset({"operator"}), body=_ASK),
    "fail-over-checks": of_cluster(gets=ALL),
    "fail-over-several": Route(gets=frozenset({"operator"}), posts=frozenset({"operator"})),
    "select": Route(gets=frozenset({"operator"})),
    # Deciding, watching, closing
    "approvals": Route(gets=ALL),
    "approvals-live": Route(gets=ALL),
    "failover": of_cluster(gets=ALL),
    "failover-live": of_cluster(gets=ALL),
    "failover-item": of_cluster(gets=ALL),
    "failover-item-live": of_cluster(gets=ALL),
    "failover-decide": of_cluster(posts=frozenset({"approver"}), body=_DECIDE),
    "failover-cancel": of_cluster(posts=ALL),
    "failover-close": of_cluster(posts=frozenset({"approver"}), body=_CLOSE),
    "failover-item-close": of_cluster(posts=frozenset({"approver"}), body=_CLOSE),
    "failover-review": of_cluster(posts=READERS, body={"comment": "Seen."}),
    "failover-evidence": of_cluster(gets=READERS, posts=READERS),
    # Stopping, and going on
    "holds": Route(gets=ALL, posts=frozenset({"approver", "admin"}), body=_HOLD),
    "hold-lift": Route(gets=ADMINS, posts=ADMINS, body=_LIFT),
    "hold-lift-cluster": of_cluster(gets=ADMINS, posts=ADMINS, body=_LIFT),
    # The record
    "audit": Route(gets=READERS, everywhere=True),
    "audit-entry": Route(gets=READERS, everywhere=True),
    "audit-export": Route(posts=frozenset({"auditor"}), everywhere=True),
    "audit-program": Route(gets=READERS, everywhere=True),
    # What the desk is made of
    "policies": Route(gets=ALL),
    "policy-new": Route(gets=ADMINS, posts=ADMINS),
    "policy": Route(gets=ADMINS, posts=ADMINS),
    "policy-change": Route(gets=ADMINS, posts=ADMINS),
    "people": Route(gets=ADMINS),
    "person": Route(gets=ADMINS, posts=ADMINS, body={"role:approver": "1"}),
    "clusters": Route(gets=ADMINS),
    "cluster": of_cluster(gets=ALL),
    "cluster-read-now": of_cluster(posts=ALL),
}

# What the addresses of the tests name: there on the cluster `dr`, and nowhere.
NOWHERE = {
    "cluster": "another",
    "relationship": "11111111-1111-4111-8111-111111111111",
    "number": "FO-998877",
    "place": 77,
    "seq": 998877,
    "name": "another",
    "account": "another",
    "pk": 998877,
}


@dataclass(frozen=True, kw_only=True)
class Who:
    """Somebody who tries. `sees`: what is on `dr`."""

    name: str
    roles: tuple[str, ...]
    signed_in: bool = True

    @property
    def sees(self) -> bool:
        return any(each.partition("@")[2] in ("", "dr") for each in self.roles)

    def has(self, roles: frozenset[str], *, everywhere: bool) -> bool:
        return any(each in roles or (not everywhere and each.partition("@")[0] in roles) for each in self.roles)


PEOPLE = (
    Who(name="nobody", roles=(), signed_in=False),
    Who(name="removed", roles=(), signed_in=False),
    *(Who(name=f"the-{role}", roles=(role,)) for role in sorted(ALL)),
    *(
        Who(name=f"{role}-{at}", roles=(f"{role}@{at}",))
        for role in ("viewer", "operator", "approver")
        for at in ("dr", "far")
    ),
    # Sees dr and may act, but elsewhere: only the verbs can know.
    Who(name="mixed", roles=("viewer@dr", "operator@far", "approver@far")),
)


def patterns() -> dict[str, URLPattern]:
    """Every route of the desk by its name."""

    def walk(found: list[Any]) -> dict[str, URLPattern]:
        routes: dict[str, URLPattern] = {}
        for each in found:
            if isinstance(each, URLResolver):
                routes |= walk(each.url_patterns)
            else:
                routes[each.name or str(each.pattern)] = each
        return routes

    return walk(get_resolver().url_patterns)


PATTERNS = patterns()


def address(route: str, failover: Failover, **other: Any) -> str:
    """Of a thing that is there, on `dr`, but for what `other` says."""
    there = {
        "cluster": "dr",
        "relationship": failover.relationship.relationship_id,
        "number": f"FO-{failover.request_id}",
        "place": 1,
        "seq": 1,
        "name": "dr",
        "account": "the-viewer",
        "pk": 1,
    }
    wanted = PATTERNS[route].pattern.converters
    return reverse(route, kwargs={key: (there | other)[key] for key in wanted})
