"""What the desk knows, put together for people and for the sender: the situation of a relationship, the facts that are
frozen with a request, what may be lost, and why a person is needed. Reads the database only; no page waits on a
cluster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from dashboard.accounts.models import Person, User
from dashboard.accounts.people import people_with
from dashboard.accounts.roles import Role
from dashboard.failovers import lifecycle
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import Concern, LastRead, Refused, State
from dashboard.failovers.models import Failover, Heartbeat, Hold
from dashboard.failovers.preflight import SKEW_TOLERATED, Check, Situation, Source, judge
from dashboard.fleet.access import Reading
from dashboard.fleet.changes import state_words
from dashboard.fleet.models import Cluster, Observation, Relationship, Trouble
from dashboard.fleet.models import Source as SourceRow
from dashboard.words import clock, duration, to_type, visible

NOTHING_LOST = "Nothing lost: the source has been read-only since before it."
LATE_SENDER = timedelta(seconds=15)


def situation(
    row: Relationship, *, now: datetime, user: User | None = None, failover: Failover | None = None
) -> Situation:
    """From the last observation. With `user`: also whether that person may ask. With `failover`: against its plan."""
    cluster = row.cluster
    listed = row.missing_since is None and row.gone_at is None and not row.unreadable
    troubled = cluster.trouble or cluster.silent
    hold = active_hold(cluster.name)
    other = row.held_by if failover is None or row.held_by != failover.number else ""
    ahead = timedelta(seconds=cluster.clock_ahead) if cluster.clock_ahead is not None else None
    return Situation(
        now=now,
        target=cluster.name,
        status=row.facts,
        read_at=row.read_at,
        answers=listed and not troubled,
        objective=row.objective_time,
        source=_source(row),
        trouble=_trouble(cluster) if listed else "does not list this relationship as something that can be read",
        node_state=cluster.node_state,
        clock_ahead=ahead,
        executor="missing" if cluster.watched_only else "refused" if cluster.executor_trouble else "ready",
        stalled_since=row.stalled_since,
        source_read_only_since=row.source_read_only_since,
        other_request=other,
        held=hold.reason if hold else "",
        may_request=user is None or user.has(Role.OPERATOR),
        item=failover.item if failover else None,
    )


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


def _source(row: Relationship) -> Source:
    cluster = Cluster.objects.filter(uuid=row.source_cluster_uuid).first()
    if cluster is None:
        return Source()
    status = SourceRow.objects.filter(cluster=cluster, relationship_id=row.relationship_id).first()
    mode = str(status.status.get("replication_mode") or "") if status else ""
    answers = not cluster.silent and not cluster.trouble and cluster.last_read_at is not None
    return Source(known=True, answers=answers, last_read_at=cluster.last_read_at, mode=mode)


def expected_typing(row: Relationship) -> str:
    """What to type to confirm; with the cluster's name when typing the path alone would not tell two targets apart."""
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
    percent = f", {job.percent_complete:.0f} %" if running and job and job.percent_complete is not None else ""
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


def frozen(s: Situation) -> dict[str, Any]:
    """What a person saw, as stored with a request or a decision: texts only."""
    return {
        "at": s.now.isoformat(),
        "facts": [asdict(fact) for fact in facts(s)],
        "checks": [asdict(check) for check in judge(s)],
        "loss": loss(s).words,
    }


def compare(then: dict[str, Any], now: list[Fact]) -> list[tuple[Fact, Fact, bool]]:
    """(then, now, changed) for each fact, changed ones first."""
    before = {fact["key"]: Fact(**fact) for fact in then.get("facts", [])}
    pairs = [(before.get(fact.key, Fact(fact.key, fact.label, "", "Not known")), fact) for fact in now]
    rows = [(old, new, old.value != new.value) for old, new in pairs]
    return sorted(rows, key=lambda row: not row[2])


