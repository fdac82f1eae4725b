"""The single file that an auditor runs: on another machine, without this program, on exports that somebody may have
touched.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from dashboard.audit import chain, export, guards, verifier
from dashboard.audit.models import Entry
from dashboard.audit.verifier import Unreadable, check
from tests.audit.ledger import tamper, write
from tests.audit.verifying import OLD, Lines, Notary, exported, forged, public, verdict

ENDLESS = b'{"format":"failover-desk-audit-export/1","first":1e999,"last":1,"head":1,"selection":false}\n'


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
