"""Policies in the database: which rules a request takes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from dashboard.failovers import models, policy
from dashboard.failovers.policy import DEFAULT, Policy, Rules, Scope, Share
from dashboard.fleet.models import Relationship
from dashboard.fleet.tags import tags_of


def standing() -> list[Policy]:
    """Every policy that holds now, by name."""
    return [_read(row) for row in models.Policy.objects.all()]


def rules_for(rows: Iterable[Relationship]) -> Rules:
    """What a request for these relationships needs, in as many queries for one as for 200. `cluster` is read of each:
    fetch it along."""
    asked = list(rows)
    policies, tags = standing(), tags_of(asked)
    found = [policy.covering(policies, row.cluster.name, row.target_root_path, tags[row.pk]) for row in asked]
    return policy.together(each[0].rules if each else DEFAULT for each in found)


def _read(row: models.Policy) -> Policy:
    return Policy(
        name=row.name,
        scope=Scope(cluster=row.cluster, path_prefix=row.path_prefix.rstrip("/"), tag=row.tag),
        rules=Rules(
            names=(row.name,),
            shares=tuple(Share(group=share["group"], count=share["count"]) for share in row.shares),
            decide=timedelta(minutes=row.decide_minutes),
            run=timedelta(minutes=row.run_minutes),
            break_glass=row.break_glass,
            prompts=(row.prompt,) if row.prompt else (),
            ticket_patterns=(row.ticket_pattern,) if row.ticket_pattern else (),
        ),
    )
