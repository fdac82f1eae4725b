"""When the head of the ledger is signed, when it must not be, and what a change of the key leaves behind."""

from __future__ import annotations

import io
import os
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from dashboard.audit import chain, checkpoints, export, guards, verifier
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Checkpoint, Entry, Head, Sink
from dashboard.audit.verifier import check
from dashboard.database import database_now
from tests.audit.ledger import run, tamper, write

pytestmark = pytest.mark.django_db


def new_key() -> str:
    return urlsafe_b64encode(os.urandom(32)).decode()


@pytest.fixture(autouse=True)
def _signs(settings: Any) -> None:
    settings.CHECKPOINT_KEY = new_key()


def age(length: timedelta) -> None:
    """As if the last checkpoint, and what came before it, had been made so long ago."""
    guards.drop(connection)
    Checkpoint.objects.update(at=database_now() - length)
    guards.install(connection)


def append(tag: str) -> None:
    with transaction.atomic():
        chain.append(tag, actor=SYSTEM)


def notes() -> io.BytesIO:
    return io.BytesIO("\n".join(Checkpoint.objects.values_list("note", flat=True)).encode())


def test_an_empty_ledger_is_not_signed() -> None:
    checkpoints.once()
    assert not Checkpoint.objects.exists()


def test_the_first_entry_is_signed_at_once_and_the_next_ones_after_a_minute() -> None:
    write(1)
    checkpoints.once()
    write(2)
    checkpoints.once()
    assert list(Checkpoint.objects.values_list("number", "seq")) == [(1, 1)]
    age(checkpoints.SOON)
    checkpoints.once()
    assert list(Checkpoint.objects.values_list("number", "seq")) == [(1, 1), (2, 3)]


@pytest.mark.parametrize("tag", checkpoints.AT_ONCE)
def test_what_was_sent_or_ended_is_signed_at_once(tag: str) -> None:
    write(1)
    checkpoints.once()
    append(tag)
    checkpoints.once()
    assert Checkpoint.objects.latest("number").seq == 2


def test_an_idle_ledger_is_signed_once_a_day() -> None:
    write(1)
    checkpoints.once()
    age(timedelta(hours=23))
    checkpoints.once()
    assert Checkpoint.objects.count() == 1
    age(checkpoints.IDLE)
    checkpoints.once()
    assert list(Checkpoint.objects.values_list("number", "seq")) == [(1, 1), (2, 1)]


def test_without_a_key_nothing_is_signed(settings: Any) -> None:
    settings.CHECKPOINT_KEY = ""
    write(1)
    checkpoints.once()
    assert not Checkpoint.objects.exists()


def test_what_it_signs_verifies_against_an_export() -> None:
    for count in (3, 2, 1):
        write(count)
        checkpoints.once()
        age(checkpoints.SOON)
    data = b"".join(export.jsonl(Entry.objects.all(), export.now()))
    said, bad = check(io.BytesIO(data), notes())
    assert bad is None
    assert "Checkpoints about these entries: 3, and they agree; about others: 0." in said


def test_a_ledger_that_was_changed_since_is_not_signed_any_further() -> None:
    write(2)
    checkpoints.once()
    write(3)
    age(checkpoints.SOON)
    tamper("UPDATE audit_entry SET payload = '{}' WHERE seq = 4")
    checkpoints.once()
    assert Checkpoint.objects.count() == 1


def test_a_ledger_that_was_rewritten_from_before_its_checkpoint_is_not_signed_any_further() -> None:
    """With fitting hashes to its very end, and a head to match: nothing but the checkpoint knows."""
    write(3)
    checkpoints.once()
    age(checkpoints.SOON)
    guards.drop(connection)
    previous = verifier.GENESIS
    for entry in Entry.objects.order_by("seq"):
        payload = entry.payload.replace("no.", "NO.")
        digest = verifier.entry_hash(previous, entry.seq, payload)
        Entry.objects.filter(seq=entry.seq).update(payload=payload, prev_hash=previous, hash=digest)
        previous = digest
    Head.objects.update(hash=previous)
    guards.install(connection)
    write(1)
    assert chain.verify().ok
    checkpoints.once()
    assert Checkpoint.objects.count() == 1
    data = b"".join(export.jsonl(Entry.objects.all(), export.now()))
    _, bad = check(io.BytesIO(data), notes())
    assert bad is not None
    assert (bad.seq, bad.kind) == (3, "checkpoint")


def test_a_new_key_is_signed_by_the_old_one_while_that_is_there(settings: Any) -> None:
    old, first = settings.CHECKPOINT_KEY, checkpoints.signing_keys()[0].public_key().public_bytes_raw()
    write(1)
    checkpoints.once()
    settings.CHECKPOINT_KEY = f"{new_key()},{old}"
    age(checkpoints.IDLE)
    checkpoints.once()
    age(checkpoints.IDLE)
    checkpoints.once()
    handed_over = verifier.parse_note(Checkpoint.objects.get(number=2).note)
    assert handed_over[0].replaces == first
    assert len(handed_over[1]) == 2
    assert verifier.parse_note(Checkpoint.objects.get(number=3).note)[0].replaces == b""
    assert check(None, notes(), keys=[first])[1] is None


