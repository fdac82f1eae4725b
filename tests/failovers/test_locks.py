"""Who waits for whom, and what becomes of a sender whose database goes away. SQLite has one lock, and no server that
could go away, so all of this is about PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import InternalError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from dashboard import database
from dashboard.accounts import refusals
from dashboard.audit import chain
from dashboard.audit.models import Head
from dashboard.database import database_now
from dashboard.failovers import execution, holds
from dashboard.failovers.lifecycle import Stale, State
from dashboard.failovers.models import Decision, Failover, Hold, Request
from dashboard.failovers.sweep import Sweep
from dashboard.fleet import access
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import faults, transport
from tests.failovers.desk import Desk, pass_time, policy
from tests.postgres import WAITING

pytestmark = pytest.mark.postgres


@pytest.fixture
def desk(transactional_db, cast):
    yield Desk(cast)
    access.forget_transports()


class Aside:
    """A verb in a thread, on a connection of its own."""

    def __init__(self, verb: Callable[[], Any]) -> None:
        self._verb, self._result = verb, None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._verb()
        except BaseException as error:  # noqa: BLE001  raised in whoever asks for the result
            self._error = error
        finally:
            connections.close_all()

    def waits(self) -> bool:
        """Until it waits for a lock (True) or is over. Nobody else waits for one here."""
        return _until(lambda: _waiting() > 0 or self.over) and not self.over

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._result


def _until(holds_true: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 60
    while not holds_true():
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return True


def _ask(statement: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0]


def _let_in(allowed: str) -> None:
    """Whether anybody new may connect to the test's database; told from another one, as the server wants it."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")


def _waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return len(cursor.fetchall())


def test_a_hold_that_is_set_while_the_intent_waits_is_obeyed(desk):
    """Whoever set it was told "nothing is sent", so nothing is, however far a sender had come."""
    failover = desk.approved()
    with transaction.atomic():
        Head.objects.select_for_update().get()
        sending = Aside(lambda: execution.execute(failover.pk))
        assert sending.waits()
        holds.hold(actor=chain.cli(), scope="", reason="restored from a backup")
    sending.result()
    failover.refresh_from_db()
    assert (failover.state, failover.attempts, desk.posts) == (State.APPROVED, 0, 0)


def test_closing_and_cancelling_do_not_wait_for_each_other(desk):
    failover = desk.sent(faults.lost_request(path="/make-writable"))
    pass_time(181)
    desk.step(failover)
    with transaction.atomic():
        Request.objects.select_for_update().get(pk=failover.request_id)  # as cancelling begins
        closing = Aside(lambda: desk.close(failover))
        closing.waits()
        list(Failover.objects.select_for_update().filter(request=failover.request_id))
    assert closing.result().state == State.CLOSED


def test_sending_does_not_wait_for_whoever_has_the_request(desk):
    """A row that is changed twice in one transaction is checked against its request once more at COMMIT: by a sender
    that has the ledger's head, for which whoever cancels waits."""
    failover = desk.approved()
    with transaction.atomic():
        Request.objects.select_for_update().get(pk=failover.request_id)  # as cancelling begins
        sending = Aside(lambda: execution.execute(failover.pk))
        assert not sending.waits()
    sending.result()
    failover.refresh_from_db()
    assert (failover.state, (failover.answer or {})["kind"]) == (State.REVERTING, "accepted")


def test_lifting_a_hold_and_a_verb_behind_it_do_not_wait_for_each_other(desk):
    desk.world.relate(desk.world.clusters["prod"], "/prod/legal", desk.target, "/dr/legal")
    desk.read()
    desk.request()
    desk.row = Relationship.objects.get(target_root_path="/dr/legal/")
    second = desk.request(typed="/dr/legal")
    holds.hold(actor=chain.cli(), scope="", reason="restored from a backup")
    with transaction.atomic():
        list(Failover.objects.select_for_update().filter(request=second.pk))
        lifting = Aside(lambda: holds.lift(actor=chain.cli(), scope="", reason="Looked at, and right again"))
        assert lifting.waits()
        chain.append("decision.refused", actor=chain.cli())
    assert lifting.result() == 2


