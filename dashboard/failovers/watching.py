"""What drivers do with a failover that is on the cluster: read, for ever; never a POST.

Rules 8 and 11: only readings of the cluster and relationship that were approved count, and `succeeded` is written only
after two readings that agree: disconnected and writable, at least two seconds apart, with none in between, by
whomever, that says otherwise. Every reading is kept as evidence, also one that brought nothing. What only a person can
settle moves nothing here; the page asks `readings.concern`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.database import database_now
from dashboard.failovers import readings
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, State
from dashboard.failovers.models import Failover
from dashboard.failovers.moves import take_turn, tried
from dashboard.fleet import access, observe
from dashboard.fleet.models import Trouble
from dashboard.qumulo.errors import NotFound, QumuloError
from dashboard.qumulo.records import State as Api
from dashboard.words import visible


def watch(failover: Failover) -> None:
    """One reading, by anybody, for ever; never a POST."""
    if not take_turn(failover, TIMING.watch):
        return None
    row = failover.relationship
    if row.cluster.trouble == Trouble.IDENTITY:  # whoever answers there now: it is asked and believed no more
        return _unanswered(failover, row.cluster.trouble_words, "identity")
    if not observe.may_sign_in(row.cluster):
        return _unanswered(failover, row.cluster.trouble_words, "unreachable")
    before = readings.last_read(failover)
    try:
        with access.reader(row.cluster) as door:
            read = door.read(row)
    except access.WrongIdentity as error:
        observe.noticed(row.cluster, error)
        return _unanswered(failover, str(error), "identity")
    except NotFound as error:
        return _unanswered(failover, error.words, "vanished")
    except QumuloError as error:
        if error.http_status in (401, 403):
            observe.noticed(row.cluster, error)
        return _unanswered(failover, error.words, "unreachable", pause=timedelta(seconds=error.retry_after or 0))
    reach("watch.after_read")
    if not failover.item.same_identity(read.status):
        words = "The relationship is no longer the one that was approved."
        return _unanswered(failover, words, "identity")
    observe.record(row, read, held_by=failover.number)
    _judge(failover, read, before.state if before else "")
    return None


def _unanswered(failover: Failover, words: str, kind: str, *, pause: timedelta = timedelta()) -> None:
    """`pause`: for so long the cluster asked not to be asked."""
    observe.record_failure(failover.relationship, words, kind, held_by=failover.number)
    Failover.objects.filter(pk=failover.pk, state__in=ON_THE_CLUSTER).update(
        next_step_at=database_now() + max(TIMING.watch_unanswered, pause), first_writable_at=None
    )


def _judge(failover: Failover, read: access.Reading, before: str) -> None:
    state, read_only = read.status.state, read.status.target_root_read_only
    if state == Api.DISCONNECTED and not read_only:
        return _writable(failover, read)
    # The two readings must follow one another. Whichever of this one and the first is older, the count starts again.
    Failover.objects.filter(pk=failover.pk, state__in=ON_THE_CLUSTER, first_writable_at__isnull=False).update(
        first_writable_at=None, version=F("version") + 1
    )
    if state in (Api.DISCONNECTING, Api.DISCONNECTED):
        if failover.state == State.SENT:
            with transaction.atomic():
                words = f"{failover.relationship.cluster.name} reports {state}: the revert runs"
                tried(failover, "revert", words=words, detail=_evidence(read), reverting_at=database_now())
        return None
    ours_is_over = failover.state == State.REVERTING or state != Api.ESTABLISHED
    if ours_is_over and state != before:
        with transaction.atomic():
            words = f"{failover.relationship.cluster.name} reports {visible(state)} during the failover"
            chain.append("failover.outside", actor=SYSTEM, object=failover.number, words=words, detail=_evidence(read))
    return None


def _writable(failover: Failover, read: access.Reading) -> None:
    """First reading: note it, and that it is over now, however long it took. A later one that agrees: that, and nothing
    else, is success."""
    target = failover.relationship.cluster.name
    if failover.first_writable_at is None:
        with transaction.atomic():
            noted = Failover.objects.filter(
                pk=failover.pk, state__in=ON_THE_CLUSTER, first_writable_at__isnull=True
            ).update(first_writable_at=database_now(), version=F("version") + 1)
            if noted:
                words = f"{target} reports the relationship as disconnected"
                chain.append(
                    "failover.disconnected",
                    actor=SYSTEM,
                    object=failover.number,
                    words=words,
                    detail=_evidence(read),
                )
        return
    if read.at < failover.first_writable_at + TIMING.agree:
        return
    reach("watch.before_success")
    confirmed = bool(failover.answer and failover.answer.get("kind") == "accepted")
    with transaction.atomic():
        tried(
            failover,
            "succeed",
            words=f"Verified: {target} reports the target as writable",
            detail=_evidence(read),
            where=(Q(first_writable_at=failover.first_writable_at),),  # no reading has contradicted it meanwhile
            ended_at=read.at,
            outcome="confirmed" if confirmed else "inferred",
            outcome_words=f"{target} reports the relationship as disconnected and the target as not read-only.",
        )
    reach("watch.after_success")


def _evidence(read: access.Reading) -> dict[str, Any]:
    snapshot = read.status.recovery_point_snapshot
    return {
        "state": visible(read.status.state),
        "target_root_read_only": read.status.target_root_read_only,
        "recovery_point": read.status.recovery_point.raw if read.status.recovery_point else "",
        "snapshot": visible(snapshot.name) if snapshot and snapshot.name else "",
        "read_at": read.at.isoformat(),
        "node": read.node_id,
    }
