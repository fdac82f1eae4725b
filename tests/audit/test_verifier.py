"""The single file that an auditor runs: on another machine, without this program, on exports and checkpoints that
somebody may have touched.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import connection

from dashboard.audit import chain, export, guards, verifier
from dashboard.audit.models import Entry, Head
from dashboard.audit.verifier import Bad, Checkpoint, Unreadable, check, ed25519_verify, note
from tests.audit.ledger import tamper, write

Lines = list[dict[str, Any]]
ENDLESS = b'{"format":"failover-desk-audit-export/1","first":1e999,"last":1,"head":1,"selection":false}\n'


@pytest.fixture
def entries(db: None) -> list[Entry]:
    return write(8)


def exported(**more: Any) -> bytes:
    return b"".join(export.jsonl(Entry.objects.all(), export.now(), **more))


def forged(data: bytes, change: Callable[[Lines], Lines | None]) -> bytes:
    """The export after `change`, with a last line that fits again, as a careful forger would make it."""
    lines = [json.loads(line) for line in data.splitlines()]
    lines = change(lines) or lines
    written = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines[:-1]]
    end = {**lines[-1], "count": len(written) - 1, "sha256": hashlib.sha256(b"".join(written)).hexdigest()}
    return b"".join(written) + json.dumps(end, separators=(",", ":")).encode() + b"\n"


def verdict(data: bytes, *notes: str, **more: Any) -> tuple[int, str]:
    _, bad = check(io.BytesIO(data), io.BytesIO("".join(notes).encode()) if notes else None, **more)
    assert bad is not None
    return bad.seq, bad.kind


# ── Exports ──────────────────────────────────────────────────────────────────


def test_an_export_as_it_was_made_is_whole(entries: list[Entry]) -> None:
    said, bad = check(io.BytesIO(exported()))
    assert bad is None
    assert said == [
        "All 8 entries, 1 to 8, are what was written, in order.",
        f"Entry 8 has the hash {bytes(entries[-1].hash).hex()}; compare it with one that was kept elsewhere.",
    ]


def test_the_text_of_each_line_is_what_was_hashed(entries: list[Entry]) -> None:
    for line, entry in zip(exported().splitlines()[1:-1], entries, strict=True):
        record = json.loads(line)
        assert record["payload"] == entry.payload
        assert verifier.entry_hash(bytes.fromhex(record["prev_hash"]), entry.seq, record["payload"]) == entry.hash


def test_every_flipped_byte_is_found(entries: list[Entry]) -> None:
    data = exported(first=7)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1
        try:
            _, bad = check(io.BytesIO(bytes(flipped)))
        except Unreadable:
            continue
        assert bad is not None, f"byte {place}: {data[place : place + 1]!r}"


def test_every_cut_is_found(entries: list[Entry]) -> None:
    data = exported(first=8)
    for length in range(len(data) - 1):  # without its last line feed it still says everything
        try:
            _, bad = check(io.BytesIO(data[:length]))
        except Unreadable:
            continue
        assert bad is not None, f"{length} bytes"


def test_an_edited_entry_is_named(entries: list[Entry]) -> None:
    def edit(lines: Lines) -> None:
        lines[3]["payload"] = lines[3]["payload"].replace("no. 3", "no. 9")

    assert verdict(forged(exported(), edit)) == (3, "content")


def test_an_edited_entry_with_a_fitting_hash_breaks_the_link(entries: list[Entry]) -> None:
    def edit(lines: Lines) -> None:
        lines[3]["payload"] = "{}"
        lines[3]["hash"] = verifier.entry_hash(bytes.fromhex(lines[3]["prev_hash"]), 3, "{}").hex()

    assert verdict(forged(exported(), edit)) == (4, "link")


def test_a_removed_entry_is_a_gap(entries: list[Entry]) -> None:
    assert verdict(forged(exported(), lambda lines: [*lines[:4], *lines[5:]])) == (4, "gap")


def test_entries_in_another_order_are_named(entries: list[Entry]) -> None:
    def swap(lines: Lines) -> None:
        lines[4], lines[6] = lines[6], lines[4]

    def swap_and_renumber(lines: Lines) -> None:
        swap(lines)
        lines[4]["seq"], lines[6]["seq"] = 4, 6

    assert verdict(forged(exported(), swap)) == (4, "reorder")
    assert verdict(forged(exported(), swap_and_renumber)) == (4, "reorder")


def test_an_entry_that_stands_there_twice_is_named(entries: list[Entry]) -> None:
    assert verdict(forged(exported(), lambda lines: [*lines[:4], *lines[3:]])) == (3, "reorder")


def test_a_cut_tail_is_named_though_the_last_line_was_made_to_fit(entries: list[Entry]) -> None:
    assert verdict(forged(exported(), lambda lines: [*lines[:6], lines[-1]])) == (6, "truncated")


def test_a_cut_tail_that_the_first_line_hides_is_found_by_a_hash_kept_elsewhere(entries: list[Entry]) -> None:
    def cut(lines: Lines) -> Lines:
        lines[0]["last"] = lines[0]["head"] = 5
        return [*lines[:6], lines[-1]]

    data, kept = forged(exported(), cut), bytes(entries[-1].hash)
    assert check(io.BytesIO(data))[1] is None
    assert verdict(data, head=(0, kept)) == (5, "head")
    with pytest.raises(Unreadable, match="Entry 8, whose hash was given, is not in this file"):
        check(io.BytesIO(data), head=(8, kept))
    assert check(io.BytesIO(data), head=(5, bytes(entries[4].hash)))[1] is None


def test_a_part_begins_where_it_says(entries: list[Entry]) -> None:
    said, bad = check(io.BytesIO(exported(first=3, last=5)))
    assert bad is None
    assert said[0] == "All 3 entries, 3 to 5, are what was written, in order."
    assert verdict(forged(exported(first=3, last=5), lambda lines: [lines[0], *lines[2:]])) == (3, "gap")


def test_of_a_selection_it_says_that_gaps_were_not_checked(entries: list[Entry]) -> None:
    rows, moment = Entry.objects.filter(seq__in=(2, 3, 7)), export.now()
    data = b"".join(export.jsonl(rows, moment, selection='about "\x1b[2JFO"'))
    said, bad = check(io.BytesIO(data))
    assert bad is None
    assert said[:2] == [
        "Each of the 3 entries matches its own hash, which anybody can compute.",
        """They were selected ('about "\\x1b[2JFO"'): what is missing between them was not checked.""",
    ]

    def relink(lines: Lines) -> None:  # entries that are neighbours must still follow one another
        lines[2]["payload"], lines[2]["prev_hash"] = "{}", "11" * 32
        lines[2]["hash"] = verifier.entry_hash(b"\x11" * 32, 3, "{}").hex()

    assert verdict(forged(data, relink)) == (3, "link")


def test_an_export_ends_where_the_ledger_ended_when_it_was_begun(entries: list[Entry]) -> None:
    lines = export.jsonl(Entry.objects.all(), export.now())
    write(3)
    said, bad = check(io.BytesIO(b"".join(lines)))
    assert bad is None
    assert said[0].startswith("All 8 entries, 1 to 8,")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"seq":1,"seq":1,"prev_hash":"","hash":"","payload":""}',
        b'{"seq":true,"prev_hash":"%s","hash":"%s","payload":""}' % (b"0" * 64, b"0" * 64),
        b'{"seq":1,"prev_hash":"xy","hash":"","payload":""}',
        b'{"seq":99999999999999999999,"prev_hash":"%s","hash":"%s","payload":""}' % (b"0" * 64, b"0" * 64),
        b"\xff",
    ],
)
def test_a_line_that_is_no_entry_is_named(entries: list[Entry], line: bytes) -> None:
    lines = exported().splitlines()
    lines[1] = line
    assert verdict(b"\n".join(lines)) == (1, "content")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"seq,who\r\n", b'{"format":"something else"}\n', b"[1]\n", b"\x00" * 99, ENDLESS]
)
def test_what_is_no_export_is_not_checked(data: bytes) -> None:
    with pytest.raises(Unreadable, match="no export"):
        check(io.BytesIO(data))


@pytest.mark.parametrize("owner", ["UPDATE", "DELETE", "tail"])
def test_what_an_owner_of_the_database_changed_is_found_in_an_export(entries: list[Entry], owner: str) -> None:
    statement, found = {
        "UPDATE": ("UPDATE audit_entry SET payload = replace(payload, 'no. 3', 'no. 8') WHERE seq = 3", (3, "content")),
        "DELETE": ("DELETE FROM audit_entry WHERE seq = 4", (4, "gap")),
        "tail": ("DELETE FROM audit_entry WHERE seq > 6", (7, "truncated")),
    }[owner]
    tamper(statement)
    assert verdict(exported()) == found
    report = chain.verify()
    assert report.bad is not None
    assert (report.bad.seq, report.bad.kind) == found


# ── Ed25519 ──────────────────────────────────────────────────────────────────

RFC_8032 = [  # section 7.1, tests 1, 2, 3 and SHA(abc): public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
            "d9bef1177331a704"
        ),
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_the_standard_hold(key: str, message: str, signature: str) -> None:
    assert ed25519_verify(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message))
    assert not ed25519_verify(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message) + b"x")


def test_it_agrees_with_a_well_known_library_on_right_and_wrong_signatures() -> None:
    for number in range(24):
        seed = hashlib.sha256(b"%d" % number).digest()
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public, message = key.public_key().public_bytes_raw(), seed * number
        right = key.sign(message)
        s = int.from_bytes(right[32:], "little")
        wrong = [
            right[:number] + bytes([right[number] ^ 1]) + right[number + 1 :],
            right[: 32 + number] + bytes([right[32 + number] ^ 128]) + right[33 + number :],
            right[:32] + (s + ORDER).to_bytes(32, "little"),  # the same number, written otherwise
            right[:63],
            right + b"\0",
            bytes(64),
        ]
        for signature in (right, *wrong):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
                known = True
            except InvalidSignature:
                known = False
            assert ed25519_verify(public, signature, message) is known is (signature == right)


@pytest.mark.parametrize("key", [b"", bytes(31), b"\xff" * 32, b"\x02" + bytes(31)])
def test_what_is_no_point_is_no_key(key: bytes) -> None:
    assert not ed25519_verify(key, bytes(64), b"")


# ── Checkpoints ──────────────────────────────────────────────────────────────

OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


class Notary:
    """Signs checkpoints as the relay does, or as somebody would who wants to be taken for it."""

    def __init__(self) -> None:
        self.before: Checkpoint | None = None

    def sign(self, at: int, known_as: bytes, *keys: Ed25519PrivateKey, **forged: Any) -> str:
        checkpoint = Checkpoint(
            instance=str(Head.objects.get().instance),
            number=self.before.number + 1 if self.before else 1,
            seq=at,
            hash=known_as,
            time="2020-01-01T00:00:00.000000Z",
            previous=self.before.digest if self.before else bytes(32),
            key=public(keys[0]),
            replaces=public(keys[1]) if len(keys) > 1 else b"",
        )._replace(**forged)
        self.before = checkpoint
        return note(checkpoint, [(public(key), key.sign(checkpoint.text.encode())) for key in keys])


@pytest.fixture
def notary() -> Notary:
    return Notary()


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


# ── The file by itself ───────────────────────────────────────────────────────

FILE = Path(verifier.__file__)


def run(*arguments: str | Path, data: bytes = b"") -> tuple[int, str]:
    """As an auditor does: a copy of the one file, no packages, no environment."""
    command = [sys.executable, "-I", "-S", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False, env={"LC_ALL": "C"})
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode()


def test_it_needs_nothing_but_the_standard_library_of_an_old_python() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported <= sys.stdlib_module_names


def test_a_copy_elsewhere_verifies_and_its_exit_code_tells(
    entries: list[Entry], notary: Notary, tmp_path: Path
) -> None:
    copy, file, notes = tmp_path / "verify.py", tmp_path / "export.jsonl", tmp_path / "checkpoints"
    copy.write_bytes(FILE.read_bytes())
    file.write_bytes(exported())
    notes.write_text(notary.sign(8, bytes(entries[7].hash), OLD))
    digest = bytes(entries[7].hash).hex()
    key = verifier.key_text(public(OLD))
    code, said = run(copy, file, "--checkpoints", notes, "--key", key, "--head", f"8:{digest}")
    assert (code, said.splitlines()[0]) == (0, "All 8 entries, 1 to 8, are what was written, in order.")
    assert run(copy, "-", data=exported())[0] == 0
    code, said = run(copy, "-", data=exported().replace(b"no. 3", b"no. 4"))
    assert code == 1
    assert said == "Bad entry 3 (content): Entry 3 is not what was written: its text does not match its hash.\n"
    assert run(copy, tmp_path / "absent")[0] == 2
    assert run(copy, "-", data=b"nothing") == (
        2,
        "Not checked: This is no export of an audit trail: its first line does not say so.\n",
    )
    for wrong in ((), ("--key", "x", file), ("--head", "12", file), ("--head", digest, "--checkpoints", notes)):
        assert run(copy, *wrong)[0] == 2
    code, said = run(copy, "--help")
    assert code == 0
    assert "Exit code 0" in said


def test_it_reads_line_by_line(tmp_path: Path) -> None:
    """Of 20,000 entries it keeps none: what it holds at most does not grow with the file."""
    import tracemalloc

    def lines(count: int) -> bytes:
        previous, made = bytes(32), io.BytesIO()
        about = {"format": verifier.EXPORT, "first": 1, "last": count, "head": count, "selection": False}
        made.write(json.dumps(about).encode() + b"\n")
        for seq in range(1, count + 1):
            digest = verifier.entry_hash(previous, seq, "{}")
            record = {"seq": seq, "prev_hash": previous.hex(), "hash": digest.hex(), "payload": "{}"}
            made.write(json.dumps(record).encode() + b"\n")
            previous = digest
        whole = hashlib.sha256(made.getvalue()).hexdigest()
        made.write(json.dumps({"end": verifier.EXPORT, "count": count, "sha256": whole}).encode() + b"\n")
        return made.getvalue()

    peaks = []
    for count in (200, 20_000):
        (tmp_path / "export").write_bytes(lines(count))
        with (tmp_path / "export").open("rb") as file:
            tracemalloc.start()
            assert check(file)[1] is None
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 100_000


def test_the_guards_stand_again_after_these_tests(entries: list[Entry]) -> None:
    tamper("DELETE FROM audit_entry WHERE seq > 6")
    assert guards.missing(connection) == []
