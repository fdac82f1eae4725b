"""Tags: short names for relationships, given by target cluster and path prefix, by which policies are chosen.

A relationship has every tag whose prefix covers its target path, unlike objectives, where the longest prefix wins. Each
verb is one transaction with its entry in the ledger; what does not fit is `Refused` with one sentence.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from django.db import transaction
from django.db.models import F

from dashboard.audit import chain
from dashboard.audit.chain import JSON, Actor
from dashboard.audit.tags import Tag as LedgerTag
from dashboard.fleet import registry
from dashboard.fleet.admission import Refused
from dashboard.fleet.models import Cluster, Relationship, Tag, covers
from dashboard.words import visible

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def tags_of(rows: Iterable[Relationship]) -> dict[int, frozenset[str]]:
    """The tags of each row, by its key; one query for all of them. A row without any is in it too."""
    rows = list(rows)
    rules: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    found = Tag.objects.filter(cluster__in={row.cluster_id for row in rows}).order_by()
    for cluster, prefix, name in found.values_list("cluster", "path_prefix", "name"):
        rules[cluster].append((prefix, name))
    return {
        row.pk: frozenset(name for prefix, name in rules[row.cluster_id] if covers(prefix, row.target_root_path))
        for row in rows
    }


def add(cluster_name: str, prefix: str, name: str, *, actor: Actor) -> int:
    """Tag what lies below a target path. Returns how many relationships that is now."""
    prefix = registry.path_prefix(prefix)
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is not a tag; use up to 32 small letters, digits and dashes.")
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=registry.find(cluster_name).pk)
        if not Tag.objects.get_or_create(cluster=cluster, path_prefix=prefix, name=name)[1]:
            raise Refused(f"{cluster_name}:{visible(prefix)} has the tag {name} already.")
        words = f"{cluster_name}:{visible(prefix)} is tagged {name}."
        return _settle(cluster, prefix, LedgerTag.TAG_SET, words, name, actor)


def remove(cluster_name: str, prefix: str, name: str, *, actor: Actor) -> int:
    """Take a tag away where it was given; one that comes from another prefix stays."""
    prefix = registry.path_prefix(prefix)
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=registry.find(cluster_name).pk)
        if not Tag.objects.filter(cluster=cluster, path_prefix=prefix, name=name).delete()[0]:
            raise Refused(f"{cluster_name}:{visible(prefix)} has no tag {visible(name)}.")
        words = f"{cluster_name}:{visible(prefix)} is no longer tagged {name}."
        return _settle(cluster, prefix, LedgerTag.TAG_REMOVED, words, name, actor)


def _settle(cluster: Cluster, prefix: str, tag: LedgerTag, words: str, name: str, actor: Actor) -> int:
    """Pages show the rows below the prefix anew; the ledger has the last word."""
    rows = list(cluster.relationships.select_for_update().order_by("pk"))
    touched = [row.pk for row in rows if covers(prefix, row.target_root_path)]
    Relationship.objects.filter(pk__in=touched).update(version=F("version") + 1)
    detail: dict[str, JSON] = {"path_prefix": prefix, "name": name, "relationships": len(touched)}
    chain.append(tag, actor=actor, object=f"cluster:{cluster.name}", words=words, detail=detail)
    return len(touched)
