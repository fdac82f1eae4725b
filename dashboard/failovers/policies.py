"""Policies in the database: which there are, and which rules a request takes. (How one changes is in `amending`.)"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from dashboard.failovers import models, policy
from dashboard.failovers.policy import DEFAULT, Policy, Rules, Scope, Share
from dashboard.fleet.models import Relationship
from dashboard.fleet.tags import tags_of

_FIELDS = (
    *("cluster", "path_prefix", "tag", "shares", "decide_minutes", "run_minutes"),
    *("break_glass", "prompt", "ticket_pattern"),
)


def standing() -> list[Policy]:
    """Every policy that holds now, by name."""
    return [_read(row) for row in models.Policy.objects.all()]


def find(name: str) -> Policy | None:
    row = models.Policy.objects.filter(name=name).first()
    return _read(row) if row else None


def rules_for(rows: Iterable[Relationship]) -> Rules:
    """What a request for these relationships needs, in as many queries for one as for 200. `cluster` is read of each:
    fetch it along."""
    asked = list(rows)
    policies, tags = standing(), tags_of(asked)
    found = [policy.covering(policies, row.cluster.name, row.target_root_path, tags[row.pk]) for row in asked]
    return policy.together(each[0].rules if each else DEFAULT for each in found)


def version_of(there: Policy | None) -> str:
    """Names a policy as it stands, so that an old page changes nothing; "" when there is none."""
    if there is None:
        return ""
    text = json.dumps({"name": there.name, **fields_of(there)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(row: models.Policy) -> Policy:
    return of_fields(row.name, {name: getattr(row, name) for name in _FIELDS})


def of_fields(name: str, fields: Mapping[str, Any]) -> Policy:
    return Policy(
        name=name,
        scope=Scope(cluster=fields["cluster"], path_prefix=fields["path_prefix"].rstrip("/"), tag=fields["tag"]),
        rules=Rules(
            names=(name,),
            shares=tuple(Share(group=share["group"], count=share["count"]) for share in fields["shares"]),
            decide=timedelta(minutes=fields["decide_minutes"]),
            run=timedelta(minutes=fields["run_minutes"]),
            break_glass=fields["break_glass"],
            prompts=(fields["prompt"],) if fields["prompt"] else (),
            ticket_patterns=(fields["ticket_pattern"],) if fields["ticket_pattern"] else (),
        ),
    )


def fields_of(there: Policy) -> dict[str, Any]:
    """The columns of a policy, which are also its JSON in a change."""
    rules = there.rules
    return {
        "cluster": there.scope.cluster,
        "path_prefix": there.scope.path_prefix,
        "tag": there.scope.tag,
        "shares": [{"group": share.group, "count": share.count} for share in rules.shares],
        "decide_minutes": rules.decide // timedelta(minutes=1),
        "run_minutes": rules.run // timedelta(minutes=1),
        "break_glass": rules.break_glass,
        "prompt": "".join(rules.prompts),
        "ticket_pattern": "".join(rules.ticket_patterns),
    }
