"""What else holds the desk: guards that are gone, a broken chain, a full disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from dashboard.audit import fence, guards
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.failovers import selfcheck
from dashboard.failovers.holds import hold_once, lift
from tests.audit.ledger import tamper, write
from tests.failovers.checking import BACK, Sweeping, known, standing

pytestmark = pytest.mark.django_db


def test_a_broken_ledger_is_held() -> None:
    write(5)
    tamper("UPDATE audit_entry SET payload = '{}' WHERE seq = 4")
    selfcheck.look()
    assert standing()[0].startswith("The audit trail is broken at entry 4 (content)")


def test_a_missing_guard_is_held() -> None:
    guards.drop(connection)
    try:
        selfcheck.look()
        assert "The database lacks its guards: audit_entry_never_changes, " in standing()[0]
    finally:
        guards.install(connection)


def test_a_missing_constraint_is_held() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    assert standing() == ["The database lacks its guards: one_open_failover_per_relationship."]


@pytest.mark.django_db(transaction=True)  # inside a transaction SQLite does not change its mind
def test_a_database_that_forgets_what_it_committed_is_held(settings: Any) -> None:
    settings.TESTING = False
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = NORMAL")
    try:
        selfcheck.look()
    finally:
        connection.close()
    says = "synchronous is 1, not FULL" if connection.vendor == "sqlite" else "PostgreSQL runs with fsync = off"
    assert says in standing()[0]


def test_a_hold_that_is_lifted_while_its_cause_stands_comes_back_with_the_same_reason() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    before = standing()
    lift(actor=SYSTEM, scope="", reason="It will be fine, I think.")
    assert standing() == []
    selfcheck.look()
    assert standing() == before != []


@pytest.mark.django_db(transaction=True)
def test_the_sweep_looks_again_at_once_when_a_hold_is_lifted(desk: Any) -> None:
    sweep = Sweeping()
    try:
        drop("one_open_failover_per_relationship")
        sweep.pass_by()
        lift(actor=SYSTEM, scope="", reason="It will be fine, I think.")
        desk.approved()
        sweep.pass_by()
        assert standing() == ["The database lacks its guards: one_open_failover_per_relationship."]
        assert desk.posts == 0
    finally:
        put_back()


def test_a_check_that_stumbles_is_a_reason_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles() -> Any:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setitem(selfcheck.CHECKS, "guards", ("", stumbles))
    selfcheck.look()
    assert standing() == ["The check of guards failed (ZeroDivisionError); the log of the desk says how."]


def test_a_fault_that_is_too_long_or_ugly_for_a_hold_holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [selfcheck.Fault("A file called \u202eterces " + "says so and " * 300)]
    monkeypatch.setitem(selfcheck.CHECKS, "guards", ("", lambda: iter(faults)))
    selfcheck.look()
    selfcheck.look()
    [reason] = standing()
    assert reason.startswith("A file called ")
    assert "\u202e" not in reason


def test_of_two_that_find_the_same_one_writes_it_down() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    selfcheck.look(sends=False)
    assert len(standing()) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_that_find_the_same_at_the_same_moment_one_writes_it_down() -> None:
    def found(_: int) -> None:
        try:
            hold_once(actor=SYSTEM, scope="", reason="The database lacks its guards: one.")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(found, range(12)))
    assert len(standing()) == 1
    assert Entry.objects.filter(tag="hold.set").count() == 1


def test_a_process_that_does_not_send_holds_and_leaves_the_fence_alone() -> None:
    write(3)
    selfcheck.look(sends=False)
    assert not fence.path(Head.objects.get()).exists()
    selfcheck.look()
    write(1)
    selfcheck.look(sends=False)
    assert known()["entry"] == 3


def test_what_could_not_be_told_is_not_forgotten() -> None:
    """The fence starts over when people were told; a ledger that takes no entry told nobody."""
    write(3)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    selfcheck.look()
    assert standing() == []
    assert known()["entry"] == 3
    Head.objects.update(seq=2, hash=bytes(Entry.objects.get(seq=2).hash))
    selfcheck.look()
    assert [reason[: len(BACK)] for reason in standing()] == [BACK]


def test_without_a_home_and_without_a_setting_nothing_knows_how_far_it_came(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FENCE_FILE = ""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    selfcheck.look()
    assert "Nothing outside of the database knows how far" in standing()[0]
    assert "FENCE_FILE is not set" in standing()[0]


def test_a_process_that_does_not_send_needs_no_place_for_the_fence(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FENCE_FILE = ""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    selfcheck.look(sends=False)
    assert standing() == []


def test_a_ledger_that_takes_no_entry_is_no_reason_to_fall_over() -> None:
    """Whoever cannot record a hold cannot record that make-writable is sent either."""
    write(3)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    selfcheck.look()
    assert standing() == []
    assert Entry.objects.count() == 2


def drop(index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {index}")


def put_back() -> None:
    """What `drop` took, for tests with real transactions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNIQUE INDEX one_open_failover_per_relationship ON failovers_failover (relationship_id)"
            " WHERE state IN ('requested', 'approved', 'sent', 'reverting')"
        )
