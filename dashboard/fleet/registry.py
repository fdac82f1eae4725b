"""Which clusters are watched: adding, changing, testing and removing them, and their objectives. Each verb is one
transaction with its entry in the ledger; what does not fit is `Refused` with one sentence, and nothing is stored.
"""

from __future__ import annotations

import re
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now
from dashboard.fleet import access, observe
from dashboard.fleet.access import Purpose
from dashboard.fleet.admission import Admitted, Refused, admit, understood
from dashboard.fleet.changes import Changes
from dashboard.fleet.models import Cluster, Objective, Trouble, objective_for
from dashboard.qumulo.addresses import parse_url
from dashboard.qumulo.edge import clean
from dashboard.qumulo.errors import QumuloError
from dashboard.qumulo.trust import fingerprint as fingerprint_of
from dashboard.words import duration, visible

__all__ = ["Admitted", "Refused", "add", "change", "examine", "find", "path_prefix", "remove", "set_objective"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PREFIX_MOST = 1024
_OBJECTIVE_MOST = timedelta(days=3650)


def add(
    name: str,
    url: str,
    *,
    actor: Actor,
    reader_token: str,
    executor_token: str = "",
    ca: str = "",
    fingerprint: str = "",
) -> Admitted:
    """Register a cluster. Exactly one of `ca` (PEM) and `fingerprint` (SHA-256) says which certificate is trusted;
    without an executor token it is watched only."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is not a name; use up to 64 letters, digits, dashes and underscores.")
    if Cluster.objects.filter(name=name).exists():
        raise Refused(f"There is already a cluster named {name}.")
    cluster = Cluster(name=name, url=understood(lambda: parse_url(url)))
    admitted = admit(cluster, reader_token, executor_token, ca, fingerprint)
    try:
        with transaction.atomic():
            cluster.save(force_insert=True)
            chain.append(
                Tag.CLUSTER_ADDED, actor=actor, object=f"cluster:{name}", words=_added(cluster), detail=_facts(cluster)
            )
    except IntegrityError:
        raise Refused(f"{name} was registered by somebody else just now.") from None
    return admitted


def change(
    name: str,
    *,
    actor: Actor,
    url: str = "",
    reader_token: str = "",
    executor_token: str = "",
    ca: str = "",
    fingerprint: str = "",
) -> Admitted:
    """Another address, certificate or token for a cluster that is the same by its id; what is not given stays."""
    cluster = find(name)
    cluster.url = understood(lambda: parse_url(url)) if url else cluster.url
    admitted = admit(cluster, reader_token, executor_token, ca, fingerprint)
    given = {"url": url, "ca": ca, "fingerprint": fingerprint, "reader": reader_token, "executor": executor_token}
    changed = [what for what, value in given.items() if value]
    columns = ["url", "trust_kind", "certificate", "reader_token", "executor_token", "reported_name", "core_version"]
    with transaction.atomic():
        stored = Cluster.objects.select_for_update().get(pk=cluster.pk)
        for column in columns:
            setattr(stored, column, getattr(cluster, column))
        if executor_token:
            stored.executor_trouble, stored.executor_checked_at = "", database_now()
        stored.next_read_at = database_now()
        stored.version += 1
        words = f"{name} changed: {', '.join(changed)}."
        if stored.trouble == Trouble.IDENTITY:  # it has just been recognised, by somebody who answers for it
            stored.trouble, stored.trouble_words, stored.trouble_since = "", "", None
            words += " Another cluster had answered in its place; it is believed again."
        stored.save()
        chain.append(Tag.CLUSTER_CHANGED, actor=actor, object=f"cluster:{name}", words=words, detail=_facts(cluster))
    return admitted


def remove(name: str, *, actor: Actor) -> None:
    """Forget a cluster, its relationships and their history. One that has failovers stays, with their record."""
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=find(name).pk)
        try:
            cluster.relationships.all().delete()
        except ProtectedError:
            words = f"{name} has failovers in its record, which is kept for ever; it cannot be removed."
            raise Refused(words) from None
        facts = _facts(cluster)
        cluster.delete()
        words = f"{name} is no longer watched."
        chain.append(Tag.CLUSTER_REMOVED, actor=actor, object=f"cluster:{name}", words=words, detail=facts)


def set_objective(name: str, prefix: str, length: timedelta | None, *, actor: Actor) -> int:
    """How old recovery points under this target path may be; None takes the rule away. Returns how many relationships
    have another objective now; they are judged again at once."""
    prefix = path_prefix(prefix)
    if length is not None and length > _OBJECTIVE_MOST:
        raise Refused(f"An objective is at most {duration(_OBJECTIVE_MOST)}.")
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=find(name).pk)
        if length is None:
            if not cluster.objectives.filter(path_prefix=prefix).delete()[0]:
                raise Refused(f"There is no objective for {name}:{prefix}.")
        else:
            seconds = {"seconds": int(length.total_seconds())}
            Objective.objects.update_or_create(cluster=cluster, path_prefix=prefix, defaults=seconds)
        objectives = list(cluster.objectives.all())
        changes, changed = Changes(database_now()), 0
        for row in cluster.relationships.select_for_update().order_by("pk"):
            changes.watch(row)
            objective = objective_for(row.target_root_path, objectives)
            changed += objective != row.objective
            row.objective = objective
        changes.write()
        said = duration(length) if length else "the default"
        words = f"Objective of {name}:{visible(prefix)} is {said}."
        chain.append(Tag.OBJECTIVE_SET, actor=actor, object=f"cluster:{name}", words=words)
    return changed


def path_prefix(given: str) -> str:
    """As it is stored: absolute, without a slash at its end. Or Refused."""
    prefix = given.rstrip("/") or "/"
    if not prefix.startswith("/") or len(prefix) > _PREFIX_MOST or clean(prefix) != prefix:
        raise Refused(f"{prefix!r} is not a path prefix; write for example /dr/finance.")
    return prefix


def find(name: str) -> Cluster:
    cluster = Cluster.objects.filter(name=name).first()
    if cluster is None:
        raise Refused(f"There is no cluster named {name}.")
    return cluster


def examine(cluster: Cluster) -> list[tuple[bool, str]]:
    """Read the cluster now and try both tokens: sentences, each with whether all is well there."""
    observe.observe(cluster.pk)
    cluster.refresh_from_db()
    if cluster.trouble:
        found = [(False, f"{cluster.get_trouble_display()}: {cluster.trouble_words}")]
    else:
        count = cluster.relationships.filter(gone_at=None).count()
        version = visible(f"{cluster.reported_name}, Qumulo Core {cluster.core_version}")
        found = [(True, f"Read: {version}, {count} target relationships.")]
    if cluster.unreadable_rows:
        found.append((False, f"Rows that cannot be read: {visible(cluster.unreadable_rows)}"))
    found.append(_examine_token(cluster, "reader"))
    if cluster.watched_only:
        found.append((True, "There is no executor token: watched only."))
    elif not settings.EXECUTOR_KEY:
        found.append((True, "The executor token was not tried: this process was not given EXECUTOR_KEY."))
    else:
        found.append(_examine_token(cluster, "executor"))
    return found


def _examine_token(cluster: Cluster, purpose: Purpose) -> tuple[bool, str]:
    door = access.executor if purpose == "executor" else access.reader
    try:
        with door(cluster) as opened:
            me = opened.who_am_i()
    except (QumuloError, access.WrongIdentity) as error:
        return False, f"The {purpose} token: {error}"
    missing = access.missing_privileges(purpose, me)
    if missing:
        return False, f"The {purpose} token ({visible(me.name)}) lacks {', '.join(missing)}."
    return True, f"The {purpose} token is accepted ({visible(me.name)})."


def _added(cluster: Cluster) -> str:
    watched = " Watched only." if cluster.watched_only else ""
    return f"{cluster.name} is {visible(cluster.reported_name)} ({cluster.uuid}) at {cluster.url}.{watched}"


def _facts(cluster: Cluster) -> dict[str, str | bool]:
    return {
        "uuid": cluster.uuid,
        "url": cluster.url,
        "reported_name": cluster.reported_name,
        "core_version": cluster.core_version,
        "trust": cluster.trust_kind,
        "certificate": fingerprint_of(cluster.certificate),
        "executor": not cluster.watched_only,
    }
