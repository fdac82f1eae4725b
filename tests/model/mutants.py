"""The protocol with one rule switched off, rule by rule. A model that none of them makes fail would prove nothing.

A mutant is a few replacements of text, each of which must fit exactly once, and the constraints of the database that
keep the same rule. `dies_by` is the invariant that must notice; `focus` weighs the steps of its nights so that it is
met soon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    dies_by: str
    edits: tuple[tuple[str, str, str], ...]
    constraints: tuple[tuple[str, str], ...] = ()  # of `failovers`: model, name
    focus: dict[str, Any] = field(default_factory=dict)


_EXECUTION = "dashboard/failovers/execution.py"
_MOVES = "dashboard/failovers/moves.py"
_LIFECYCLE = "dashboard/failovers/lifecycle.py"
_TIMING = "dashboard/failovers/timing.py"
_CLOSING = "dashboard/failovers/closing.py"
_CONDUCT = "dashboard/failovers/conduct.py"
_EYES = "dashboard/failovers/eyes.py"
_GUARDS = "dashboard/failovers/guards.py"
_PREFLIGHT = "dashboard/failovers/preflight.py"
_WATCHING = "dashboard/failovers/watching.py"
_ACCESS = "dashboard/fleet/access.py"
_FOLLOW = "dashboard/notifications/follow.py"

_GUARDED = "guarded = Failover.objects.filter(*where, pk=failover.pk, state__in=step.sources)"
_NO_IDENTITY = (
    _PREFLIGHT,
    "changed = [words for words, then, now in s.item.compare(status) if then != now]",
    "changed: list[str] = []",
)
_NO_SECOND_LOOK = (_EYES, "if policy.lacking(shares_of(asked), groups_of(set(votes) & permitted.keys())):", "if False:")

# What their nights are about. Strangers and the network would only end them early.
_CALM = {"stranger": 0, "swap": 0, "reuse": 0, "point": 0, "net": 0, "role": 0, "hold": 0, "notify": 0, "reject": 0}
_TO_VOTE: dict[str, Any] = {"begun": False, "vote": 20, "ask": 2, "quick": 0, "edge": 0, "cancel": 0}
_TO_WAIT: dict[str, Any] = {
    "tick": 14,
    "start": 3,
    "sweep": 0,
    "to_the_end": 0,
    "cancel": 0,
    "edge": 0,
    "kill": 0,
    "close": 0,
}
_TO_CLOSE: dict[str, Any] = {
    "sweep": 10,
    "start": 1,
    "go_on": 1,
    "edge": 0,
    "tick": 7,
    "close": 14,
    "cancel": 0,
    "expire": 0,
    "fates": ("40 s late",),
}


def _unguarded(move: str) -> str:
    unless = f'**({{}} if name == "{move}" else {{"state__in": step.sources}})'
    return f"guarded = Failover.objects.filter(*where, pk=failover.pk, {unless})"


PROTOCOL = (
    Mutant(
        name="no_cas",
        dies_by="I1 I8",  # the ledger shows the second intent before the cluster has the second request
        edits=((_MOVES, _GUARDED, _unguarded("send")),),
        focus=_CALM
        | {"start": 10, "go_on": 14, "tick": 10, "freeze": 3, "sweep": 0, "to_the_end": 0, "edge": 0, "kill": 0}
        | {"quick": 0, "vote": 0, "close": 0, "cancel": 0, "expire": 0, "database": 0, "die_inside": 0},
    ),
    Mutant(
        name="resend",
        dies_by="I1",
        edits=(
            (_EXECUTION, "if failover.state == State.APPROVED:", "if failover.state in (State.APPROVED, State.SENT):"),
            (_LIFECYCLE, 'Move("send", (State.APPROVED,)', 'Move("send", (State.APPROVED, State.SENT)'),
        ),
        focus=_CALM | {"sweep": 8, "edge": 0, "fates": ("lost", "35 s late", "failed")},
    ),
    Mutant(
        name="short_settle",
        dies_by="I6",
        edits=(
            (_TIMING, "settle: timedelta = timedelta(seconds=180)", "settle: timedelta = timedelta(seconds=15)"),
            (_TIMING, "if self.settle <= self.go + self.user_timeout + self.handling:", "if False:"),
            (_TIMING, "if self.settle <= self.post_deadline:", "if False:"),
        ),
        focus=_CALM | _TO_CLOSE | {"edge": 3, "tick": 1},
    ),
    Mutant(
        name="no_settle",
        dies_by="I6",
        edits=(
            (
                _CLOSING,
                "if failover.sent_at is None or now < failover.sent_at + TIMING.settle:",
                "if failover.sent_at is None:",
            ),
            (_CLOSING, "reached(failover.sent_at + TIMING.settle)", "reached(failover.sent_at)"),
        ),
        focus=_CALM | _TO_CLOSE,
    ),
    Mutant(
        name="no_window",
        dies_by="I9",
        edits=((_EXECUTION, "send_by=read.boottime + TIMING.go.total_seconds()", "send_by=read.boottime + 3600"),),
        focus=_CALM | _TO_WAIT,
    ),
    Mutant(
        name="no_deadline",
        dies_by="I2",
        edits=((_EXECUTION, "where=(Q(run_by__gt=Now()),),", "where=(),"),),
        focus=_CALM | {"edge": 8, "sweep": 0, "to_the_end": 0, "cancel": 0, "expire": 0},
    ),
    Mutant(
        name="self_approve",
        dies_by="I2",
        edits=(
            (
                _CONDUCT,
                '    if user.person_id == asked.requester_id:\n        raise Refused("You asked',
                '    if False:\n        raise Refused("You asked',
            ),
            (_EYES, "able(clusters_of(asked), excluding=asked.requester)", "able(clusters_of(asked))"),
            (_GUARDS, "AND d.digest = r.digest AND d.person_id <> r.requester_id\n", "AND d.digest = r.digest\n"),
            (_GUARDS, "AND d.person_id <> r.requester_id AND (s.", "AND (s."),
        ),
        constraints=(("Decision", "nobody_approves_their_own"),),
        focus=_CALM | _TO_VOTE,
    ),
    Mutant(
        name="no_audit",
        dies_by="I3",
        edits=(
            (
                _MOVES,
                "    conclude([failover], name, [line],",
                '    conclude([failover], name, [] if name == "send" else [line],',
            ),
        ),
    ),
    Mutant(
        name="no_digest",
        dies_by="I2",
        edits=((_CONDUCT, "    if digest != asked.digest:", "    if False:"),),
        focus=_CALM | _TO_VOTE,
    ),
    Mutant(
        name="no_one_open",
        dies_by="I4",
        edits=(
            (_GUARDS, 'f" OR (t.relationship_id = NEW.relationship_id AND t.state IN ({_OPEN}))"', '""'),
            (_PREFLIGHT, "if s.other_request:", "if False:"),
        ),
        constraints=(("Failover", "one_open_failover_per_relationship"),),
        focus=_CALM | {"ask": 8},
    ),
    Mutant(
        name="blind_write",
        dies_by="I5",
        edits=((_MOVES, _GUARDED, _unguarded("revert")), (_GUARDS, '_ASTRAY = f"', '_ASTRAY = "1 = 0" or f"')),
        focus=_CALM
        | {"go_on": 10, "freeze": 4, "sweep": 4, "tick": 8, "start": 8, "to_the_end": 0, "edge": 0, "kill": 0}
        | {"cancel": 0, "database": 0, "die_inside": 0, "close": 0, "fates": ("answered", "answer lost")},
    ),
    Mutant(
        name="late_cancel",
        dies_by="I6",
        edits=(
            (
                _LIFECYCLE,
                'Move("cancel", (State.REQUESTED, State.APPROVED)',
                'Move("cancel", (State.REQUESTED, State.APPROVED, State.SENT)',
            ),
            (
                _CONDUCT,
                "if f.state in (State.REQUESTED, State.APPROVED)]",
                "if f.state in (State.REQUESTED, State.APPROVED, State.SENT)]",
            ),
        ),
        focus=_CALM | {"cancel": 8, "fates": ("lost", "35 s late", "answer lost")},
    ),
    Mutant(
        name="trust_200",
        dies_by="I7",
        edits=(
            (
                _EXECUTION,
                '            "revert",\n            words=words,',
                '            "succeed",\n            words=words,',
            ),
            (
                _EXECUTION,
                "            reverting_at=now,\n            next_step_at=now,\n",
                "            ended_at=now,\n",
            ),
        ),
        focus=_CALM,
    ),
)

# Beyond the paper model: who answers, readings that agree, holds, several approvers, the way back, the news.
BEYOND = (
    Mutant(
        name="no_identity",
        dies_by="I2",
        edits=(
            (_ACCESS, "if node.cluster_id != self._cluster.uuid:", "if False:"),
            (_ACCESS, "if status.target_cluster_uuid != self._cluster.uuid:", "if False:"),
            _NO_IDENTITY,
        ),
        focus=_CALM | {"swap": 4, "edge": 0},
    ),
    Mutant(name="another_directory", dies_by="I2", edits=(_NO_IDENTITY,), focus=_CALM | {"reuse": 3, "edge": 0}),
    Mutant(
        name="whoever_is_read",
        dies_by="I7 I6",  # it is taken for writable, or for untouched
        edits=((_WATCHING, "if not failover.item.same_identity(read.status):", "if False:"),),
        focus=_CALM | {"reuse": 2, "stranger": 4, "sweep": 8, "edge": 0},
    ),
    Mutant(
        name="one_reading",
        dies_by="I7",
        edits=(
            (_WATCHING, "if failover.first_writable_at is None:", "if False:"),
            (_WATCHING, "if read.at < failover.first_writable_at + TIMING.agree:", "if False:"),
        ),
        focus=_CALM | {"sweep": 8},
    ),
    Mutant(
        name="readings_that_differ",
        dies_by="I7",
        edits=((_WATCHING, "state__in=ON_THE_CLUSTER, first_writable_at__isnull=False)", "pk__lt=0)"),),
        focus=_CALM | {"sweep": 10, "stranger": 8, "tick": 10, "edge": 0, "kill": 0, "fates": ("answered",)},
    ),
    Mutant(
        name="no_hold",
        dies_by="I2",
        edits=((_EYES, "    if hold:\n", "    if False:\n"),),
        focus=_CALM | {"hold": 6, "lift": 0},
    ),
    Mutant(
        name="no_second_look",
        dies_by="I2",
        edits=(_NO_SECOND_LOOK,),
        focus=_CALM | {"role": 6},
    ),
    Mutant(
        name="one_is_enough",
        dies_by="I2",
        edits=(
            (
                _CONDUCT,
                "        missing = policy.lacking(shares, has | {user.person_id: groups})",
                "        missing: tuple[policy.Share, ...] = ()",
            ),
            (_GUARDS, 'f"({_TOO_FEW}) OR ({_REJECTED})"', "_REJECTED"),
            (_GUARDS, "AND s.count > (", "AND 200 < ("),
        ),
        focus=_CALM | _TO_VOTE,
    ),
    Mutant(
        name="point_back",
        dies_by="I2",
        edits=(
            (_PREFLIGHT, "if point is not None and then is not None and point.at < then:", "if False:"),
            (
                _PREFLIGHT,
                "elif status.loss_from is not None and kept is not None and status.loss_from.at < kept:",
                "elif False:",
            ),
        ),
        focus=_CALM | {"point": 5},
    ),
    Mutant(
        name="any_sender_back",
        dies_by="I1",
        edits=(
            (
                _EXECUTION,
                'did not leave: {words}",\n                where=(Q(sender=mine),),',
                'did not leave: {words}",',
            ),
        ),
        focus=_CALM
        | {"database": 14, "start": 8, "go_on": 10, "tick": 8, "freeze": 3, "sweep": 8, "to_the_end": 0, "edge": 0}
        | {"quick": 0, "vote": 0, "close": 0, "cancel": 0, "kill": 0, "die_inside": 0, "fates": ("lost", "35 s late")},
    ),
    Mutant(
        name="late_window",
        dies_by="I9",
        edits=(
            (
                _EXECUTION,
                "send_by=read.boottime + TIMING.go.total_seconds()",
                "send_by=time.clock_gettime(time.CLOCK_BOOTTIME) + 5",
            ),
        ),
        focus=_CALM | _TO_WAIT,
    ),
    Mutant(
        name="news_left_out",
        dies_by="I12",
        edits=(
            (
                _FOLLOW,
                "    run = _run(mine)\n    channel.seq = run[-1].seq\n",
                "    run = _run(mine)\n    channel.seq = found[-1].seq\n",
            ),
        ),
        focus=_CALM,
    ),
)
