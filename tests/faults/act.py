"""What a person or a driver does, in a process of its own, so that it can be killed: `python -m tests.faults.act …`.

Prints one line of JSON. The settings come from the environment, as for any process of the desk.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from typing import Any

import django

django.setup()

from dashboard.accounts.models import User  # noqa: E402
from dashboard.accounts.people import actor_of  # noqa: E402
from dashboard.audit import chain  # noqa: E402
from dashboard.audit.models import Entry  # noqa: E402
from dashboard.failovers import asking, bell, closing, conduct, execution, reading  # noqa: E402
from dashboard.failovers.models import Failover, Request  # noqa: E402
from dashboard.fleet.models import Cluster, Relationship  # noqa: E402


def request(path: str, row: Relationship | None = None) -> dict[str, Any]:
    user = User.objects.get(username="a.rivera")
    row = row or Relationship.objects.get(target_root_path=path)
    asked = asking.request(
        user=user,
        actor=actor_of(user),
        relationships=[row],
        typed=reading.expected_typing([row]),
        reason="dc1-prod lost power in row C.",
        ticket="",
        nonce=uuid.uuid4(),
    )
    return {"request": asked.pk, "failover": asked.failovers.get().pk, "number": asked.number}


def request_many(count: str) -> dict[str, Any]:
    """As many requests as asked for, spread over the clusters."""
    rows = Relationship.objects.filter(state="ESTABLISHED", held_by="").exclude(recovery_point_at=None)
    made = [
        request(row.target_root_path, row)["number"]
        for row in rows.order_by("target_root_path", "cluster")[: int(count)]
    ]
    return {"requests": made}


def relationships_of(*numbers: str) -> dict[str, Any]:
    return {f.number: f.relationship.relationship_id for f in Failover.objects.all() if f.number in numbers}


def approve(pk: str) -> dict[str, Any]:
    user, asked = User.objects.get(username="k.osei"), Request.objects.get(pk=pk)
    conduct.approve(user=user, actor=actor_of(user), request_pk=asked.pk, digest=asked.digest, comment="Go.", auth="")
    bell._thread.shutdown(wait=True)  # a web server lives on; this process must not end before its bell was rung
    return {}


def close(pk: str) -> dict[str, Any]:
    user = User.objects.get(username="k.osei")
    closing.close(user=user, actor=actor_of(user), failover_pk=int(pk), outcome="not_applied")
    return {}


def execute(pk: str) -> dict[str, Any]:
    execution.execute(int(pk))
    return {}


def look(pk: str) -> dict[str, Any]:
    failover = Failover.objects.get(pk=pk)
    report = chain.verify()
    return {
        "state": failover.state,
        "attempts": failover.attempts,
        "answer": failover.answer,
        "words": failover.outcome_words,
        "chain": report.ok,
        "tags": list(Entry.objects.filter(object=failover.number).order_by("seq").values_list("tag", flat=True)),
        "read": [cluster.last_read_at is not None for cluster in Cluster.objects.all()],
    }


def ready() -> dict[str, Any]:
    """Every cluster has been read, and its rows are there."""
    read = all(Cluster.objects.values_list("last_read_at", flat=True))
    return {"ready": read and Relationship.objects.exists()}


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    verbs: dict[str, Callable[..., dict[str, Any]]] = {
        f.__name__: f for f in (request, request_many, relationships_of, approve, close, execute, look, ready)
    }
    print(json.dumps(verbs[verb](*arguments)))