def test_a_hold_that_is_set_while_another_is_lifted_stands(desk):
    """Whoever set it was told that nothing is sent."""
    asked = desk.request()
    holds.hold(actor=chain.cli(), scope="", reason="restored from a backup")
    with transaction.atomic():
        list(Failover.objects.select_for_update().filter(request=asked.pk))
        lifting = Aside(lambda: holds.lift(actor=chain.cli(), scope="", reason="Looked at, and right again"))
        assert lifting.waits()
        Aside(lambda: holds.hold(actor=chain.cli(), scope="", reason="the array is looked at")).result()
    assert lifting.result() == 1
    assert [hold.reason for hold in Hold.objects.filter(lifted_at=None)] == ["the array is looked at"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_that_is_held_up_beyond_the_deadline_is_none(desk, verb):
    """It was in time when it came; what counts is when the failovers move."""
    asked = desk.request()
    pass_time((asked.decide_by - database_now()).total_seconds() - 5)  # to have come as far as the vote
    asked.refresh_from_db()
    person = desk.cast.osei.person
    with transaction.atomic():
        own = {"person": person, "requester": asked.requester, "digest": asked.digest, "at": asked.made_at}
        Decision.objects.create(request=asked, verdict="reject", facts_seen={}, **own)  # the vote waits behind it
        deciding = Aside(lambda: getattr(desk, verb)(asked))
        assert deciding.waits()
        _until(lambda: database_now() >= asked.decide_by)
        transaction.set_rollback(True)
    with pytest.raises(Stale, match="Its time is over"):
        deciding.result()
    assert not Decision.objects.exists()
    assert asked.failovers.get().state == State.REQUESTED


def test_a_verb_on_many_changes_all_of_them_before_it_keeps_others_from_the_ledger(desk):
    """Whoever holds the head of the ledger holds up every sender whose window is open."""
    policy(shares={"": 1}, break_glass=True)
    for number in range(3):
        desk.world.relate(desk.world.clusters["prod"], f"/prod/{number}", desk.target, f"/dr/{number}")
    desk.read()

    def after_the_lock(verb: Callable[[], Any]) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            verb()
        said = [query["sql"] for query in queries]
        locked = next(n for n, sql in enumerate(said) if "audit_head" in sql and "FOR UPDATE" in sql)
        return [sql for sql in said[locked:] if "failovers_" in sql or "fleet_" in sql]

    asked = desk.ask_for(desk.rows)
    assert after_the_lock(lambda: desk.approve(asked)) == []
    assert after_the_lock(lambda: desk.cancel(asked)) == []
    assert after_the_lock(lambda: desk.ask_for(desk.rows, break_glass=True)) == []
    holds.hold(actor=chain.cli(), scope="", reason="restored from a backup")
    assert after_the_lock(lambda: holds.lift(actor=chain.cli(), scope="", reason="Looked at, and right again")) == []
    rejected = desk.ask_for(desk.rows)
    assert after_the_lock(lambda: desk.reject(rejected)) == []


class CutsOff(httpx.BaseTransport):
    """While the cluster answers the make-writable, the server ends the sender's database connection."""

    def __init__(self, desk: Desk) -> None:
        self.inner = transport(desk.target)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        if request.method == "POST":
            own = _ask("SELECT pg_backend_pid()")
            assert Aside(lambda: _ask("SELECT pg_terminate_backend(%s)", own)).result()
        return answer


def _cut_off_at_the_answer(desk: Desk) -> Failover:
    failover = desk.approved()
    access.through(desk.cluster.url, CutsOff(desk))
    Aside(lambda: execution.execute(failover.pk)).result()
    failover.refresh_from_db()
    return failover


def test_an_answer_that_comes_while_the_database_is_away_is_written_down_afterwards(desk):
    failover = _cut_off_at_the_answer(desk)
    assert (failover.state, (failover.answer or {})["kind"]) == (State.REVERTING, "accepted")


def test_a_refusal_that_comes_while_the_database_is_away_is_kept_as_doubt(desk):
    """The reading that would confirm it is not made twice; what the cluster said is evidence for a person all the
    same."""
    desk.target.faults.add(faults.refusal(409, error_class="x_error", description="No.", path="/make-writable"))
    failover = _cut_off_at_the_answer(desk)
    assert (failover.state, (failover.answer or {})["kind"]) == (State.SENT, "doubt")
    assert (failover.answer or {})["class"] == "x_error"


def test_a_sender_whose_database_goes_away_in_its_intent_sends_nothing_and_waits_for_it(desk, caplog):
    """It may have been committed all the same, so the way back is tried until the database answers again."""
    failover = desk.approved()
    try:
        with transaction.atomic():
            Head.objects.select_for_update().get()
            sending = Aside(lambda: execution.execute(failover.pk))
            assert sending.waits()
            _let_in("false")
            assert _ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE NOT granted)"
            )
            _until(lambda: "does not take what is known" in caplog.text or sending.over)
    finally:
        _let_in("true")
    sending.result()
    failover.refresh_from_db()
    assert (failover.state, failover.attempts, desk.posts) == (State.APPROVED, 0, 0)
    assert desk.step(failover).state == State.REVERTING