def precheck(read: Reading, s: Situation, checks: list[Check]) -> dict[str, Any]:
    """What the sender acted on; goes into the row and the ledger with the intent."""
    status = read.status
    return {
        "read_at": read.at.isoformat(),
        "node": read.node_id,
        "state": visible(status.state),
        "target_root_read_only": status.target_root_read_only,
        "recovery_point": status.recovery_point.raw if status.recovery_point else "",
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
    # Only while the source itself is heard: what the target says of it is a copy that a broken link leaves behind.
    since = s.source_read_only_since
    if status.source_root_read_only and s.source.answers and since is not None and since < start:
        return Loss("nothing", NOTHING_LOST, start, until)
    length = max(until - start, timedelta(0))
    return Loss("lost", f"Up to {duration(length)} lost", start, until, length)


def loss_of(failover: Failover, *, now: datetime) -> Loss:
    """The loss of a failover that has left the desk: from the recovery point it acted on to the moment of sending."""
    row = failover.relationship
    if failover.sent_at is None:
        return loss(situation(row, now=now, failover=failover))
    start = failover.item.loss_from_at
    point = (failover.precheck or {}).get("recovery_point") or ""
    moved = datetime.fromisoformat(point) if point else None
    if start is None or (failover.item.recovery_point and point != failover.item.recovery_point and moved):
        start = moved or start
    if start is None:
        return Loss("unknown", "Loss not known: there is no recovery point.")
    if (failover.precheck or {}).get("nothing_lost"):
        return Loss("nothing", NOTHING_LOST, start, failover.sent_at)
    length = max(failover.sent_at - start, timedelta(0))
    return Loss("lost", f"Up to {duration(length)} lost", start, failover.sent_at, length)


# ── People and holds ─────────────────────────────────────────────────────────


def approvers(*, excluding: Person | None = None) -> list[str]:
    """Who could decide, by name; the requester is never among them."""
    labels = {user.person.label for user in people_with(Role.APPROVER) if user.person != excluding}
    return sorted(labels)


def active_hold(cluster_name: str) -> Hold | None:
    return Hold.objects.filter(Q(scope="") | Q(scope=cluster_name), lifted_at=None).order_by("at").first()


def still_good(failover: Failover) -> None:
    """Asked inside the intent's transaction: no hold stands, and the approvals still come from approvers. Or
    Refused."""
    hold = active_hold(failover.relationship.cluster.name)
    if hold:
        raise Refused(f"Nothing is sent: {hold.reason}")
    asked = failover.request
    able = {user.person_id for user in people_with(Role.APPROVER)}
    votes = asked.decisions.filter(verdict="approve", digest=asked.digest).values_list("person_id", flat=True)
    if len({person for person in votes if person in able and person != asked.requester_id}) < asked.required:
        raise Refused("An approver may no longer approve; the approval does not count any more.")


def late_sender(now: datetime) -> timedelta | None:
    """How long ago the sweep came round, when that is too long: an approved failover may start late."""
    beat = Heartbeat.objects.filter(driver="sweep").first()
    if beat is None:
        return None
    return now - beat.at if now - beat.at > LATE_SENDER else None


# ── On the cluster ───────────────────────────────────────────────────────────


def _readings(failover: Failover) -> Any:
    return Observation.objects.filter(relationship=failover.relationship_id, held_by=failover.number)


def last_read(failover: Failover) -> LastRead | None:
    """The newest reading of this failover; for one that failed, since when they fail that way."""
    newest = _readings(failover).first()
    if newest is None:
        return None
    if newest.state:
        return LastRead(at=newest.at, state=newest.state, target_read_only=newest.target_root_read_only)
    kind = newest.words.partition(":")[0]
    good = _readings(failover).exclude(state="").first()
    failed = _readings(failover).filter(state="", words__startswith=kind)
    if good:
        failed = failed.filter(at__gt=good.at)
    first = failed.order_by("at").values_list("at", flat=True).first()
    return LastRead(at=newest.at, state="", target_read_only=None, trouble=kind, since=first)


def concern(failover: Failover, now: datetime) -> Concern | None:
    return lifecycle.concern(State(failover.state), failover.sent_at, last_read(failover), now, TIMING)


def doubtful(failover: Failover, now: datetime) -> bool:
    """Sent, and no clear answer: the page says "Outcome unknown"."""
    if failover.state != State.SENT or failover.sent_at is None:
        return False
    if failover.answer:
        return failover.answer.get("kind") == "doubt"
    return now >= failover.sent_at + TIMING.post_deadline


@dataclass(frozen=True, slots=True)
class Closable:
    """Whether a person may end it now, and how. `at`: not before. The verb checks all of this again."""

    at: datetime
    not_applied: bool
    other: bool


def closable(failover: Failover, now: datetime) -> Closable | None:
    if failover.state not in lifecycle.ON_THE_CLUSTER or failover.sent_at is None:
        return None
    at = failover.sent_at + TIMING.settle
    last = last_read(failover)
    quiet = last is not None and now - last.at <= TIMING.proof
    untouched = quiet and last is not None and (last.state, last.target_read_only) == ("ESTABLISHED", True)
    open_now = now >= at and (failover.state == State.SENT or concern(failover, now) is not None)
    return Closable(at, open_now and untouched and failover.state == State.SENT, open_now)


def evidence(failover: Failover) -> dict[str, Any]:
    """What the readings since the sending showed, for the ledger and the page that asks a person to close."""
    shown = Counter(
        o.state + (" read-only" if o.target_root_read_only else " writable") if o.state else o.words.partition(":")[0]
        for o in _readings(failover).filter(at__gte=failover.sent_at)
    )
    newest = last_read(failover)
    return {
        "readings": sum(shown.values()),
        "shown": dict(shown),
        "last_at": newest.at.isoformat() if newest else "",
        "last_state": newest.state or newest.trouble if newest else "",
    }
