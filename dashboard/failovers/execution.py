"""What drivers do with an approved failover: check again, and send once. At most one make-writable.

The guarantee, and why it holds whatever dies (rules 2, 3 and 6 of this room):

- The row is the queue. The bell, each duplicate of it, and the sweep all call `execute`, as often as they like.
- `approved → sent` is the only edge that leads to a POST. It is a compare-and-set, committed with its entry in the
  ledger before the first byte, so of many senders one wins, and an intent is never lost.
- Only the process that made that move can lead back, because it alone knows that no byte left (`NotSent`: refused,
  unreachable, certificate, or the send window over). It proves that it is that process with a nonce in the row,
  `sender`; the number of attempts alone would not do, since a COMMIT that failed may be followed by another sender's
  same number.
- From then on everybody only reads (`watching`), for ever. A timeout, a reset, a 5xx or a killed worker never leads
  to a second POST.
- The deadline of the approval, a standing hold and the approvers' rights are asked in the intent's own transaction: a
  queue that wakes up hours later ends failovers, it does not send them.
- The send window (from the answer of the re-check to the first byte) is checked by the socket's own write, and its
  clock starts before the intent is committed, so a process that was stopped in between cannot send late.

A kill between the commit and the first byte costs a false alarm that a person clears after the settle window. That is
the right price: the other way round costs data on the target.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InternalError, OperationalError, close_old_connections, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.database import database_now
from dashboard.failovers import eyes, preflight, reading, turns, watching
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.crashpoints import reach
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, Refused, State
from dashboard.failovers.models import Failover
from dashboard.failovers.moves import take_turn, tried
from dashboard.fleet import access, observe
from dashboard.fleet.models import Trouble
from dashboard.qumulo.errors import Answered, Effect, NotFound, NotSent, QumuloError
from dashboard.qumulo.records import State as Api
from dashboard.words import visible

log = logging.getLogger(__name__)


def execute(failover_pk: int) -> None:
    """One step of one failover, by whoever comes round: the bell, its duplicates, the sweep."""
    failover = Failover.objects.with_request().select_related("relationship__cluster").get(pk=failover_pk)
    if failover.state == State.APPROVED:
        _send(failover)
    elif failover.state in ON_THE_CLUSTER:
        watching.watch(failover)


def _send(failover: Failover) -> None:
    row = failover.relationship
    if row.cluster.trouble == Trouble.IDENTITY:
        return _stop(failover, f"Another cluster has answered at the address of {row.cluster.name}.")
    if not turns.may_begin(failover) or not take_turn(failover, TIMING.turn):
        return None
    if not observe.executor_may_sign_in(row.cluster, TIMING.sign_in_again):
        return None
    reach("send.before_read")
    try:
        with access.executor(row.cluster, patience=TIMING.post_deadline, delivery=TIMING.user_timeout) as door:
            read = _read(failover, door)
            if read is None:
                return None
            reach("send.after_read")
            mine = _intend(failover, read)
            if mine is None:
                return None
            reach("send.after_intent")
            _post(failover, door, read, mine)
    except access.NoExecutor as error:
        observe.record_failure(row, str(error), "unreachable", held_by=failover.number)
    return None


def _read(failover: Failover, door: access.Door) -> access.Reading | None:
    """The re-check. None: not now (the sweep comes again), or it was stopped for what was read."""
    row = failover.relationship
    try:
        read = door.read(row)
        observe.executor_accepted(row.cluster)
        return read
    except access.WrongIdentity as error:
        observe.noticed(row.cluster, error)
        _stop(failover, str(error))
    except NotFound:
        _stop(failover, f"{row.cluster.name} no longer knows the relationship.")
    except QumuloError as error:
        observe.record_failure(row, error.words, "unreachable", held_by=failover.number)
        pause = timedelta(seconds=error.retry_after or 0)
        if error.http_status in (401, 403):  # refused again and again, it may lock its account
            observe.executor_refused(row.cluster, error.words)
            pause = TIMING.sign_in_again
        if pause > TIMING.turn:
            Failover.objects.filter(pk=failover.pk).update(next_step_at=database_now() + pause)
    return None


def _stop(failover: Failover, why: str, detail: dict[str, Any] | None = None) -> None:
    with transaction.atomic():
        tried(
            failover,
            "stop",
            words=f"Stopped {failover.number} before sending: {why}",
            detail=detail,
            ended_at=database_now(),
            outcome_words=f"{why} Nothing was sent.",
        )


def _intend(failover: Failover, read: access.Reading) -> str | None:
    """The point of no return: `approved → sent` with its entry, committed. Returns the sender's nonce, or None."""
    situation = reading.fresh_situation(failover, read, now=database_now())
    checks = preflight.judge(situation)
    blocking = preflight.blocks(checks)
    seen = reading.precheck(read, situation, checks)
    if blocking:
        _stop(failover, _why(failover, read, blocking[0]), detail={"checks": seen["checks"]})
        return None
    mine = secrets.token_hex(16)
    reach("send.before_intent")
    try:
        with transaction.atomic(durable=True):
            now = database_now()
            won = tried(
                failover,
                "send",
                words=f"Sending make-writable to {failover.relationship.cluster.name}",
                detail={"relationship": failover.item.relationship_id, **seen},
                where=(Q(run_by__gt=Now()),),
                sent_at=Now(),
                attempts=F("attempts") + 1,
                sender=mine,
                precheck=seen,
                answer=None,
                answered_at=None,
                first_writable_at=None,  # a reading from before this attempt agrees with none that comes after it
                next_step_at=now + TIMING.watch,
            )
            # Asked last, under the lock of the ledger's head: whoever sets a hold or takes a role away needs that lock
            # too, so it was either seen here or comes after the commit. Asked first, it could come in between.
            if won:
                eyes.still_good(failover)
                turns.refuse_too_many(failover)
            reach("send.in_intent")
        return mine if won else None
    except turns.Full:  # others of its cluster came first; it has its turn again when one of them is done
        return None
    except Refused as error:  # a hold stands, or an approver lost the role: rolled back, nothing sent
        observe.record_failure(failover.relationship, error.words, "held", held_by=failover.number)
        return None
    except DatabaseError:
        # A COMMIT that raises sends nothing. It may have arrived all the same, so the way back is tried once, with the
        # nonce that only this sender has.
        # (The line says the key: the number would ask the database, and this way back would be lost with it.)
        log.exception("The intent of failover %s could not be committed; nothing is sent", failover.pk)
        _insist(lambda: _not_sent(failover, mine, "The intent could not be committed."))
        return None


