"""The single file that an auditor runs, on signed checkpoints that somebody may have touched."""

from __future__ import annotations

import io
from typing import Any

import pytest

from dashboard.audit import verifier
from dashboard.audit.models import Entry, Head
from dashboard.audit.verifier import Bad, check
from tests.audit.ledger import tamper
from tests.audit.verifying import NEW, OLD, Lines, Notary, exported, forged, public, verdict


def test_checkpoints_that_agree_are_counted(entries: list[Entry], notary: Notary) -> None:
    notes = [notary.sign(seq, bytes(entries[seq - 1].hash), OLD) for seq in (1, 4, 4, 8)]
    said, bad = check(io.BytesIO(exported(first=3)), io.BytesIO("\n".join(notes).encode()), keys=[public(OLD)])
    assert bad is None
    assert said[2:] == [
        "Checkpoints about these entries: 3, and they agree; about others: 1.",
        "Checkpoints: 4, each signed, each following the one before.",
    ]


def test_a_trail_that_was_written_anew_differs_from_its_checkpoint(entries: list[Entry], notary: Notary) -> None:
    notes = [notary.sign(seq, bytes(entries[seq - 1].hash), OLD) for seq in (2, 5)]

    def rewrite(lines: Lines) -> None:
        lines[4]["payload"] = "{}"
        previous = bytes.fromhex(lines[4]["prev_hash"])
        for line in lines[4:-1]:
            line["prev_hash"] = previous.hex()
            previous = verifier.entry_hash(previous, line["seq"], line["payload"])
            line["hash"] = previous.hex()

    data = forged(exported(), rewrite)
    assert check(io.BytesIO(data))[1] is None
    assert verdict(data, *notes) == (5, "checkpoint")


def test_an_export_that_knows_less_than_an_older_checkpoint_lacks_its_tail(
    entries: list[Entry], notary: Notary
) -> None:
    kept = notary.sign(8, bytes(entries[-1].hash), OLD)
    tamper("DELETE FROM audit_entry WHERE seq > 6")
    Head.objects.update(seq=6, hash=bytes(entries[5].hash))
    assert check(io.BytesIO(exported()))[1] is None
    assert verdict(exported(), kept) == (7, "truncated")


def test_a_checkpoint_that_is_younger_than_the_export_is_merely_about_other_entries(
    entries: list[Entry], notary: Notary
) -> None:
    young = notary.sign(99, b"x" * 32, OLD, time="9998-01-01T00:00:00.000000Z")
    assert check(io.BytesIO(exported()), io.BytesIO(young.encode()))[1] is None


def test_without_a_key_it_says_which_one_it_believed(entries: list[Entry], notary: Notary) -> None:
    said, bad = check(None, io.BytesIO(notary.sign(1, bytes(entries[0].hash), OLD).encode()))
    assert bad is None
    assert said[-1].endswith(f"compare it: {verifier.key_text(public(OLD))}")


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        ({"instance": "0" * 36}, "another ledger than the one before"),
        ({"number": 3}, "does not follow checkpoint 1"),
        ({"previous": bytes(32)}, "does not follow checkpoint 1"),
        ({"seq": 3}, "had gone further already, to entry 4"),
        ({"seq": 4, "hash": b"x" * 32}, "or had another entry there"),
        ({"key": public(NEW)}, "its signature is wrong"),
    ],
)
def test_a_checkpoint_that_does_not_follow_the_one_before_is_named(
    entries: list[Entry], notary: Notary, forged: dict[str, Any], words: str
) -> None:
    first = notary.sign(4, bytes(entries[3].hash), OLD)
    second = notary.sign(5, bytes(entries[4].hash), OLD, **forged)
    _, bad = check(None, io.BytesIO((first + second).encode()))
    assert bad is not None
    assert bad.kind == "checkpoint"
    assert words in bad.words


def test_another_key_is_believed_when_the_one_before_signed_it_too(entries: list[Entry], notary: Notary) -> None:
    first = notary.sign(1, bytes(entries[0].hash), OLD)
    handed_over = notary.sign(2, bytes(entries[1].hash), NEW, OLD)
    alone = notary.sign(3, bytes(entries[2].hash), NEW)
    notes = (first + handed_over + alone).encode()
    assert check(None, io.BytesIO(notes), keys=[public(OLD)])[1] is None
    assert check(None, io.BytesIO(notes), keys=[public(NEW)])[1] == Bad(
        1, "checkpoint", "Checkpoint 1: it is signed by another key than the one given."
    )


def test_another_key_is_not_believed_alone(entries: list[Entry], notary: Notary) -> None:
    first = notary.sign(1, bytes(entries[0].hash), OLD)
    usurped = notary.sign(2, bytes(entries[1].hash), NEW, replaces=public(OLD))
    notes = (first + usurped).encode()
    _, bad = check(None, io.BytesIO(notes), keys=[public(OLD)])
    assert bad is not None
    assert "a new key that the old one did not sign" in bad.words
    assert check(None, io.BytesIO(notes), keys=[public(OLD), public(NEW)])[1] is None


def test_a_note_that_a_crash_cut_off_is_passed_over_when_it_stands_whole_below(
    entries: list[Entry], notary: Notary
) -> None:
    first, second = notary.sign(1, bytes(entries[0].hash), OLD), notary.sign(2, bytes(entries[1].hash), OLD)
    said, bad = check(None, io.BytesIO(f"{first}\n{second[:150]}\n{second}\n{second}\n".encode()))
    assert bad is None
    assert said[0].startswith("Checkpoints: 2,")
    for length in range(1, len(second), 7):  # wherever it was cut, in its very first word, too
        _, bad = check(None, io.BytesIO(f"{first}\n{second[:length]}\n{second}\n".encode()))
        assert bad is None, f"cut behind {length}"
    for cut in (f"{first}\n{second[:150]}\n", f"{first[:150]}\n{second}", f"{first}{second}nonsense\n", "nonsense"):
        _, bad = check(None, io.BytesIO(cut.encode()))
        assert bad is not None
        assert "cannot be read" in bad.words


def test_every_flipped_byte_of_a_checkpoint_is_found(entries: list[Entry], notary: Notary) -> None:
    data = notary.sign(1, bytes(entries[0].hash), OLD).encode()
    for place in range(len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 2
        _, bad = check(None, io.BytesIO(bytes(flipped)), keys=[public(OLD)])
        assert bad is not None, f"byte {place}"
