"""The one list of checks, for the dialog, the approval and the sender: whatever blocks one of them blocks all.

Rule 8 is one of them: what answers must be what was approved. Pure. What is judged is a `Situation`; the result is the
list that people see, worst first, and `blocks()` is what the sender obeys. A planned failover must also show what
`planned` asks for; a drill is judged like the real thing, because on the cluster it is one. The words are the
product's promise; they name the cluster, never "the system".
"""

from __future__ import annotations

from datetime import timedelta

from dashboard.failovers import planned
from dashboard.failovers.situation import SKEW_TOLERATED, Check, Situation, Source, Verdict
from dashboard.qumulo.records import TargetStatus, visible
from dashboard.words import bare, clock, duration

__all__ = ["SKEW_TOLERATED", "Check", "Situation", "Source", "Verdict", "blocks", "judge"]


def judge(situation: Situation) -> list[Check]:
    """All checks, worst first, in a stable order."""
    checks = [*_around(situation)]
    if situation.status is not None:
        checks += _identity(situation, situation.status)
        checks += _relationship(situation, situation.status)
    order = list(Verdict)
    return sorted(checks, key=lambda check: order.index(check.verdict))


def blocks(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.verdict is Verdict.BLOCK]


def _around(s: Situation) -> list[Check]:
    found: list[Check] = []

    def say(subject: str, verdict: Verdict, words: str, detail: str = "") -> None:
        found.append(Check(subject, verdict, words, detail))

    if not s.answers or s.status is None:
        last = f"Last read {clock(s.read_at, s.now)}." if s.read_at else "It has never been read."
        say("target", Verdict.BLOCK, f"{s.target} {s.trouble or 'does not answer'}.", last)
    else:
        age = f"Status read {duration(s.now - s.read_at)} ago." if s.read_at else ""
        say("target", Verdict.PASS, f"{s.target} answers.", age)
    if s.node_state not in ("ACTIVE", ""):
        say(
            "node",
            Verdict.WARN,
            f"The node of {s.target} that answers is {s.node_state}.",
            "It may not act at once.",
        )
    if s.clock_ahead is not None and abs(s.clock_ahead) > SKEW_TOLERATED:
        say(
            "clock",
            Verdict.WARN,
            f"The clocks of {s.target} and this desk differ by {duration(abs(s.clock_ahead))}.",
            "How much is lost is not known exactly.",
        )
    if s.held:
        say("hold", Verdict.BLOCK, f"Nothing is sent: {s.held}")
    if s.other_request:
        say("request", Verdict.BLOCK, f"{s.other_request} is open for this relationship.")
    else:
        say("request", Verdict.PASS, "No other request is open for this relationship.")
    if s.executor == "missing":
        say(
            "permission",
            Verdict.BLOCK,
            f"Failover Desk has no executor token for {s.target}.",
            "It is watched only.",
        )
    elif s.executor == "refused":
        say(
            "permission",
            Verdict.BLOCK,
            f"{s.target} refuses the executor token: no failover to it can start.",
        )
    elif not s.may_request:
        say("permission", Verdict.BLOCK, f"You may not request failovers for {s.target}.")
    else:
        say("permission", Verdict.PASS, f"Failovers for {s.target} may be requested.")
    return found


def _identity(s: Situation, status: TargetStatus) -> list[Check]:
    """What was approved must be what is there. The recovery point may only move forward (less is lost)."""
    if s.item is None:
        return []
    changed = [words for words, then, now in s.item.compare(status) if then != now]
    found = []
    if changed:
        found.append(
            Check(
                "identity",
                Verdict.BLOCK,
                f"{changed[0]} changed after the request.",
                "The relationship is no longer the one that was shown.",
            )
        )
    point, then, kept = status.recovery_point, s.item.recovery_point_at, s.item.loss_from_at
    if point is not None and then is not None and point.at < then:
        detail = f"It was {clock(then, s.now)}, it is {clock(point.at, s.now)}: more would be lost."
        found.append(Check("identity", Verdict.BLOCK, "The recovery point went back after the request.", detail))
    elif status.loss_from is not None and kept is not None and status.loss_from.at < kept:
        detail = f"It was of {clock(kept, s.now)}, it is of {clock(status.loss_from.at, s.now)}: more would be lost."
        found.append(
            Check("identity", Verdict.BLOCK, "A later job brought an older state than the request saw.", detail)
        )
    return found


_STATE_BLOCKS = {
    "DISCONNECTING": "A disconnection is already under way.",
    "AWAITING_AUTHORIZATION": "The relationship is not authorized yet.",
    "RECONNECTING": "The relationship is being reconnected. Wait until it is established.",
    "REESTABLISHING": "The relationship is being re-established. Wait until it is established.",
}


def _state(s: Situation, status: TargetStatus) -> Check:
    if status.state == "ESTABLISHED" and status.target_root_read_only:
        return Check("state", Verdict.PASS, "The relationship is established and the target read-only.")
    if status.state in ("DISCONNECTED", "ESTABLISHED") and not status.target_root_read_only:
        return Check("state", Verdict.BLOCK, "The target is already writable.")
    if status.state == "DISCONNECTED":
        return Check("state", Verdict.BLOCK, "The relationship is already disconnected.")
    if status.state == "ENDED":
        reason = visible(status.end_reason or "no reason is given")
        return Check("state", Verdict.BLOCK, f"The relationship has ended: {reason}.")
    known = _STATE_BLOCKS.get(status.state)
    if known:
        return Check("state", Verdict.BLOCK, known)
    return Check("state", Verdict.BLOCK, f"{s.target} reports a state that is not known here: {visible(status.state)}.")