def _why(failover: Failover, read: access.Reading, check: preflight.Check) -> str:
    if read.status.state == Api.DISCONNECTING:
        return f"Somebody else has already started it on {failover.relationship.cluster.name}."
    return check.words


def _post(failover: Failover, door: access.Door, read: access.Reading, mine: str) -> None:
    row = failover.relationship
    started = time.monotonic()

    def took() -> int:
        return int((time.monotonic() - started) * 1000)

    try:
        accepted = door.make_writable(row, send_by=read.boottime + TIMING.go.total_seconds())
    except NotSent as error:
        words = error.words
        _insist(lambda: _not_sent(failover, mine, words))
    except Answered as error:
        reach("send.after_answer")
        answer = _answer("refused", error, took()) | {"class": visible(error.error_class)}
        answer["description"] = visible(error.description)
        if error.effect is Effect.REFUSED and _still_established(failover, door):
            _insist(lambda: _refused(failover, mine, answer))
        else:
            _insist(lambda: _doubt(failover, mine, answer | {"kind": "doubt"}))
    except QumuloError as error:
        answer = _answer("doubt", error, took())
        _insist(lambda: _doubt(failover, mine, answer))
    except Exception as error:  # whatever it was, it came after the intent: the row stays `sent`, and everybody reads
        log.exception("Sending failover %s ended in an error", failover.pk)
        answer = {"kind": "doubt", "words": f"The sender failed: {type(error).__name__}.", "ms": took()}
        _insist(lambda: _doubt(failover, mine, answer))
        raise
    else:
        reach("send.after_answer")
        answer = {
            "kind": "accepted",
            "http_status": accepted.http_status,
            "ms": took(),
            "state": accepted.status.state,
        }
        if accepted.status.state in (Api.DISCONNECTING, Api.DISCONNECTED):
            _insist(lambda: _accepted(failover, mine, answer))
        else:
            answer |= {
                "kind": "doubt",
                "words": f"It answered 200 with state {visible(accepted.status.state)}.",
            }
            _insist(lambda: _doubt(failover, mine, answer))
    reach("send.after_record")


def _answer(kind: str, error: QumuloError, ms: int) -> dict[str, Any]:
    return {"kind": kind, "http_status": error.http_status, "words": error.words, "ms": ms}