def test_a_new_key_alone_names_the_one_before_and_must_be_given(settings: Any) -> None:
    first = checkpoints.signing_keys()[0].public_key().public_bytes_raw()
    write(1)
    checkpoints.once()
    settings.CHECKPOINT_KEY = new_key()
    age(checkpoints.IDLE)
    checkpoints.once()
    second = checkpoints.signing_keys()[0].public_key().public_bytes_raw()
    assert verifier.parse_note(Checkpoint.objects.get(number=2).note)[0].replaces == first
    assert check(None, notes(), keys=[first])[1] is not None
    assert check(None, notes(), keys=[first, second])[1] is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_checkpoint SET seq = 9",
        "DELETE FROM audit_checkpoint",
        "INSERT INTO audit_checkpoint SELECT 3, seq, hash, at, note FROM audit_checkpoint",
        pytest.param("TRUNCATE audit_checkpoint", marks=pytest.mark.postgres),
    ],
)
def test_the_database_refuses_to_change_what_was_signed(statement: str) -> None:
    write(1)
    checkpoints.once()
    with pytest.raises(IntegrityError):
        run(statement)


def test_what_is_late_is_said(settings: Any) -> None:
    write(1)
    now = database_now()
    assert checkpoints.standing(now).late == []
    [late] = checkpoints.standing(now + timedelta(minutes=6)).late
    assert late.startswith("The audit trail has not been signed since ")
    checkpoints.once()
    Sink.objects.create(name="syslog", wanted=True)
    Sink.objects.create(name="webhook", wanted=False)
    assert checkpoints.standing(database_now()).late == []
    [late] = checkpoints.standing(database_now() + timedelta(minutes=6)).late
    assert late.startswith("Signed checkpoints do not reach syslog since ")


def test_the_command_shows_the_key_and_the_notes(settings: Any, tmp_path: Path) -> None:
    def said(what: str) -> str:
        out = io.StringIO()
        call_command("checkpoint", what, stdout=out)
        return out.getvalue()

    key = verifier.key_text(checkpoints.signing_keys()[0].public_key().public_bytes_raw())
    assert said("key") == f"{key}\n"
    write(1)
    checkpoints.once()
    settings.CHECKPOINT_KEY = ""
    assert said("key") == f"{key}\n"
    assert check(None, io.BytesIO(said("show").encode()))[1] is None
    assert checkpoints.private_key(said("new-key"))
    settings.CHECKPOINT_KEY = "nonsense"
    with pytest.raises(CommandError, match="not a key"):
        said("key")


def verifyaudit(*arguments: str) -> tuple[str, int]:
    out, code = io.StringIO(), 0
    try:
        call_command("verifyaudit", *arguments, stdout=out)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    return out.getvalue(), code


def test_verifyaudit_lays_checkpoints_beside_the_ledger(tmp_path: Path) -> None:
    write(3)
    checkpoints.once()
    file, other = tmp_path / "checkpoints", new_key()
    file.write_bytes(notes().getvalue())
    key = verifier.parse_note(Checkpoint.objects.get().note)[0].key
    write(2)
    said, code = verifyaudit("--checkpoints", str(file), "--key", verifier.key_text(key))
    assert code == 0
    assert said.endswith("1 checkpoints agree.\n")
    assert "compare it: ed25519:" in verifyaudit("--checkpoints", str(file))[0]
    wrong = verifier.key_text(checkpoints.private_key(other).public_key().public_bytes_raw())
    assert verifyaudit("--checkpoints", str(file), "--key", wrong)[1] == 1
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    Head.objects.update(seq=2, hash=bytes(Entry.objects.get(seq=2).hash))
    assert verifyaudit()[1] == 0
    said, code = verifyaudit("--checkpoints", str(file))
    assert (said[:22], code) == ("Bad entry 3 (truncated", 1)
    assert verifyaudit("--checkpoints", str(tmp_path / "absent"))[1] == 2


def test_verifyaudit_checks_a_part_and_an_export(tmp_path: Path) -> None:
    entries = write(6)
    digest = bytes(entries[3].hash).hex()
    whole = f"The audit trail is whole: 3 entries checked, head 4 {digest}.\n"
    assert verifyaudit("--from", "2", "--to", "4") == (whole, 0)
    said, code = verifyaudit("--to", "9")
    assert (said, code) == ("Bad entry 7 (truncated): The ledger ends at entry 6, before entry 9.\n", 1)
    file = tmp_path / "export"
    file.write_bytes(b"".join(export.jsonl(Entry.objects.all(), export.now())))
    assert verifyaudit("--jsonl", str(file))[1] == 0
    file.write_bytes(file.read_bytes().replace(b"no. 5", b"no. 6"))
    assert verifyaudit("--jsonl", str(file))[0].startswith("Bad entry 5 (content)")
    file.write_bytes(b"nothing")
    assert verifyaudit("--jsonl", str(file))[1] == 2
