"""The verifier names the first bad entry, whatever an owner of the database did with the guards out of the way."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from dashboard.audit import chain, guards
from dashboard.audit.models import Entry, Head
from dashboard.audit.verifier import Bad, entry_hash
from tests.audit.ledger import tamper, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries() -> list[Entry]:
    return write(5)


def rewrite(seq: int, *, follow: bytes | None = None) -> bytes:
    """Change the words of an entry and give it the hash that its new text deserves, as a clever forger would."""
    entry = Entry.objects.get(seq=seq)
    payload = entry.payload.replace("no.", "NO.")
    previous = follow or bytes(entry.prev_hash)
    message = b"failover-desk-audit/2\0" + previous + seq.to_bytes(8, "big") + hashlib.sha256(payload.encode()).digest()
    digest = hashlib.sha256(message).digest()
    tamper(
        "UPDATE audit_entry SET payload = %s, prev_hash = %s, hash = %s WHERE seq = %s",
        (payload, previous, digest, seq),
    )
    return digest


def fault() -> tuple[int, str]:
    bad = chain.verify().bad
    assert bad is not None
    return bad.seq, bad.kind


def test_a_whole_ledger_verifies(entries: list[Entry]) -> None:
    report = chain.verify()
    assert report.ok
    assert (report.checked, report.head) == (5, (5, bytes(entries[-1].hash).hex()))


def test_an_empty_ledger_verifies() -> None:
    assert chain.verify() == chain.Report(0, (0, "00" * 32), None)


def test_an_edited_text_is_found(entries: list[Entry]) -> None:
    tamper("UPDATE audit_entry SET payload = replace(payload, 'no. 3', 'no. 8') WHERE seq = 3")
    assert fault() == (3, "content")


def test_an_edited_text_with_a_new_hash_breaks_the_link_of_the_next(entries: list[Entry]) -> None:
    rewrite(3)
    assert fault() == (4, "link")


def test_a_last_entry_with_a_new_hash_differs_from_the_head(entries: list[Entry]) -> None:
    rewrite(5)
    assert fault() == (5, "head")


def test_a_chain_forged_to_its_end_differs_from_the_head(entries: list[Entry]) -> None:
    digest = rewrite(3)
    for seq in (4, 5):
        digest = rewrite(seq, follow=digest)
    assert fault() == (5, "head")


def test_a_deleted_entry_is_a_gap(entries: list[Entry]) -> None:
    tamper("DELETE FROM audit_entry WHERE seq = 3")
    assert fault() == (3, "gap")


def test_a_deleted_beginning_is_a_gap(entries: list[Entry]) -> None:
    tamper("DELETE FROM audit_entry WHERE seq < 3")
    assert fault() == (1, "gap")


def test_two_entries_in_the_wrong_order_are_found(entries: list[Entry]) -> None:
    tamper("UPDATE audit_entry SET seq = 99 WHERE seq = 2")
    tamper("UPDATE audit_entry SET seq = 2 WHERE seq = 3")
    tamper("UPDATE audit_entry SET seq = 3 WHERE seq = 99")
    assert fault() == (2, "reorder")


def test_a_cut_tail_is_found(entries: list[Entry]) -> None:
    tamper("DELETE FROM audit_entry WHERE seq > 3")
    assert fault() == (4, "truncated")


def test_an_emptied_ledger_is_found(entries: list[Entry]) -> None:
    tamper("DELETE FROM audit_entry")
    assert fault() == (1, "truncated")


def test_a_head_that_was_set_back_is_found(entries: list[Entry]) -> None:
    Head.objects.update(seq=4, hash=bytes(entries[3].hash))
    assert fault() == (5, "head")


def test_a_head_with_another_hash_is_found(entries: list[Entry]) -> None:
    Head.objects.update(hash=b"x" * 32)
    assert fault() == (5, "head")


def test_a_missing_head_is_found_and_nothing_can_be_written(entries: list[Entry]) -> None:
    Head.objects.all().delete()
    assert fault() == (5, "head")
    with pytest.raises(Head.DoesNotExist):
        write(1)


@pytest.mark.parametrize("column", ["tag", "actor", "object"])
def test_a_searchable_column_that_was_edited_is_found(entries: list[Entry], column: str) -> None:
    tamper(f"UPDATE audit_entry SET {column} = 'somebody else' WHERE seq = 2")  # noqa: S608 - a column's name
    assert fault() == (2, "columns")


def test_a_moved_time_is_found(entries: list[Entry]) -> None:
    tamper("UPDATE audit_entry SET at = '2020-01-01 00:00:00+00:00' WHERE seq = 2")
    assert fault() == (2, "columns")


@pytest.mark.parametrize(
    "payload", ["[]", "{}", "not json", '{"actor":"x","tag":"t","object":"o","at":"x"}', "[" * 20_000]
)
def test_a_text_that_we_never_write_is_named_even_with_a_fitting_hash(payload: str) -> None:
    digest = entry_hash(bytes(32), 1, payload)
    tamper(
        "INSERT INTO audit_entry (seq, payload, prev_hash, hash, at, tag, actor, object) "
        "VALUES (1, %s, %s, %s, CURRENT_TIMESTAMP, 't', 'a', 'o')",
        (payload, bytes(32), digest),
    )
    Head.objects.update(seq=1, hash=digest)
    assert fault() == (1, "content")


def test_it_can_begin_in_the_middle(entries: list[Entry]) -> None:
    tamper("UPDATE audit_entry SET tag = 'x' WHERE seq = 2")
    report = chain.verify(start=3)
    assert report.ok
    assert report.checked == 3
    assert chain.verify(start=6).ok
    assert chain.verify(start=8).bad == Bad(7, "gap", "Entry 7, before the first one to check, is missing.")
    rewrite(3)
    assert chain.verify(start=4).bad == Bad(
        4, "link", "Entry 4 does not follow entry 3: one of the two was written anew."
    )


def test_it_reads_entry_by_entry_and_stops_at_the_first_bad_one(entries: list[Entry]) -> None:
    """From any source in order, such as an export; what comes after the bad entry is never read."""
    taken: list[int] = []

    def export() -> Iterator[Entry]:
        for entry in entries:
            if entry.seq == 3:
                entry.payload = json.dumps({"forged": True})
            taken.append(entry.seq)
            yield entry

    report = chain.verify(entries=export())
    assert report.bad is not None
    assert (report.bad.seq, report.bad.kind, report.checked) == (3, "content", 2)
    assert taken == [1, 2, 3]
    assert chain.verify(start=4, entries=entries[3:]).ok


def verifyaudit(*arguments: str) -> tuple[str, int]:
    out, code = io.StringIO(), 0
    try:
        call_command("verifyaudit", *arguments, stdout=out)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    return out.getvalue(), code


def test_verifyaudit_says_in_one_line_that_all_is_well(entries: list[Entry]) -> None:
    digest = bytes(entries[-1].hash).hex()
    assert verifyaudit() == (f"The audit trail is whole: 5 entries checked, head 5 {digest}.\n", 0)
    assert verifyaudit("--from", "4") == (f"The audit trail is whole: 2 entries checked, head 5 {digest}.\n", 0)


def test_verifyaudit_names_the_first_bad_entry_and_fails(entries: list[Entry]) -> None:
    tamper("UPDATE audit_entry SET payload = '{}' WHERE seq IN (2, 4)")
    said = "Bad entry 2 (content): Entry 2 is not what was written: its text does not match its hash.\n"
    assert verifyaudit() == (said, 1)


def test_verifyaudit_fails_when_the_guards_are_gone(entries: list[Entry]) -> None:
    guards.drop(connection)
    said, code = verifyaudit()
    assert code == 1
    assert "no longer guards it: audit_entry_never_changes, " in said
    assert said.count("\n") == 1
