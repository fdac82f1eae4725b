"""Watching: ask one cluster, and what the sweep does each pass so that every cluster is asked and nothing stale looks
fresh.

A page never waits for any of this. One reading is one Celery task or one thread of the sweep; a slow or dead cluster
holds up nothing but itself. What a reading brings is stored by `sample`; a reading of one relationship, made during a
failover, by `record`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from dashboard.database import database_now
from dashboard.fleet import access, sample
from dashboard.fleet.access import Door, Reading
from dashboard.fleet.changes import Changes, take
from dashboard.fleet.models import Cluster, Event, Observation, RecoveryPoint, Relationship, Trouble
from dashboard.qumulo.errors import Answered, CertificateRefused, Forbidden, Nonsense, QumuloError, Unauthorized
from dashboard.qumulo.records import to_json
from dashboard.words import duration

log = logging.getLogger(__name__)

DETAILS_EVERY = timedelta(minutes=1)
EXECUTOR_EVERY = timedelta(hours=1)
LONGEST_READING = timedelta(seconds=30)  # after which one that began is taken for dead, and the next is handed out
ASKED_APART = timedelta(seconds=5)
HIDDEN_AFTER = timedelta(days=7)
_BATCH = 500


# ── Reading a cluster ────────────────────────────────────────────────────────


def observe(cluster_pk: int) -> None:
    """Read one cluster now and store what changed. One that cannot be read becomes `trouble`, never an exception."""
    cluster = Cluster.objects.filter(pk=cluster_pk).first()
    if cluster is None:
        return
    began = database_now()
    reserved = began + LONGEST_READING
    Cluster.objects.filter(pk=cluster_pk).update(last_try_at=began, next_read_at=reserved)
    try:
        with access.reader(cluster) as door:
            listing = door.listing()
            asked = cluster.sources_read_at
            details = _details(door, cluster) if asked is None or began - asked >= DETAILS_EVERY else None
    except access.WrongIdentity as error:
        sample.fail(cluster_pk, Trouble.IDENTITY, str(error), began=began, reserved=reserved)
    except QumuloError as error:
        pause = timedelta(seconds=error.retry_after or 0)
        sample.fail(cluster_pk, _trouble(error), error.words, began=began, reserved=reserved, pause=pause)
    else:
        sample.store(cluster_pk, listing, details, reserved=reserved)


def _trouble(error: QumuloError) -> Trouble:
    match error:
        case CertificateRefused():
            return Trouble.CERTIFICATE
        case QumuloError(http_status=401 | 403) | access.NoToken():
            return Trouble.SIGN_IN
        case Nonsense() | Answered():
            return Trouble.NONSENSE
        case _:
            return Trouble.UNREACHABLE


def _details(door: Door, cluster: Cluster) -> sample.Details | None:
    """Name, version and source statuses. None of them may spoil a good list: without them the known ones stay."""
    try:
        name, version = door.name_and_version()
        try:
            sources = door.sources()
        except Forbidden:  # the reader needs no more than the targets
            sources = None
        return sample.Details(name, version, sources)
    except QumuloError as error:
        log.warning("%s: its list was read, its name, version and sources were not: %s", cluster.name, error.words)
        return None


def noticed(cluster: Cluster, error: Exception) -> None:
    """What a reading of one relationship showed of its whole cluster: that it is another one, or refuses the sign-in of
    the reader."""
    trouble = Trouble.IDENTITY if isinstance(error, access.WrongIdentity) else Trouble.SIGN_IN
    now = database_now()
    sample.fail(cluster.pk, trouble, str(error), began=now, reserved=now)


def may_sign_in(cluster: Cluster) -> bool:
    """Whether the reader's token may be tried now. One that was refused is tried once a minute, so that its account is
    not locked, and by the reading of the whole cluster: only when that has not come does anybody else."""
    if cluster.trouble != Trouble.SIGN_IN:
        return True
    now = database_now()
    overdue = Cluster.objects.filter(pk=cluster.pk, next_read_at__lte=now - settings.POLL_EVERY)
    return overdue.update(next_read_at=now + sample.SIGN_IN_AGAIN) == 1


def executor_refused(cluster: Cluster, words: str) -> None:
    """The executor's token was refused when it was needed: a page says so at once, not at the next hourly check."""
    Cluster.objects.filter(pk=cluster.pk).update(executor_checked_at=database_now())
    _executor_trouble(cluster.pk, words)


def executor_may_sign_in(cluster: Cluster, again: timedelta) -> bool:
    """Whether the executor's token may be tried now. One that was refused is tried once in `again`, by one failover or
    by the check, however many wait."""
    if not cluster.executor_trouble:
        return True
    now = database_now()
    untried = Q(executor_checked_at__isnull=True) | Q(executor_checked_at__lte=now - again)
    turn = Cluster.objects.filter(untried, pk=cluster.pk)
    return turn.update(executor_checked_at=now) == 1


def executor_accepted(cluster: Cluster) -> None:
    """It was not refused: if it had been before, it is checked at once, so that nobody waits any longer."""
    if cluster.executor_trouble:
        Cluster.objects.filter(pk=cluster.pk).update(executor_checked_at=None)


def check_executor(cluster_pk: int) -> None:
    """Whether the executor token would be taken. Only a clear no is trouble; no answer says nothing about a token."""
    cluster = Cluster.objects.get(pk=cluster_pk)
    try:
        with access.executor(cluster) as door:
            missing = access.missing_privileges("executor", door.who_am_i())
    except (Unauthorized, Forbidden, access.NoExecutor) as error:
        words = error.words
    except (QumuloError, access.WrongIdentity) as error:
        log.warning("The executor token of %s could not be checked: %s", cluster.name, error)
        return
    else:
        words = f"The executor token lacks {', '.join(missing)}." if missing else ""
    _executor_trouble(cluster_pk, words)


