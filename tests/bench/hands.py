"""What people do before the clock starts: `python -m tests.bench.hands VERB …`. Prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import hands  # sets Django up

from dashboard.fleet.models import Relationship  # isort: skip


def furnish(manifest: str) -> None:
    """The cast and every cluster."""
    hands.cast()
    hands.register(json.loads(Path(manifest).read_text())["clusters"])


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
    asked = hands.ask(rows)
    items = asked.failovers.select_related("request", "relationship__cluster")
    return {
        "number": asked.number,
        "items": [(f.pk, f.number, f.relationship.relationship_id, f.relationship.cluster.name) for f in items],
    }


VERBS: dict[str, Callable[[str], Any]] = {verb.__name__: verb for verb in (furnish, ask, ask_each)}

if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(VERBS[verb](*arguments)))
