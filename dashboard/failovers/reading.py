"""What the desk knows of a relationship, put together for people and for the sender: its situation, the facts that are
frozen with a request and compared at each decision, and what may be lost. Reads the database only; no page waits on a
cluster. (Who may decide is in `eyes`, what a failover's own readings showed in `readings`.)
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.failovers.models import Failover, Hold, Request
from dashboard.failovers.planned import nothing_lost
from dashboard.failovers.preflight import SKEW_TOLERATED, Check, Situation, Source, judge
from dashboard.fleet import jobs
from dashboard.fleet.access import Reading
from dashboard.fleet.changes import state_words
from dashboard.fleet.jobs import Estimate
from dashboard.fleet.models import Cluster, Relationship, Trouble
from dashboard.fleet.models import Source as SourceRow
from dashboard.qumulo.records import parse_source_status
from dashboard.words import clock, duration, to_type, visible

NOTHING_LOST = "Nothing lost: the source has been read-only since before it."


class Around:
    """What a situation needs beside its row. Read once, for as many rows as a page or a request has."""

    def __init__(self, rows: Iterable[Relationship]) -> None:
        rows = list(rows)
        self._holds = list(Hold.objects.filter(lifted_at=None).order_by("at"))
        uuids = {row.source_cluster_uuid for row in rows}
        self._sources = {cluster.uuid: cluster for cluster in Cluster.objects.filter(uuid__in=uuids)}
        ids = {row.relationship_id for row in rows}
        statuses = SourceRow.objects.filter(cluster__in=self._sources.values(), relationship_id__in=ids)
        self._statuses = {(status.cluster_id, status.relationship_id): status for status in statuses}

    def hold(self, cluster: str) -> str:
        return next((hold.reason for hold in self._holds if hold.scope in ("", cluster)), "")

    def source(self, row: Relationship) -> Source:
        cluster = self._sources.get(row.source_cluster_uuid)
        if cluster is None:
            return Source()
        status = self._statuses.get((cluster.pk, row.relationship_id))
        return Source(
            known=True,
            answers=not cluster.silent and not cluster.trouble and cluster.last_read_at is not None,
            last_read_at=cluster.last_read_at,
            clock_ahead=None if cluster.clock_ahead is None else timedelta(seconds=cluster.clock_ahead),
            status=parse_source_status(status.status) if status else None,
            read_at=status.read_at if status else None,
        )


def situation(
    row: Relationship,
    *,
    now: datetime,
    user: User | None = None,
    failover: Failover | None = None,
    around: Around | None = None,
    mode: str = "unplanned",
) -> Situation:
    """From the last observation. With `user`: also whether that person may ask. With `failover`: against its plan."""
    around = around or Around([row])
    cluster = row.cluster
    listed = row.missing_since is None and row.gone_at is None and not row.unreadable
    troubled = cluster.trouble or cluster.silent
    other = row.held_by if failover is None or row.held_by != failover.number else ""
    ahead = timedelta(seconds=cluster.clock_ahead) if cluster.clock_ahead is not None else None
    return Situation(
        now=now,
        target=cluster.name,
        status=row.facts,
        read_at=row.read_at,
        answers=listed and not troubled,
        objective=row.objective_time,
        source=around.source(row),
        trouble=_trouble(cluster) if listed else "does not list this relationship as something that can be read",
        node_state=cluster.node_state,
        clock_ahead=ahead,
        executor="missing" if cluster.watched_only else "refused" if cluster.executor_trouble else "ready",
        stalled_since=row.stalled_since,
        source_read_only_since=row.source_read_only_since,
        other_request=other,
        held=around.hold(cluster.name),
        may_request=user is None or user.has(Role.OPERATOR, cluster.name),
        item=failover.item if failover else None,
        mode=failover.item.mode if failover else mode,
    )


def situations(failovers: Sequence[Failover], *, now: datetime) -> list[Situation]:
    """Of all the failovers of a request, against its plan."""
    around = Around(failover.relationship for failover in failovers)
    return [situation(each.relationship, now=now, failover=each, around=around) for each in failovers]


def fresh_situation(failover: Failover, read: Reading, *, now: datetime) -> Situation:
    """The same, on what the sender has read from the cluster itself this moment."""
    row = failover.relationship
    return replace(
        situation(row, now=now, failover=failover),
        status=read.status,
        read_at=read.at,
        answers=True,
        trouble="",
        node_state=read.node_state,
        clock_ahead=read.clock_ahead,
        executor="ready",  # it has just answered to the executor token
        held="",  # a hold is asked for inside the intent's transaction, and it delays instead of ending
    )


def _trouble(cluster: Cluster) -> str:
    if cluster.trouble in (Trouble.NONE, Trouble.UNREACHABLE):
        return ""
    label = str(Trouble(cluster.trouble).label)
    return label[0].lower() + label[1:]


def expected_typing(rows: Sequence[Relationship]) -> str:
    """What to type to confirm. One: its target path; with the cluster's name when the path alone would not tell two
    targets apart. Several: how many on which cluster, `dr-west 12` or `dr-east 3, dr-west 12`."""
    if len(rows) > 1:
        on = Counter(row.cluster.name for row in rows)
        return ", ".join(f"{name} {on[name]}" for name in sorted(on))
    row = rows[0]
    twin = Relationship.objects.filter(target_root_path=row.target_root_path, gone_at=None).exclude(cluster=row.cluster)
    return to_type(row.cluster.name, row.target_root_path, ambiguous=twin.exists())


# ── Facts: frozen with the request, compared at the decision ─────────────────


@dataclass(frozen=True, slots=True)
class Fact:
    """`value` is what is compared; `words` what is shown."""

    key: str
    label: str
    value: str
    words: str


def facts(s: Situation) -> list[Fact]:
    status = s.status
    if status is None:
        return []
    name = visible(status.source_cluster_name)
    source = "Not one of the clusters here"
    if s.source.known:
        heard = clock(s.source.last_read_at, s.now)
        source = "Answering" if s.source.answers else f"Not answering since {heard}"
    answering = str(s.source.answers) if s.source.known else "unknown"
    snapshot = status.recovery_point_snapshot
    point = clock(status.recovery_point.at, s.now) if status.recovery_point else "None yet"
    point_words = f"{point}, snapshot {visible(snapshot.id)}" if snapshot and snapshot.id else point
    running = status.job_state == "REPLICATION_RUNNING"
    job = status.replication_job_status
    percent = f", {int(job.percent_complete)} %" if running and job and job.percent_complete is not None else ""
    replicating = {True: "Enabled", False: "Off", None: "Not known"}[status.replication_enabled]
    return [
        Fact("source", f"Source {name}", answering, source),
        Fact("state", "Replication state", status.state, state_words(status.state)),
        Fact(
            "recovery_point",
            "Recovery point",
            status.recovery_point.raw if status.recovery_point else "",
            point_words,
        ),
        Fact("job", "Job", str(running), f"Running{percent}" if running else "Not running"),
        Fact("access", "Target access", *(2 * ["Read-only" if status.target_root_read_only else "Writable"])),
        Fact(
            "source_access",
            "Source access",
            *(2 * ["Read-only" if status.source_root_read_only else "Writable"]),
        ),
        Fact("error", "Last error", *(2 * [visible(status.error_from_last_job or "None")])),
        Fact("lock", "Snapshot lock key", *(2 * [visible(status.lock_key or "None")])),
        Fact("replication", "Automatic replication", replicating, replicating),
    ]


def frozen(rows: Sequence[Relationship], situations: Sequence[Situation]) -> dict[str, Any]:
    """What a person saw, as stored with a request or a decision, item by item: texts only."""
    return {
        "at": situations[0].now.isoformat(),
        "items": [
            {
                "facts": [asdict(fact) for fact in facts(s)],
                "checks": [asdict(check) for check in judge(s)],
                "loss": _loss_in_full(row, loss(s)),
            }
            for row, s in zip(rows, situations, strict=True)
        ],
    }


def _loss_in_full(row: Relationship, lost: Loss) -> str:
    estimate = in_bytes(row, lost)
    return f"{lost.words}. {estimate.words} {estimate.method}" if estimate else lost.words


def compare(asked: Request, position: int, now: list[Fact]) -> list[tuple[Fact, Fact, bool]]:
    """(then, now, changed) for each fact of one item, changed ones first."""
    before = {fact["key"]: Fact(**fact) for fact in asked.facts_seen["items"][position]["facts"]}
    pairs = [(before.get(fact.key, Fact(fact.key, fact.label, "", "Not known")), fact) for fact in now]
    rows = [(old, new, old.value != new.value) for old, new in pairs]
    return sorted(rows, key=lambda row: not row[2])


def changed(asked: Request, situations: Sequence[Situation]) -> list[tuple[int, Fact]]:
    """(position, fact as it is now) of everything that is no longer as it was asked."""
    return [
        (position, new)
        for position, s in enumerate(situations)
        for _old, new, differs in compare(asked, position, facts(s))
        if differs
    ]


def digest_of(changes: Sequence[tuple[int, Fact]]) -> str:
    """Of the changed facts as they are now: an approver ticks these, and no later ones. "" when nothing changed."""
    text = json.dumps([(position, fact.key, fact.value) for position, fact in changes])
    return hashlib.sha256(text.encode()).hexdigest()[:16] if changes else ""


def precheck(read: Reading, s: Situation, checks: list[Check]) -> dict[str, Any]:
    """What the sender acted on; goes into the row and the ledger with the intent."""
    status = read.status
    return {
        "read_at": read.at.isoformat(),
        "node": read.node_id,
        "state": visible(status.state),
        "target_root_read_only": status.target_root_read_only,
        "recovery_point": status.recovery_point.raw if status.recovery_point else "",
        "loss_from": status.loss_from.raw if status.loss_from else "",
        "snapshot": visible(status.recovery_point_snapshot.id or "") if status.recovery_point_snapshot else "",
        "nothing_lost": loss(s).kind == "nothing",
        "checks": [asdict(check) for check in checks],
    }


# ── Loss ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Loss:
    """`kind`: lost, nothing, unknown. `length` grows until `until`; `since` is the recovery point that is kept."""

    kind: str
    words: str
    since: datetime | None = None
    until: datetime | None = None
    length: timedelta | None = None


def loss(s: Situation, *, until: datetime | None = None) -> Loss:
    """What a failover throws away: everything since the older of recovery point and its snapshot. "Up to": we know
    when, not whether, something changed."""
    status, until = s.status, until or s.now
    start = status.loss_from.at if status and status.loss_from else None
    if status is None or start is None:
        return Loss("unknown", "Loss not known: there is no recovery point.")
    if s.clock_ahead is not None and abs(s.clock_ahead) > SKEW_TOLERATED:
        apart = duration(abs(s.clock_ahead))
        words = f"Loss not known: the clocks of {s.target} and this desk differ by {apart}."
        return Loss("unknown", words, start, until)
    if nothing_lost(s):
        return Loss("nothing", NOTHING_LOST, start, until)
    return _lost(start, until)


def _lost(start: datetime, until: datetime) -> Loss:
    if start - until > SKEW_TOLERATED:
        return Loss("unknown", "Loss not known: the recovery point lies in the future.", start, until)
    length = max(until - start, timedelta(0))
    return Loss("lost", f"Up to {duration(length)} lost", start, until, length)


def loss_of(failover: Failover, *, now: datetime) -> Loss:
    """The loss of a failover that has left the desk: from the recovery point it acted on to the moment of sending."""
    row = failover.relationship
    if failover.sent_at is None:
        return loss(situation(row, now=now, failover=failover))
    acted_on = (failover.precheck or {}).get("loss_from")
    start = datetime.fromisoformat(acted_on) if acted_on else failover.item.loss_from_at
    if start is None:
        return Loss("unknown", "Loss not known: there is no recovery point.")
    if (failover.precheck or {}).get("nothing_lost"):
        return Loss("nothing", NOTHING_LOST, start, failover.sent_at)
    return _lost(start, failover.sent_at)


def in_bytes(row: Relationship, lost: Loss) -> Estimate | None:
    """The same as data; None where nothing is lost, or where the jobs before do not tell."""
    if lost.kind != "lost" or lost.since is None or lost.until is None:
        return None
    return jobs.estimate(row, since=lost.since, until=lost.until)