def _executor_trouble(cluster_pk: int, words: str) -> None:
    changed = Cluster.objects.filter(pk=cluster_pk).exclude(executor_trouble=words)
    changed.update(executor_trouble=words, version=F("version") + 1)


# ── Reading one relationship, during a failover ──────────────────────────────


def record(relationship: Relationship, reading: Reading, *, held_by: str) -> Observation:
    """Keep a reading for ever as evidence, and take it to its row, unless the row was read later or is another
    relationship with the same id."""
    status = reading.status
    job = status.replication_job_status
    with transaction.atomic():
        row = Relationship.objects.select_for_update().get(pk=relationship.pk)
        observation = Observation.objects.create(
            relationship=row,
            held_by=held_by,
            at=reading.at,
            state=status.state,
            target_root_read_only=status.target_root_read_only,
            percent=job.percent_complete if job else None,
            status=to_json(status),
            node_id=reading.node_id[:16],
        )
        if sample.match([row], status) is not None and (row.read_at is None or row.read_at <= reading.at):
            change = Changes(database_now())
            change.watch(row)
            take(change, row, status, reading.at)
            row.own_read_at = reading.at
            change.write()
    return observation


def record_failure(relationship: Relationship, words: str, kind: str, *, held_by: str) -> Observation:
    """Keep that a reading brought nothing. `kind`: unreachable, identity, vanished, held."""
    return Observation.objects.create(
        relationship=relationship, held_by=held_by, at=database_now(), words=f"{kind}: {words}"[:500]
    )


# ── What is due ──────────────────────────────────────────────────────────────


def due_clusters(now: datetime) -> list[int]:
    """Keys of the clusters to read now; each is handed out once, however many sweeps run."""
    found = Cluster.objects.filter(next_read_at__lte=now).values_list("pk", "next_read_at")
    return [
        pk
        for pk, due in found
        if Cluster.objects.filter(pk=pk, next_read_at=due).update(next_read_at=now + settings.POLL_EVERY) == 1
    ]


def read_now(cluster: Cluster, now: datetime) -> bool:
    """Somebody wants it read at once: the sweep's next pass does. False when it was just read, or refused the sign-in
    less than a minute ago."""
    untried = Q(last_try_at__isnull=True) | Q(last_try_at__lte=now - ASKED_APART)
    refused = Q(trouble=Trouble.SIGN_IN, last_try_at__gt=now - sample.SIGN_IN_AGAIN)
    asked = Cluster.objects.filter(untried, pk=cluster.pk).exclude(refused)
    return asked.update(next_read_at=now) == 1


def executors_due(now: datetime) -> list[int]:
    """Keys of the clusters whose executor token is to be checked, each minute while it is refused; none in a process
    without EXECUTOR_KEY."""
    if not settings.EXECUTOR_KEY:
        return []
    unchecked = Q(executor_checked_at__isnull=True) | Q(executor_checked_at__lte=now - EXECUTOR_EVERY)
    unchecked |= ~Q(executor_trouble="") & Q(executor_checked_at__lte=now - sample.SIGN_IN_AGAIN)
    found = Cluster.objects.filter(unchecked).exclude(executor_token="").values_list("pk", flat=True)
    return [pk for pk in found if Cluster.objects.filter(unchecked, pk=pk).update(executor_checked_at=now) == 1]


def regrade(now: datetime) -> int:
    """What time alone changes: a cluster that was not read for UNKNOWN_AFTER becomes silent with all its rows, and rows
    whose `changes_at` has come are judged again. Returns how many rows a page shows differently."""
    read = Coalesce("last_read_at", "added_at")
    unread = Cluster.objects.filter(silent=False).alias(read=read).filter(read__lte=now - settings.UNKNOWN_AFTER)
    changed = sum(_silence(pk, now) for pk in unread.values_list("pk", flat=True))
    due = list(Relationship.objects.filter(changes_at__lte=now).order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(due), _BATCH):
        with transaction.atomic():
            rows = Relationship.objects.select_for_update().filter(pk__in=due[start : start + _BATCH])
            changed += _judge_all(list(rows.filter(changes_at__lte=now).order_by("pk")), now)
    return changed


def _silence(cluster_pk: int, now: datetime) -> int:
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=cluster_pk)
        if cluster.silent or (cluster.last_read_at or cluster.added_at) > now - settings.UNKNOWN_AFTER:
            return 0
        Cluster.objects.filter(pk=cluster_pk).update(silent=True, version=F("version") + 1)
        log.warning("%s has not been read for %s", cluster.name, duration(settings.UNKNOWN_AFTER))
        return _judge_all(list(cluster.relationships.select_for_update().order_by("pk")), now)


def _judge_all(rows: list[Relationship], now: datetime) -> int:
    """Rows that are locked. Their clusters are read after the lock, so that a silence just stored is not missed."""
    clusters = Cluster.objects.in_bulk({row.cluster_id for row in rows})
    change = Changes(now)
    for row in rows:
        row.cluster = clusters[row.cluster_id]
        change.watch(row)
    return change.write()


def prune(now: datetime) -> None:
    """Daily. History goes after HISTORY_DAYS; what was gone for a week is hidden, not deleted. Evidence stays."""
    old = now - timedelta(days=settings.HISTORY_DAYS)
    RecoveryPoint.objects.filter(seen_at__lt=old).delete()
    Event.objects.filter(at__lt=old).delete()
    gone = Relationship.objects.filter(gone_at__lte=now - HIDDEN_AFTER, hidden=False, held_by="")
    gone.update(hidden=True, version=F("version") + 1)