def test_a_row_that_somebody_keeps_locked_keeps_no_failover_from_its_step(desk, monkeypatch):
    """The part of a pass that waits for it gives up; the others are done all the same."""
    monkeypatch.setattr(database, "patience", 2.0)
    desk.approved()
    Cluster.objects.update(next_read_at=database_now() + timedelta(hours=1))
    Relationship.objects.update(changes_at=database_now())
    with transaction.atomic():
        Relationship.objects.select_for_update().get()
        with pytest.raises(OperationalError):
            Aside(_pass).result()
    assert desk.posts == 1


def _pass() -> None:
    sweep = Sweep(with_broker=False)
    try:
        sweep.once()
    finally:
        sweep.close()


def test_whoever_gives_up_on_a_lock_leaves_nobody_waiting_for_it_in_the_server(desk, monkeypatch):
    monkeypatch.setattr(database, "patience", 1.0)
    with transaction.atomic():
        Head.objects.select_for_update().get()
        for _ in range(2):
            with pytest.raises(OperationalError, match="lock timeout"):
                Aside(_record).result()
        assert _waiting() == 0


def _record() -> None:
    with transaction.atomic():
        chain.append("audit.tried", actor=chain.SYSTEM)


def test_whoever_stands_still_with_the_ledger_in_hand_does_not_keep_it(desk, monkeypatch):
    """As a machine that vanished in the middle of its transaction, and that the server still takes for there."""
    monkeypatch.setattr(database, "patience", 20.0)
    monkeypatch.setattr(database, "FOR_DRIVERS", 1.0)
    in_hand, over = threading.Event(), threading.Event()

    def stand_still() -> None:
        with transaction.atomic():
            Head.objects.select_for_update().get()
            in_hand.set()
            over.wait(60)
            _record()

    frozen = Aside(stand_still)
    try:
        assert in_hand.wait(60)
        Aside(_record).result()
    finally:
        over.set()
    with pytest.raises(InternalError, match="idle-in-transaction"):
        frozen.result()


def test_a_refusal_that_is_recorded_and_a_change_of_the_account_do_not_wait_for_each_other(desk, cast):
    user = cast.rivera
    with transaction.atomic():
        type(user).objects.select_for_update().get(pk=user.pk)
        refused = Aside(lambda: refusals.record(user, "127.0.0.1", route="x", why="role", words="No."))
        assert refused.waits()
        chain.append("audit.tried", actor=chain.SYSTEM)
    refused.result()
