from __future__ import annotations

import hashlib
import json
import os
import pwd
import struct
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM, Actor
from dashboard.audit.models import Entry, Head
from dashboard.audit.tags import Tag, words_of
from dashboard.audit.verifier import GENESIS
from dashboard.database import database_now
from tests.audit.ledger import write

LIND = Actor("user", "j.lind", person_id=7, account="j.lind", ip="10.9.0.21")


@pytest.mark.django_db
def test_an_entry_holds_everything_that_was_said() -> None:
    with chain.bound_to_request("req-1"):
        entry = chain.append(
            Tag.REQUEST_APPROVED, actor=LIND, object="FO-1001", words="Go.", detail={"seen": [1, "a", None, True]}
        )
    record = Entry.objects.get(seq=1).record
    assert record == {
        "at": record["at"],
        "tag": "request.approved",
        "actor": {"kind": "user", "label": "j.lind", "person": 7, "account": "j.lind", "ip": "10.9.0.21"},
        "request_id": "req-1",
        "object": "FO-1001",
        "words": "Go.",
        "detail": {"seen": [1, "a", None, True]},
    }
    assert (entry.tag, entry.actor, entry.object) == ("request.approved", "j.lind", "FO-1001")
    assert chain.append("signout", actor=SYSTEM).record["request_id"] == ""


@pytest.mark.django_db
def test_the_hash_is_the_documented_one() -> None:
    """Computed here from the words of the docstring, so that a verifier written from them agrees."""
    previous = GENESIS
    for entry in write(3):
        text = hashlib.sha256(entry.payload.encode()).digest()
        message = b"failover-desk-audit/2\0" + previous + struct.pack(">Q", entry.seq) + text
        assert bytes(entry.prev_hash) == previous
        previous = hashlib.sha256(message).digest()
        assert bytes(entry.hash) == previous
    head = Head.objects.get()
    assert (head.seq, bytes(head.hash)) == (3, previous)


@pytest.mark.django_db
def test_the_payload_is_canonical_json() -> None:
    entry = chain.append("signout", actor=SYSTEM, words="größe", detail={"b": 1, "a": 2})
    assert entry.payload == json.dumps(entry.record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert "größe" in entry.payload


@pytest.mark.django_db
def test_the_time_is_that_of_the_database() -> None:
    before = database_now()
    entry = chain.append("signout", actor=SYSTEM)
    assert before <= entry.at <= database_now()
    said = entry.record["at"]
    assert len(said) == len("2026-03-14T03:20:33.000000Z")
    assert datetime.strptime(said, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) == Entry.objects.get(seq=1).at


@pytest.mark.django_db(transaction=True)
def test_it_refuses_to_write_outside_a_transaction() -> None:
    with pytest.raises(TransactionManagementError, match="inside the transaction"):
        chain.append("signout", actor=SYSTEM)
    assert Entry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_an_entry_goes_when_its_change_is_rolled_back() -> None:
    write(1)
    with transaction.atomic():
        chain.append("signout", actor=SYSTEM)
        transaction.set_rollback(True)
    assert [entry.seq for entry in write(1)] == [2]
    assert chain.verify().ok


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("detail", "named"),
    [
        ({"share": 0.5}, "float: entry.detail.share"),
        ({"deep": [{"x": 1.0}]}, r"float: entry.detail.deep\[0\].x"),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, "datetime: entry.detail.at"),
        ({"raw": b"x"}, "bytes: entry.detail.raw"),
        ({1: "x"}, "int as a key"),
    ],
)
def test_it_refuses_what_has_more_than_one_spelling(detail: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        chain.append("signout", actor=SYSTEM, detail=detail)
    assert Entry.objects.count() == 0


HOSTILE = [
    "NUL \x00 inside",
    "lone \ud800 surrogate \udfff",
    "\\u0000 as text",
    "right \u202e to left",
    "\x1b[31mred\x1b[0m \x85 \u2028",
    "<script>alert(1)</script>",
    "'); DROP TABLE audit_entry; --",
    "%s %(x)s {0}",
    "=cmd()",
    "🐟" * 300,
    "x" * 100_000,
]


@pytest.mark.django_db
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_cannot_stop_the_ledger(text: str) -> None:
    """In every place that takes a text, and also where it is copied into an indexed column."""
    hostile = Actor("user", text, account=text, ip=text)
    with chain.bound_to_request(text):
        chain.append("cluster.tested", actor=hostile, object=text, words=text, detail={text: [text, {text: text}]})
    stored = Entry.objects.get(seq=1)
    kept = text.replace("\x00", "\\u0000").replace("\ud800", "\\ud800").replace("\udfff", "\\udfff")
    assert stored.record["detail"] == {kept: [kept, {kept: kept}]}
    assert stored.record["actor"]["label"] == stored.record["object"] == stored.record["request_id"] == kept
    assert stored.object == stored.actor == kept[:200]
    assert chain.verify().ok


@pytest.mark.django_db(transaction=True)
def test_eight_threads_write_one_chain_without_gaps_or_forks() -> None:
    """And it verifies at any moment while they write."""
    each, failed = 20, []
    ready = threading.Barrier(9)

    def writer() -> None:
        try:
            ready.wait(timeout=30)
            write(each)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=writer) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait(timeout=30)
    while any(thread.is_alive() for thread in threads):
        report = chain.verify()
        assert report.ok, report.bad
    for thread in threads:
        thread.join()
    assert not failed
    entries = list(Entry.objects.all())
    assert [entry.seq for entry in entries] == list(range(1, 8 * each + 1))
    assert len({bytes(entry.prev_hash) for entry in entries}) == len(entries)
    assert chain.verify().checked == 8 * each


def test_the_actor_of_a_command_is_whoever_runs_it() -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    assert chain.cli() == Actor("cli", f"{name} (command line)", account=name)


def test_every_tag_has_words_and_unknown_ones_are_shown_as_they_are() -> None:
    assert all(words_of(tag) and words_of(tag) != tag for tag in Tag)
    assert words_of("failover.sent") == "Make-writable is being sent"
    assert words_of("retired.tag") == "retired.tag"


@pytest.mark.django_db
def test_a_payload_that_is_no_longer_json_is_still_shown() -> None:
    assert Entry(payload="[[[ damaged").record == {"words": "[[[ damaged"}
    assert Entry(payload="[1]").record == {"words": "[1]"}
