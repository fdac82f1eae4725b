"""What people do before the clock starts: `python -m tests.bench.hands VERB …`. Prints JSON."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from dashboard.accounts import people  # noqa: E402
from dashboard.accounts.models import User  # noqa: E402
from dashboard.accounts.people import actor_of  # noqa: E402
from dashboard.audit.chain import SYSTEM, cli  # noqa: E402
from dashboard.failovers import asking, reading  # noqa: E402
from dashboard.fleet import registry  # noqa: E402
from dashboard.fleet.models import Relationship  # noqa: E402


def furnish(manifest: str) -> None:
    """The cast and every cluster, each asked who it is, as `manage.py cluster add` does it."""
    for name, role in (("a.rivera", "operator"), ("k.osei", "approver")):
        people.add(name, roles=[role], password="demo", actor=SYSTEM)
    for it in json.loads(Path(manifest).read_text())["clusters"]:
        tokens = {"reader_token": it["reader_token"], "executor_token": it["executor_token"]}
        registry.add(it["name"], it["url"], actor=cli(), ca=Path(it["ca_file"]).read_text(), **tokens)


def ask(count: str) -> dict[str, Any]:
    """One request of a.rivera for so many relationships that can be failed over. `items`: key, number, id, cluster."""
    return _ask(_able(int(count)))


def ask_each(count: str) -> list[dict[str, Any]]:
    """As many requests, for one relationship each, spread over the clusters."""
    return [_ask([row]) for row in _able(int(count))]


def _able(count: int) -> list[Relationship]:
    able = Relationship.objects.filter(state="ESTABLISHED", held_by="").exclude(recovery_point_at=None)
    return list(able.select_related("cluster").order_by("target_root_path", "cluster__name")[:count])


def _ask(rows: list[Relationship]) -> dict[str, Any]:
    user = User.objects.get(username="a.rivera")
    asked = asking.request(
        user=user,
        actor=actor_of(user),
        relationships=rows,
        typed=reading.expected_typing(rows),
        reason="The first site lost its power.",
        ticket="",
        nonce=uuid.uuid4(),
    )
    items = asked.failovers.select_related("request", "relationship__cluster")
    return {
        "number": asked.number,
        "items": [(f.pk, f.number, f.relationship.relationship_id, f.relationship.cluster.name) for f in items],
    }


VERBS: dict[str, Callable[[str], Any]] = {verb.__name__: verb for verb in (furnish, ask, ask_each)}

if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(VERBS[verb](*arguments)))
