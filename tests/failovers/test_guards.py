"""What the database refuses in raw SQL, on both engines, whatever code runs."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.failovers import guards
from dashboard.failovers.lifecycle import MOVES, State
from dashboard.failovers.models import Decision, Failover, Request
from tests.failovers.desk import group, guards_aside, policy


def _refused(sql: str, *params: int | str) -> str:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)
    return str(caught.value)


def _decide(asked, person, *, requester=None, digest=None, verdict="approve", groups=",") -> Decision:
    """Straight into the table, past every verb."""
    return Decision.objects.create(
        request=asked,
        person=person,
        requester=requester or asked.requester,
        person_label=person.label,
        verdict=verdict,
        digest=digest or asked.digest,
        groups=groups,
        auth="password",
        facts_seen={},
        at=asked.made_at,
    )


def _ask_again(asked: Request, **changes: object) -> Request:
    """Another request that says the same, straight into the table."""
    same = {
        f.attname: getattr(asked, f.attname) for f in Request._meta.concrete_fields if f.name not in ("id", "nonce")
    }
    return Request.objects.create(**same | changes)


def test_every_guard_is_in_place(db):
    assert guards.missing(connection) == []


def test_a_missing_guard_is_named(transactional_db):
    guards.drop(connection)
    assert "failovers_failover_moves_along" in guards.missing(connection)
    guards.install(connection)
    assert guards.missing(connection) == []


@pytest.mark.parametrize("column", ["reason", "ticket", "plan", "digest", "mode"])
def test_what_was_asked_is_frozen(desk, column):
    asked = desk.request()
    assert "frozen" in _refused(f"UPDATE failovers_request SET {column} = 'x' WHERE id = %s", asked.pk)  # noqa: S608


def test_the_deadline_of_a_request_is_frozen(desk):
    asked = desk.request()
    _refused("UPDATE failovers_request SET required = 1, decide_by = '2099-01-01 00:00:00' WHERE id = %s", asked.pk)


def test_requests_and_failovers_are_never_deleted(desk):
    asked = desk.request()
    _refused("DELETE FROM failovers_failover WHERE request_id = %s", asked.pk)
    _refused("DELETE FROM failovers_request WHERE id = %s", asked.pk)


def test_nobody_approves_their_own_not_even_in_sql(desk):
    asked = desk.request()
    with pytest.raises(IntegrityError), transaction.atomic():
        _decide(asked, asked.requester)


def test_a_false_copy_of_the_requester_is_refused(desk, cast):
    asked = desk.request()
    with pytest.raises(IntegrityError), transaction.atomic():
        _decide(asked, asked.requester, requester=cast.tanaka.person)


def test_a_decision_on_another_digest_is_refused(desk, cast):
    asked = desk.request()
    with pytest.raises(IntegrityError), transaction.atomic():
        _decide(asked, cast.osei.person, digest="0" * 64)


def test_one_person_has_one_vote(desk, cast):
    asked = desk.request()
    _decide(asked, cast.osei.person)
    with pytest.raises(IntegrityError), transaction.atomic():
        _decide(asked, cast.osei.person, verdict="reject")


def test_a_decision_is_for_ever(desk, cast):
    asked = desk.request()
    made = _decide(asked, cast.osei.person)
    _refused("UPDATE failovers_decision SET verdict = 'reject' WHERE id = %s", made.pk)
    _refused("DELETE FROM failovers_decision WHERE id = %s", made.pk)


@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_rows_are_not_replaced_on_sqlite(desk, cast):
    asked = desk.request()
    made = _decide(asked, cast.osei.person)
    for table, pk in (("decision", made.pk), ("request", asked.pk), ("failover", asked.failovers.get().pk)):
        name = f"failovers_{table}"
        _refused(f"INSERT OR REPLACE INTO {name} SELECT * FROM {name} WHERE id = %s", pk)  # noqa: S608


@pytest.mark.postgres
@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_tables_are_not_emptied_on_postgresql(desk):
    desk.request()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or the open foreign keys would be what refuses
    _refused("TRUNCATE failovers_request, failovers_share, failovers_decision, failovers_review, failovers_failover")


def test_nothing_is_approved_without_a_decision(desk):
    failover = desk.request().failovers.get()
    words = _refused("UPDATE failovers_failover SET state = 'approved' WHERE id = %s", failover.pk)
    assert "A failover is approved only" in words


def test_nothing_is_approved_against_a_rejection(desk, cast):
    asked = desk.request()
    _decide(asked, cast.osei.person)
    _decide(asked, cast.lind.person, verdict="reject")
    _refused("UPDATE failovers_failover SET state = 'approved' WHERE request_id = %s", asked.pk)


@pytest.mark.parametrize("state", ["requested", "cancelled"])
def test_only_what_is_approved_is_sent(desk, state):
    failover = desk.request().failovers.get()
    if state == "cancelled":
        desk.cancel(failover.request)
    _refused("UPDATE failovers_failover SET state = 'sent', sent_at = '2026-01-01 00:00:00' WHERE id = %s", failover.pk)


def test_only_the_moves_of_the_protocol_lead_from_state_to_state(desk, cast):
    """So that no detour leads to `approved` or `sent`, such as by way of `reverting`."""
    asked = desk.request()
    _decide(asked, cast.osei.person)
    found = set()
    for source in State:
        with guards_aside():
            Failover.objects.update(state=source, sent_at=asked.made_at)
        for target in State:
            try:
                with transaction.atomic():
                    Failover.objects.update(state=target)
                    found.add((source, target))
                    transaction.set_rollback(True)
            except IntegrityError:
                pass
    moves = {(source, move.target) for move in MOVES.values() for source in move.sources}
    assert found == moves | {(state, state) for state in State}


def test_a_failover_does_not_begin_half_way(desk):
    failover = desk.approved()
    desk.cancel(failover.request)
    several = _ask_again(failover.request, size=2)
    words = "A failover begins as requested"
    with pytest.raises(IntegrityError, match=words), transaction.atomic():
        Failover.objects.create(
            request=several,
            position=1,
            relationship=desk.row,
            state="approved",
            next_step_at=failover.next_step_at,
        )


def test_what_was_approved_gets_no_further_failover(site):
    asked = site.ask_for(site.rows[:2])
    site.approve(asked)
    with pytest.raises(IntegrityError, match="as many failovers as it was made for"), transaction.atomic():
        Failover.objects.create(request=asked, position=2, relationship=site.rows[3], next_step_at=asked.made_at)


@pytest.mark.parametrize("state", ["requested", "approved", "succeeded"])
def test_an_ending_is_final(desk, state):
    failover = desk.approved()
    desk.cancel(failover.request)
    _refused("UPDATE failovers_failover SET state = %s, sent_at = next_step_at WHERE id = %s", state, failover.pk)


@pytest.mark.parametrize("column", ["id", "request_id", "position", "relationship_id"])
def test_a_failover_stays_what_it_was_made_for(desk, column):
    failover = desk.approved()
    words = _refused(f"UPDATE failovers_failover SET {column} = {column} + 1 WHERE id = %s", failover.pk)  # noqa: S608
    assert "stays with its request" in words


def test_a_relationship_has_one_open_failover(desk):
    first = desk.request()
    second = _ask_again(first)
    with pytest.raises(IntegrityError), transaction.atomic():
        Failover.objects.create(request=second, relationship=desk.row, next_step_at=first.made_at)


@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_an_open_failover_is_not_replaced_by_another_requests(desk):
    """INSERT OR REPLACE would take away whatever stands in the way of a unique index: one that was sent, for one."""
    second = _ask_again(desk.request())
    columns = "position, state, next_step_at, attempts, sender, outcome, outcome_words, ended_by, version"
    words = _refused(
        f"INSERT OR REPLACE INTO failovers_failover (request_id, relationship_id, {columns}) "  # noqa: S608
        f"SELECT %s, relationship_id, {columns} FROM failovers_failover",
        second.pk,
    )
    assert "A failover is not replaced" in words


def test_one_person_does_not_stand_for_two_shares_nor_the_requester_for_one(desk, cast):
    """Each share for itself would be content: with the one of storage, who is also anybody."""
    group("storage", cast.osei, cast.rivera)
    policy(shares={"storage": 1, "": 1})
    asked = desk.request()
    approve = "UPDATE failovers_failover SET state = 'approved' WHERE request_id = %s"
    _decide(asked, cast.osei.person, groups=",storage,")
    assert "enough other people" in _refused(approve, asked.pk)
    with guards_aside():  # and with a false copy of the requester, which nothing else would let in
        _decide(asked, asked.requester, requester=cast.lind.person, groups=",storage,")
    assert "enough other people" in _refused(approve, asked.pk)
    _decide(asked, cast.lind.person)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(approve, [asked.pk])
    assert asked.failovers.get().state == State.APPROVED
