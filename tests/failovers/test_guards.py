"""What the database refuses in raw SQL, on both engines, whatever code runs."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.failovers import guards
from dashboard.failovers.models import Decision, Failover


def _refused(sql: str, *params: int | str) -> str:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)
    return str(caught.value)


def _decide(asked, person, *, requester=None, digest=None, verdict="approve") -> Decision:
    """Straight into the table, past every verb."""
    return Decision.objects.create(
        request=asked,
        person=person,
        requester=requester or asked.requester,
        person_label=person.label,
        verdict=verdict,
        digest=digest or asked.digest,
        auth="password",
        facts_seen={},
        at=asked.made_at,
    )


def test_every_guard_is_in_place(db):
    assert guards.missing(connection) == []


def test_a_missing_guard_is_named(transactional_db):
    guards.drop(connection)
    assert "failovers_sent_only_from_approved" in guards.missing(connection)
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


def test_a_failover_does_not_begin_half_way(desk):
    failover = desk.approved()
    desk.cancel(failover.request)
    with pytest.raises(IntegrityError), transaction.atomic():
        Failover.objects.create(
            request=failover.request,
            position=1,
            relationship=desk.row,
            state="approved",
            next_step_at=failover.next_step_at,
        )


@pytest.mark.parametrize("state", ["requested", "approved", "succeeded"])
def test_an_ending_is_final(desk, state):
    failover = desk.approved()
    desk.cancel(failover.request)
    _refused("UPDATE failovers_failover SET state = %s, sent_at = next_step_at WHERE id = %s", state, failover.pk)


def test_a_relationship_has_one_open_failover(desk):
    first = desk.request().failovers.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Failover.objects.create(
            request=first.request, position=1, relationship=desk.row, next_step_at=first.next_step_at
        )