def _relationship(s: Situation, status: TargetStatus) -> list[Check]:
    found = [_state(s, status), *_recovery_point(s, status)]
    found += planned.checks(s, status) if s.mode == "planned" else [*_job(s, status), _source(s, status)]
    if s.mode == "drill":
        found.append(_drill(s, status))
    if status.replication_enabled is False:
        found.append(
            Check(
                "replication",
                Verdict.WARN,
                "Automatic replication is off.",
                "The recovery point may be old on purpose.",
            )
        )
    elif status.replication_enabled:
        found.append(Check("replication", Verdict.PASS, "Automatic replication is enabled."))
    locked = f"Locked with {visible(status.lock_key)}." if status.lock_key else "No lock key is set."
    found.append(Check("lock", Verdict.PASS, locked))
    return found


def _recovery_point(s: Situation, status: TargetStatus) -> list[Check]:
    point, snapshot = status.recovery_point, status.recovery_point_snapshot
    if point is None:
        words = "No job has ever succeeded: there is nothing to go back to."
        return [Check("recovery_point", Verdict.BLOCK, words)]
    found = []
    if snapshot is not None and snapshot.in_delete:
        found.append(
            Check(
                "recovery_point",
                Verdict.BLOCK,
                "The recovery point snapshot is being deleted.",
                f"Snapshot {visible(snapshot.id)} has been marked for deletion. "
                "There may be nothing consistent to revert to.",
            )
        )
    else:
        found.append(_snapshot(s, status))
    age = s.now - point.at
    if age < -SKEW_TOLERATED:
        found.append(Check("age", Verdict.WARN, "The recovery point lies in the future.", "Its age is not known."))
    elif age > s.objective:
        against = f"{duration(age)} against {duration(s.objective)}."
        found.append(Check("age", Verdict.WARN, "The recovery point is older than its objective.", against))
    else:
        found.append(Check("age", Verdict.PASS, "The recovery point is within its objective."))
    return found


def _snapshot(s: Situation, status: TargetStatus) -> Check:
    snapshot = status.recovery_point_snapshot
    if snapshot is None:
        return Check("recovery_point", Verdict.PASS, "A recovery point exists.")
    if snapshot.expiration is None:
        return Check("recovery_point", Verdict.PASS, "A recovery point exists.", f"Snapshot {visible(snapshot.id)}.")
    left = snapshot.expiration.at - s.now
    if left < timedelta(hours=1):
        gone = duration(max(left, timedelta(0)))
        return Check("recovery_point", Verdict.WARN, f"The recovery point snapshot expires in {gone}.")
    kept = f"Snapshot {visible(snapshot.id)}, kept until {snapshot.expiration.at:%Y-%m-%d}."
    return Check("recovery_point", Verdict.PASS, "A recovery point exists.", kept)


def _job(s: Situation, status: TargetStatus) -> list[Check]:
    found = []
    if status.job_state == "REPLICATION_RUNNING":
        job = status.replication_job_status
        stands = f"It stands at {int(job.percent_complete)} %. " if job and job.percent_complete is not None else ""
        if s.stalled_since:
            stands += f"It has copied nothing for {duration(s.now - s.stalled_since)}. "
        found.append(Check("job", Verdict.WARN, "A job is running.", stands + "It will not finish."))
    else:
        found.append(Check("job", Verdict.PASS, "No job is running."))
    if status.error_from_last_job:
        error = visible(status.error_from_last_job)
        found.append(Check("last_job", Verdict.WARN, "The last job failed.", error))
    else:
        found.append(Check("last_job", Verdict.PASS, "The last job succeeded."))
    return found


def _source(s: Situation, status: TargetStatus) -> Check:
    name = visible(status.source_cluster_name)
    if status.source_root_read_only:
        return Check("source", Verdict.PASS, "The source is read-only.", f"{name}:{bare(status.source_root_path)}")
    if not s.source.known:
        unknown = "Whether it answers, and whether clients still write to it, is not known."
        return Check("source", Verdict.SKIP, f"{name} is not one of the clusters here.", unknown)
    if s.source.answers:
        return Check("source", Verdict.WARN, "The source answers.", "Clients may write to both sides.")
    heard = f"{name} was last heard at {clock(s.source.last_read_at, s.now)}. " if s.source.last_read_at else ""
    unknown = "We cannot tell whether clients still write to it."
    return Check("source", Verdict.WARN, "The source does not answer.", heard + unknown)


def _drill(s: Situation, status: TargetStatus) -> Check:
    """A drill is no rehearsal: it sends the same call."""
    place, name = f"{s.target}:{bare(status.target_root_path)}", visible(status.source_cluster_name)
    return Check(
        "drill",
        Verdict.WARN,
        "A drill breaks replication for real.",
        f"{name} no longer replicates to {place}, and clients of {s.target} can write there. "
        "Reconnecting afterwards reverts everything that they have written.",
    )