def _insist(write: Callable[[], None], patience: float = 30) -> None:
    """Write down what is known of the POST, for half a minute if the database is away; after that the readings
    decide."""
    give_up = time.monotonic() + patience
    while True:
        try:
            return write()
        except (OperationalError, InternalError):  # the second: this process stood still for too long in between
            if time.monotonic() > give_up:
                raise
            log.warning("The database does not take what is known of the sending; trying again")
            close_old_connections()
            time.sleep(1)


def _not_sent(failover: Failover, mine: str, words: str) -> None:
    """Back to `approved`, or stopped after the last attempt: only by the sender that knows that nothing left."""
    with transaction.atomic():
        now = database_now()
        attempts = Failover.objects.values_list("attempts", flat=True).get(pk=failover.pk)
        target = failover.relationship.cluster.name
        if attempts < TIMING.attempts:
            tried(
                failover,
                "take_back",
                words=f"Make-writable did not leave: {words}",
                where=(Q(sender=mine),),
                sent_at=None,
                sender="",
                next_step_at=now + TIMING.watch * 2**attempts,
            )
            return
        tried(
            failover,
            "give_up",
            words=f"Stopped {failover.number}: make-writable never left. {words}",
            where=(Q(sender=mine),),
            sent_at=None,
            sender="",
            ended_at=now,
            outcome_words=f"Make-writable never left for {target} in {attempts} attempts. {words} Nothing was sent.",
        )


def _still_established(failover: Failover, door: access.Door) -> bool:
    """The reading that confirms a refusal: without it a 4xx is doubt like any other."""
    row = failover.relationship
    try:
        read = door.read(row)
        observe.record(row, read, held_by=failover.number)
    except (QumuloError, access.WrongIdentity):
        return False
    except DatabaseError:  # what the cluster answered must not be lost with it: it is written down as doubt
        log.exception("The reading that would confirm the refusal of failover %s was not kept", failover.pk)
        return False
    untouched = read.status.state == Api.ESTABLISHED and read.status.target_root_read_only
    return untouched and failover.item.same_identity(read.status)


def _refused(failover: Failover, mine: str, answer: dict[str, Any]) -> None:
    target = failover.relationship.cluster.name
    said = f"{answer['http_status']} {answer['class']}: “{answer['description']}”"
    with transaction.atomic():
        now = database_now()
        ended = tried(
            failover,
            "refuse",
            words=f"{target} refused make-writable: {said}",
            detail=answer,
            where=(Q(sender=mine),),
            answer=answer | {"read_again": now.isoformat()},
            answered_at=now,
            ended_at=now,
            outcome_words=f"{target} refused make-writable. It answered {said}",
        )
    if not ended:  # a reading was quicker, and showed something else; what the cluster said is evidence all the same
        _doubt(failover, mine, answer | {"kind": "doubt"})


def _doubt(failover: Failover, mine: str, answer: dict[str, Any]) -> None:
    """Nothing moves: it stays `sent`. The page says "Outcome unknown", and everybody goes on reading."""
    with transaction.atomic():
        noted = Failover.objects.filter(pk=failover.pk, sender=mine, answer__isnull=True).update(
            answer=answer, answered_at=Now(), version=F("version") + 1
        )
        if noted:
            words = f"No clear answer to make-writable: {answer['words']}"
            chain.append("failover.doubt", actor=SYSTEM, object=failover.number, words=words, detail=answer)


def _accepted(failover: Failover, mine: str, answer: dict[str, Any]) -> None:
    with transaction.atomic():
        now = database_now()
        target = failover.relationship.cluster.name
        words = f"{target} accepted make-writable"
        moved = tried(
            failover,
            "revert",
            words=words,
            detail=answer,
            where=(Q(sender=mine),),
            answer=answer,
            answered_at=now,
            reverting_at=now,
            next_step_at=now,
        )
        if not moved:  # a reading was quicker than the answer; the answer is still evidence
            # One UPDATE either way: of a row that is changed twice, PostgreSQL locks the request at COMMIT, for its
            # foreign key, with the ledger's head in hand; somebody who cancels holds the one and waits for the other.
            Failover.objects.filter(pk=failover.pk, sender=mine).update(
                answer=answer, answered_at=now, version=F("version") + 1
            )
            chain.append("failover.answered", actor=SYSTEM, object=failover.number, words=words, detail=answer)
