"""What people do in a chaos run, in a process of its own: all that `tests.faults.hands` can, and a little more."""

from __future__ import annotations

from tests.faults import hands  # first: it sets Django up

# isort: split
from dashboard.accounts import people
from dashboard.accounts.people import actor_of
from dashboard.audit.chain import SYSTEM
from dashboard.failovers import conduct, holds
from dashboard.failovers.models import Request


def join(name: str, roles: list[str]) -> None:
    people.add(name, roles=roles, password="demo", actor=SYSTEM)


def approve_other(request: int, by: str) -> None:
    """With the digest of something that was never asked."""
    user = hands._user(by)
    conduct.approve(user=user, actor=actor_of(user), request_pk=request, digest="0" * 64, comment="Go.", auth="")


def lift(scope: str = "") -> int:
    user = hands._user("admin")
    return holds.lift(actor=actor_of(user), scope=scope, reason="The reason for it is gone.", user=user)


def waiting() -> list[list[object]]:
    """Requests that nobody has decided on: key and number."""
    found = Request.objects.filter(failovers__state="requested").distinct().order_by("pk")
    return [[asked.pk, asked.number] for asked in found]


hands.VERBS |= {act.__name__: act for act in (join, approve_other, lift, waiting)}

if __name__ == "__main__":
    hands.main()
