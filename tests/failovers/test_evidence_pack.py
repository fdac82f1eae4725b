"""The pack proves itself elsewhere: with the verifier in it, without Django, without the desk. One byte is enough."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction

from dashboard.accounts.people import actor_of
from dashboard.audit import chain, verifier
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Checkpoint, Entry, Head
from dashboard.failovers import evidence_pack
from dashboard.failovers.lifecycle import Refused
from tests.audit.ledger import tamper
from tests.failovers.desk import pass_time
from tests.web import scene

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
EVIL = "/dr/\u202e<script>alert(1)</script>&\"'/finance/"


def others(count: int) -> None:
    """What somebody else did meanwhile."""
    for number in range(count):
        with transaction.atomic():
            chain.append("signin.failed", actor=SYSTEM, object="person:z.zimmer", words=f"Private matter {number}")


@pytest.fixture
def ended(desk):
    """A failover that succeeded while others were at work, too."""
    asked = desk.request()
    others(3)
    desk.approve(asked)
    failover = desk.step(asked.failovers.get())
    others(2)
    desk.see_it_through(failover)
    others(2)
    return asked


def checkpoint() -> verifier.Checkpoint:
    """Signed on the head of now, as the relay does it."""
    head, at = Head.objects.get(), datetime.now(UTC)
    made = verifier.Checkpoint(str(head.instance), 1, head.seq, bytes(head.hash), chain.stamp(at), bytes(32), PUBLIC)
    note = verifier.note(made, [(PUBLIC, KEY.sign(made.text.encode()))])
    Checkpoint.objects.create(number=1, seq=head.seq, hash=bytes(head.hash), at=at, note=note)
    return made


def verify_elsewhere(data: bytes, folder, *more: str) -> subprocess.CompletedProcess[str]:
    """With nothing but the ZIP, in another folder, by an isolated Python."""
    (folder / "evidence.zip").write_bytes(data)
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        (folder / "verifier.py").write_bytes(zipped.read("verifier.py"))
    command = [sys.executable, "-I", "-S", "verifier.py", "evidence.zip", *more]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=60, env={})


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        assert zipped.testzip() is None
        return {name: zipped.read(name) for name in zipped.namelist()}


def test_a_copy_elsewhere_proves_itself(ended, tmp_path):
    checkpoint()
    done = verify_elsewhere(evidence_pack.make(ended).data, tmp_path, "--key", verifier.key_text(PUBLIC))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All 7 files of the evidence pack of {ended.number} fit its manifest." in done.stdout
    assert "are what was written, in order." in done.stdout
    assert "Checkpoints about these entries: 1, and they agree" in done.stdout


def test_another_key_than_the_one_that_is_trusted_is_not_believed(ended, tmp_path):
    checkpoint()
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    done = verify_elsewhere(evidence_pack.make(ended).data, tmp_path, "--key", verifier.key_text(other))
    assert done.returncode == 1
    assert "it is signed by another key than the one given" in done.stdout


def test_without_a_checkpoint_it_says_so_and_still_verifies(ended, tmp_path):
    made = evidence_pack.make(ended)
    assert not made.covered
    assert "checkpoint.txt" not in contents(made.data)
    assert verify_elsewhere(made.data, tmp_path).returncode == 0


def test_whoever_gives_a_key_is_not_content_with_a_pack_that_nobody_signed(ended, tmp_path):
    checkpoint()
    files = contents(forge(evidence_pack.make(ended).data, lambda text: text.replace("k.osei", "m.mole")))
    files.pop("manifest.json")
    files.pop("checkpoint.txt")
    unsigned = verifier.packed(ended.number, files, datetime(2026, 3, 14, tzinfo=UTC))
    done = verify_elsewhere(unsigned, tmp_path, "--key", verifier.key_text(PUBLIC))
    assert (done.returncode, done.stderr) == (2, "")
    assert "there is no checkpoint here" in done.stdout


def test_forged_entries_do_not_hide_in_a_selection_that_ends_with_the_signed_one(ended):
    checkpoint()
    data = evidence_pack.make(ended).data
    files = contents(data)
    files.pop("manifest.json")
    last = files["entries.jsonl"].splitlines()[-2]
    about, *entries = contents(forge(data, lambda text: text.replace("k.osei", "m.mole")))["entries.jsonl"].splitlines()
    chosen = [json.dumps(json.loads(about) | {"selection": True}).encode(), *entries[:3], last]
    body = b"".join(line + b"\n" for line in chosen)
    end = {"end": verifier.EXPORT, "count": 4, "sha256": hashlib.sha256(body).hexdigest()}
    files["entries.jsonl"] = body + json.dumps(end).encode() + b"\n"
    _said, bad = verifier.check_pack(verifier.packed("FO-1001", files, datetime(2026, 3, 14, tzinfo=UTC)))
    assert bad == verifier.Bad(0, "pack", "entries.jsonl is a selection, which no evidence pack holds.")


@pytest.mark.parametrize("own", [b"", b"\xff", b"nonsense\n", "twice"])
@pytest.mark.parametrize("given", [True, False])
def test_a_checkpoint_that_is_none_is_named(ended, tmp_path, own, given):
    checkpoint()
    note = Checkpoint.objects.get().note.encode()
    (tmp_path / "checkpoints").write_bytes(note)
    files = contents(evidence_pack.make(ended).data)
    files.pop("manifest.json")
    files["checkpoint.txt"] = note + b"\n" + note if own == "twice" else own
    data = verifier.packed("FO-1001", files, datetime(2026, 3, 14, tzinfo=UTC))
    done = verify_elsewhere(data, tmp_path, *(["--checkpoints", "checkpoints"] if given else []))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "Bad (checkpoint): checkpoint.txt is not one signed checkpoint.\n"


def test_a_pack_of_ever_more_files_is_none(ended):
    files = {"entries.jsonl": b"", **{f"{number}": b"" for number in range(200)}}
    _said, bad = verifier.check_pack(verifier.packed("FO-1001", files, datetime(2026, 3, 14, tzinfo=UTC)))
    assert bad is not None
    assert bad.words.startswith("This is no evidence pack")


def test_a_name_in_a_pack_writes_no_line_of_its_own(ended, tmp_path):
    files = contents(evidence_pack.make(ended).data)
    files.pop("manifest.json")
    made = verifier.packed("FO-1\nCheckpoints: 9\x1b[8m", files, datetime(2026, 3, 14, tzinfo=UTC))
    done = verify_elsewhere(made, tmp_path)
    assert "FO-1\\nCheckpoints: 9\\x1b[8m fit its manifest." in done.stdout
    assert "\x1b" not in done.stdout


def test_one_flipped_byte_anywhere_fails(ended):
    """Of every file some bytes, and of the ZIP around them every single one."""
    checkpoint()
    data = evidence_pack.make(ended).data
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        places = [(info.header_offset + 30 + len(info.filename), info.file_size) for info in zipped.infolist()]
    inside = {start + offset for start, size in places for offset in (0, size // 3, size // 2, size - 1)}
    around = set(range(len(data))) - {byte for start, size in places for byte in range(start, start + size)}
    assert len(around) < 1000
    whole = bytearray(data)
    for place in sorted(inside | around):
        whole[place] ^= 1
        _said, bad = verifier.check_pack(bytes(whole))
        assert bad is not None, f"byte {place} was flipped and nothing noticed"
        whole[place] ^= 1
    assert verifier.check_pack(data)[1] is None


@pytest.mark.parametrize("name", list(evidence_pack.CONTENTS))
def test_the_file_with_the_flipped_byte_is_named(ended, tmp_path, name):
    checkpoint()
    data = evidence_pack.make(ended).data
    place = data.index(contents(data)[name]) + len(contents(data)[name]) // 2
    done = verify_elsewhere(data, tmp_path)
    (tmp_path / "evidence.zip").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    done = subprocess.run(done.args, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith("Bad (pack): ")
    assert name in done.stdout


@pytest.mark.parametrize("cut", [0, 3, 5000, -1])
def test_a_piece_of_a_pack_is_no_pack(ended, cut):
    data = evidence_pack.make(ended).data
    assert verifier.check_pack(data[:cut])[1] is not None
    assert verifier.check_pack(data + b"x")[1] is not None


def forge(data: bytes, change) -> bytes:
    """As somebody does who knows how a pack is made: everything that can be computed anew fits again."""
    files = contents(data)
    of = json.loads(files.pop("manifest.json"))["of"]
    first, *rest = files["entries.jsonl"].splitlines()
    entries, previous = [], ""
    for row in map(json.loads, rest[:-1]):
        changed = row | ({"payload": change(row["payload"])} if "payload" in row else {})
        changed["prev_hash"] = previous or row["prev_hash"]
        digest = bytes.fromhex(row["digest"]) if "digest" in row else verifier.text_digest(changed["payload"])
        previous = verifier.link_hash(bytes.fromhex(changed["prev_hash"]), row["seq"], digest).hex()
        entries.append(json.dumps(changed | {"hash": previous}, separators=(",", ":")).encode())
    body = b"".join(each + b"\n" for each in (first, *entries))
    end = json.loads(rest[-1]) | {"sha256": hashlib.sha256(body).hexdigest()}
    files["entries.jsonl"] = body + json.dumps(end, separators=(",", ":")).encode() + b"\n"
    return verifier.packed(of, files, datetime(2026, 3, 14, tzinfo=UTC))


def test_a_forger_who_computes_every_hash_anew_fails_at_the_signed_checkpoint(ended):
    checkpoint()
    data = evidence_pack.make(ended).data
    assert verifier.check_pack(forge(data, lambda text: text))[1] is None  # nothing changed: it is a fair copy
    _said, bad = verifier.check_pack(forge(data, lambda text: text.replace("k.osei", "m.mole")))
    assert bad is not None
    assert bad.kind == "checkpoint"


def test_a_checkpoint_of_elsewhere_proves_nothing(ended):
    checkpoint()
    files = contents(evidence_pack.make(ended).data)
    others(1)
    head = Head.objects.get()
    other = verifier.Checkpoint(
        str(head.instance), 1, head.seq, bytes(head.hash), chain.stamp(datetime.now(UTC)), bytes(32), PUBLIC
    )
    files["checkpoint.txt"] = verifier.note(other, [(PUBLIC, KEY.sign(other.text.encode()))]).encode()
    files.pop("manifest.json")
    _said, bad = verifier.check_pack(verifier.packed("FO-1001", files, datetime(2026, 3, 14, tzinfo=UTC)))
    assert bad is not None
    assert bad.kind in ("checkpoint", "truncated")


def test_what_others_did_meanwhile_is_followed_and_not_told(ended):
    made = checkpoint()
    files = contents(evidence_pack.make(ended).data)
    text = b"".join(files.values())
    assert b"Private matter" not in text
    assert b"zimmer" not in text
    rows = [json.loads(row) for row in files["entries.jsonl"].splitlines()][1:-1]
    first = Entry.objects.filter(object=ended.number).order_by("seq")[0].seq
    assert [row["seq"] for row in rows] == list(range(first, made.seq + 1))
    assert sum("digest" in row for row in rows) == 7
    assert all(set(row) == {"seq", "prev_hash", "hash", "digest"} for row in rows if "digest" in row)


def test_the_same_record_gives_the_same_bytes(ended, cast):
    checkpoint()
    first = evidence_pack.hand_out(ended, actor=actor_of(cast.okafor))
    again = evidence_pack.hand_out(ended, actor=actor_of(cast.okafor))
    assert first.data == again.data
    told = [entry.record["detail"] for entry in Entry.objects.filter(tag="evidence.exported")]
    assert [detail["sha256"] for detail in told] == [hashlib.sha256(first.data).hexdigest()] * 2


def test_a_pack_is_made_only_of_what_the_ledger_still_proves(ended):
    seq = Entry.objects.filter(object="person:z.zimmer").order_by("seq")[0].seq
    tamper("UPDATE audit_entry SET hash = %s WHERE seq = %s", [bytes(32), seq])
    with pytest.raises(Refused, match="damaged"):
        evidence_pack.make(ended)


def test_what_a_hostile_cluster_or_person_wrote_is_text_in_the_report(desk):
    desk.sim.error_from_last_job = EVIL
    desk.read()
    asked = desk.request(reason="Because of <script>alert(2)</script> and more")
    files = contents(evidence_pack.make(asked).data)
    page = files["report.html"].decode()
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\\u202e&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;/finance/" in page
    assert "Because of &lt;script&gt;alert(2)&lt;/script&gt; and more" in page
    assert files["report.pdf"].startswith(b"%PDF-")


def test_the_report_needs_nothing_from_elsewhere(ended):
    page = contents(evidence_pack.make(ended).data)["report.html"].decode()
    for sign in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert sign not in page


def test_a_text_longer_than_a_page_is_printed_in_full(desk):
    from dashboard.failovers.evidence_pdf import pdf
    from dashboard.failovers.evidence_report import Pairs, Report

    rows = [("Path", "x" * 20_000), ("y" * 2_000, "words " * 2_000)]
    printed = pdf(Report("Evidence", "dr:/x", [], [Pairs("Scope", rows)]), at=datetime(2026, 3, 14, tzinfo=UTC))
    assert printed.count(b"/Type /Page\n") > 5


def test_a_failover_in_doubt_that_a_person_closed_can_be_packed(desk, tmp_path):
    failover = scene.not_applied(desk)
    pass_time(1)
    assert verify_elsewhere(evidence_pack.make(failover.request).data, tmp_path).returncode == 0
