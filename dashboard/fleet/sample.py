"""Storing what one reading of a cluster brought: rows matched to relationships, and the state of the cluster itself.

Two readings of one cluster may overlap. Each carries the moment at which it began; the store holds the cluster's row
locked and drops a sample that began before the one that is stored, and leaves a row alone that was read by itself
since. So what is stored never goes back in time. Locks are taken in one order (cluster, relationships by key,
ledger), and no cluster is asked inside a transaction.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from dashboard.audit import chain
from dashboard.audit.tags import Tag
from dashboard.database import database_now
from dashboard.fleet.access import Listing
from dashboard.fleet.changes import Changes, first_seen, take
from dashboard.fleet.models import Cluster, Objective, Relationship, Source, Trouble, objective_for
from dashboard.qumulo.records import SourceStatusList, TargetStatus, UnreadableRow, to_json
from dashboard.words import visible

log = logging.getLogger(__name__)

SKEW_SHOWN = 120  # seconds by which clocks must differ before a page says so
GONE_AFTER = 3  # lists
SIGN_IN_AGAIN = timedelta(minutes=1)  # a refused token is not tried more often: the account must not be locked
_LISTED_MOST = 20


@dataclass(frozen=True, slots=True)
class Details:
    """What changes so seldom that it is asked once a minute. `sources` is None when the reader may not see them."""

    name: str
    version: str
    sources: SourceStatusList | None


def store(cluster_pk: int, listing: Listing, details: Details | None, *, reserved: datetime) -> None:
    """A good reading. `reserved`: the next reading's time as this one set it when it began; if somebody has asked for
    one since, that stays. Once another cluster has answered in its place, nothing is stored before an admin has
    registered it again (`registry.change`): whoever can turn an address around can turn it back."""
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().filter(pk=cluster_pk).first()
        if cluster is None or (cluster.last_read_at is not None and cluster.last_read_at > listing.at):
            return
        if cluster.trouble == Trouble.IDENTITY:
            words = f"{cluster.name} answers at its address again, after another cluster did."
            fail(cluster_pk, Trouble.IDENTITY, words, began=listing.at, reserved=reserved)
            return
        change = Changes(database_now())
        shown, name = _shown(cluster), cluster.reported_name
        rows = [change.watch(row) for row in cluster.relationships.select_for_update().order_by("pk")]
        cluster.unreadable_rows = _compare(change, cluster, rows, listing)

        if cluster.trouble:
            log.info("%s is read again", cluster.name)
        cluster.trouble, cluster.trouble_words, cluster.trouble_since = "", "", None
        cluster.last_read_at, cluster.silent = listing.at, False
        cluster.node_state = listing.node.state
        ahead = listing.clock_ahead
        cluster.clock_ahead = None if ahead is None else round(ahead.total_seconds())
        if details is not None:
            cluster.sources_read_at = listing.at
            cluster.reported_name, cluster.core_version = details.name or name, details.version
        if cluster.next_read_at == reserved:
            cluster.next_read_at = listing.at + settings.POLL_EVERY
        change.write()  # after the cluster was set: the rows of one that is read again are no longer Unknown
        _save(cluster, shown)
        if cluster.reported_name != name:  # the id is the same, so it is the same cluster
            words = f"{cluster.name} calls itself {visible(cluster.reported_name)} now, {visible(name)} before."
            chain.append(Tag.CLUSTER_CHANGED, actor=chain.SYSTEM, object=f"cluster:{cluster.name}", words=words)
    if details is not None and details.sources is not None:
        _store_sources(cluster, details.sources, listing.at)


def fail(
    cluster_pk: int,
    trouble: Trouble,
    words: str,
    *,
    began: datetime,
    reserved: datetime,
    pause: timedelta | None = None,
) -> None:
    """A reading that brought nothing usable. Rows keep their last values; `regrade` makes them Unknown in time."""
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().filter(pk=cluster_pk).first()
        if cluster is None or (cluster.last_read_at is not None and cluster.last_read_at > began):
            return
        shown, now = _shown(cluster), database_now()
        if cluster.trouble != Trouble.IDENTITY or trouble == Trouble.IDENTITY:  # which does not pass by itself
            if cluster.trouble != trouble:
                log.warning("%s cannot be read (%s): %s", cluster.name, trouble, words)
                cluster.trouble, cluster.trouble_since = trouble, now
            cluster.trouble_words = words
        if trouble is Trouble.SIGN_IN:
            cluster.next_read_at = now + SIGN_IN_AGAIN
        elif cluster.next_read_at == reserved:
            cluster.next_read_at = now + max(settings.POLL_EVERY, pause or timedelta())
        _save(cluster, shown)


def match(rows: Iterable[Relationship], status: TargetStatus) -> Relationship | None:
    """The row that this status is about: same id, source cluster and target directory. A directory id that one side
    does not tell (before the directory exists) is no difference."""
    root = status.target_root_id or ""
    fitting = [
        row
        for row in rows
        if row.relationship_id == status.id
        and row.source_cluster_uuid == status.source_cluster_uuid
        and (row.target_root_id == root or not row.target_root_id or not root)
    ]
    return min(fitting, key=lambda row: (row.target_root_id != root, row.gone_at is not None, -row.pk), default=None)


def _compare(change: Changes, cluster: Cluster, rows: list[Relationship], listing: Listing) -> str:
    """Take the list to the rows. Returns what was said of rows that nobody has ever read."""
    by_id: defaultdict[str, list[Relationship]] = defaultdict(list)
    for row in rows:
        by_id[row.relationship_id].append(row)
    objectives = list(cluster.objectives.all())
    listed: set[int] = set()
    for status in listing.statuses.rows:
        known = match(by_id[status.id], status)
        if known is not None:
            listed.add(known.pk)
            _known(change, known, status, listing, objectives)
        else:
            new = Relationship(cluster=cluster, objective=objective_for(status.target_root_path, objectives))
            first_seen(change, new, status, listing.at)
            for old in by_id[status.id]:
                _gone(change, old, listing.at, "Its id belongs to another relationship now")
    unknown: list[UnreadableRow] = []
    for bad in listing.statuses.unreadable:
        meant = next((row for row in reversed(by_id[bad.id or ""]) if row.gone_at is None), None)
        if meant is None:
            unknown.append(bad)
        else:
            listed.add(meant.pk)
            _unreadable(change, meant, bad, listing)
    if all(bad.id for bad in listing.statuses.unreadable):  # else any absent row may be the one without an id
        for row in rows:
            if row.pk not in listed:
                _absent(change, row, listing)
    return _words(unknown)


def _words(unknown: list[UnreadableRow]) -> str:
    lines = [f"{bad.id or 'A row without a usable id'}: {bad.why}" for bad in unknown[:_LISTED_MOST]]
    if len(unknown) > _LISTED_MOST:
        lines.append(f"and {len(unknown) - _LISTED_MOST} more")
    return "\n".join(lines)


def _known(
    change: Changes, row: Relationship, status: TargetStatus, listing: Listing, objectives: list[Objective]
) -> None:
    if _read_since(row, listing):
        return
    path = row.target_root_path
    take(change, row, status, listing.at)
    if row.target_root_path != path:
        row.objective = objective_for(row.target_root_path, objectives)


def _read_since(row: Relationship, listing: Listing) -> bool:
    return row.own_read_at is not None and row.own_read_at > listing.at


def _unreadable(change: Changes, row: Relationship, bad: UnreadableRow, listing: Listing) -> None:
    if _read_since(row, listing):
        return
    if not row.unreadable:
        change.say(row, "listing", "Cannot be read", bad.why)
    row.missing_since = row.missing_since or row.read_at
    row.unreadable, row.misses = bad.why, 0


def _absent(change: Changes, row: Relationship, listing: Listing) -> None:
    """One absence is nothing: a list may be made while somebody reverses or authorizes."""
    if row.gone_at is not None or _read_since(row, listing):
        return
    row.missing_since = row.missing_since or row.read_at
    row.misses += 1
    if row.misses >= GONE_AFTER:
        _gone(change, row, listing.at, f"Absent from {GONE_AFTER} lists in a row")


def _gone(change: Changes, row: Relationship, at: datetime, why: str) -> None:
    if row.gone_at is None:
        row.missing_since = row.missing_since or row.read_at
        row.gone_at = at
        change.say(row, "listing", "No longer listed", why)


def _shown(cluster: Cluster) -> tuple[Any, ...]:
    """What pages show of a cluster; when it changes, its version does."""
    ahead = cluster.clock_ahead
    skewed = ahead is not None and abs(ahead) > SKEW_SHOWN
    names = (cluster.reported_name, cluster.core_version, cluster.node_state, cluster.unreadable_rows)
    return (cluster.trouble, cluster.trouble_words, cluster.silent, skewed, *names)


def _save(cluster: Cluster, shown: tuple[Any, ...]) -> None:
    if _shown(cluster) != shown:
        cluster.version += 1
    cluster.save()


def _store_sources(cluster: Cluster, answer: SourceStatusList, at: datetime) -> None:
    """In a transaction of its own: it raises the version of rows that belong to other clusters, and holding this one's
    rows meanwhile would be a deadlock with a reading of theirs."""
    with transaction.atomic():
        known = {source.relationship_id: source for source in cluster.sources.select_for_update().order_by("pk")}
        listed = {status.id: to_json(status) for status in answer.rows}
        kept = listed.keys() | {bad.id for bad in answer.unreadable}
        changed = [key for key, status in listed.items() if key not in known or known[key].status != status]
        for key in changed:
            values = {"status": listed[key], "read_at": at}
            Source.objects.update_or_create(cluster=cluster, relationship_id=key, defaults=values)
        cluster.sources.filter(relationship_id__in=listed).update(read_at=at)
        ended = [key for key in known if key not in kept]
        cluster.sources.filter(relationship_id__in=ended).delete()
        theirs = Relationship.objects.filter(source_cluster_uuid=cluster.uuid, relationship_id__in=[*changed, *ended])
        rows = list(theirs.select_for_update().order_by("pk").values_list("pk", flat=True))
        Relationship.objects.filter(pk__in=rows).update(version=F("version") + 1)
