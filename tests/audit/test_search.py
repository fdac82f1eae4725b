"""A page of a large ledger is found in pieces: all of it when there is time, honest about how far when not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.audit.search import Found, Search, page
from dashboard.database import database_now
from tests.audit.ledger import tamper

pytestmark = pytest.mark.django_db

FOREVER = 1e9


@pytest.fixture(autouse=True)
def _ledger() -> None:
    """Forty entries; every tenth is about a needle."""
    with transaction.atomic():
        for number in range(1, 41):
            words = "needle" if number % 10 == 0 else "hay"
            chain.append("cluster.tested", actor=SYSTEM, object=f"FO-{number % 4}", words=words)


def numbers(found: Found) -> list[int]:
    return [entry.seq for entry in found.entries]


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_every_page_is_the_same_whatever_the_pieces(piece: int) -> None:
    found = page(Search(q="needle"), head=40, size=2, patience=FOREVER, piece=piece)
    assert (numbers(found), found.older, found.newer, found.full) == ([40, 30], 30, None, True)
    found = page(Search(q="needle"), head=40, before=found.older, size=2, patience=FOREVER, piece=piece)
    assert (numbers(found), found.older, found.whole) == ([20, 10], None, True)
    assert found.newer == 29
    back = page(Search(q="needle"), head=40, after=found.newer, size=2, patience=FOREVER, piece=piece)
    assert (numbers(back), back.newer, back.older) == ([40, 30], None, 30)


def test_without_patience_it_says_how_far_it_has_looked_and_goes_on_from_there() -> None:
    found = page(Search(q="needle"), head=39, size=2, patience=0, piece=5)
    assert (numbers(found), found.looked, found.whole, found.older) == ([], (35, 39), False, 35)
    seen: list[int] = []
    while found.older is not None:
        found = page(Search(q="needle"), head=39, before=found.older, size=2, patience=0, piece=5)
        seen += numbers(found)
    assert seen == [30, 20, 10]


def test_forwards_it_goes_on_as_well() -> None:
    found = page(Search(q="needle"), head=40, after=0, size=5, patience=0, piece=5)
    assert (numbers(found), found.looked, found.newer, found.whole) == ([], (1, 5), 5, False)
    seen: list[int] = []
    while found.newer is not None:
        found = page(Search(q="needle"), head=40, after=found.newer, size=5, patience=0, piece=5)
        seen += numbers(found)
    assert seen == [10, 20, 30, 40]


def test_a_piece_reads_no_more_than_its_entries() -> None:
    """Otherwise a search for what is not there would read all of it."""
    plan = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    rows = Search(q="nothing").rows().filter(seq__gte=30, seq__lte=40).order_by("-seq")[:101]
    sql, parameters = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # of forty rows it would rather read all
        cursor.execute(f"{plan} {sql}", parameters)
        said = " ".join(str(row) for row in cursor.fetchall())
    assert "audit_entry_pkey" in said or "INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in said, said


def test_what_is_appended_meanwhile_is_not_part_of_the_page() -> None:
    assert numbers(page(Search(), head=38, size=3)) == [38, 37, 36]


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    now = database_now()
    for seq, at in ((38, now + timedelta(hours=3)), (39, now - timedelta(hours=3))):
        tamper("UPDATE audit_entry SET at = %s WHERE seq = %s", (str(at.replace(tzinfo=None)), seq))
    found = page(Search(since=now + timedelta(hours=1)), head=40)
    assert numbers(found) == [38]
    found = page(Search(until=now - timedelta(hours=1)), head=40)
    assert numbers(found) == [39]


def test_days_on_which_nothing_was_written_are_empty_at_once() -> None:
    far = database_now() + timedelta(days=9)
    assert page(Search(since=far), head=40).whole
    assert page(Search(until=database_now() - timedelta(days=9)), head=40).entries == []


def test_the_words_of_a_search_tell_all_of_it() -> None:
    asked = Search(q='say "no"', who="k.osei", refused=True)
    assert asked.words == 'text "say \\"no\\"", who "k.osei", refused "only"'
    assert Search().words == ""
    assert not Search().narrows


def test_items_of_a_request_are_found_by_its_number() -> None:
    assert set(Entry.objects.filter(object="FO-1").values_list("seq", flat=True)) == set(
        numbers(page(Search(object="FO-1"), head=40))
    )
