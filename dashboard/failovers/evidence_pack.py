"""The evidence of one request as one file that proves itself on any machine: the report, the entries of the ledger
behind it, the signed checkpoint that covers them, and the verifier.

The entries between those of the request belong to others: of each the pack holds its hash and the digest of its text,
which is enough to follow the chain from the first entry to the checkpoint, and tells nothing of what it says. The same
record gives the same bytes; and what is handed out has been checked with the very verifier that it carries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.template.loader import render_to_string

from dashboard.audit import chain, export, verifier
from dashboard.audit.chain import Actor
from dashboard.audit.models import Checkpoint, Entry, Head
from dashboard.failovers import evidence
from dashboard.failovers.evidence import Evidence
from dashboard.failovers.evidence_pdf import pdf
from dashboard.failovers.evidence_report import report
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Request

# In the order in which somebody who opens the pack reads them.
CONTENTS = {
    "README.txt": "How to check the pack, in three commands",
    "report.html": "The report, for reading and printing",
    "report.pdf": "The same report as a PDF",
    "entries.jsonl": "The entries of the audit trail behind it, exactly as they were hashed",
    "checkpoint.txt": "The signed checkpoint that covers them",
    "verifier.py": "The verifier: one file, any Python, no desk",
    "manifest.json": "The SHA-256 of each file",
}


@dataclass(frozen=True, slots=True)
class Pack:
    """`data` is the ZIP; `covered` says whether a signed checkpoint is in it."""

    name: str
    data: bytes
    found: Evidence
    covered: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def hand_out(asked: Request, *, actor: Actor) -> Pack:
    """Make it, and write into the ledger who has it, with its SHA-256, before anybody does. Raises Refused when the
    entries are no longer what was written."""
    made = make(asked)
    with transaction.atomic():
        chain.append(
            "evidence.exported",
            actor=actor,
            object=asked.number,
            words=f"Made the evidence pack of {asked.number}",
            detail={
                "sha256": made.sha256,
                "bytes": len(made.data),
                "entries": [made.found.asked.seq, made.found.last.seq],
                "checkpoint": made.covered,
            },
        )
    return made


def make(asked: Request) -> Pack:
    found = evidence.collect(asked)
    checkpoint = covering(found)
    end = checkpoint.seq if checkpoint else found.last.seq
    files = {
        "README.txt": _readme(found, covered=checkpoint is not None).encode(),
        **_reports(found, _signed(checkpoint.note) if checkpoint else NOT_YET),
        "entries.jsonl": b"".join(_entries(found, end)),
        **({"checkpoint.txt": checkpoint.note.encode()} if checkpoint else {}),
        "verifier.py": Path(verifier.__file__).read_bytes(),
    }
    data = verifier.packed(found.number, files, found.last.at)
    _said, bad = verifier.check_pack(data)
    if bad is not None:
        raise Refused(f"The audit trail is damaged, so there is no evidence to pack. {bad.words}")
    return Pack(f"{found.number}-evidence.zip", data, found, checkpoint is not None)


def covering(found: Evidence) -> Checkpoint | None:
    """The first signed checkpoint at or after the last entry."""
    return Checkpoint.objects.filter(seq__gte=found.last.seq).order_by("number").first()


NOT_YET = "None yet: the next one covers it. Make the pack again in a minute, or compare the hash of the last entry."


def _signed(note: str) -> str:
    said, _signatures = verifier.parse_note(note)
    return f"Number {said.number} of {said.time}, about entry {said.seq}, by the key {verifier.key_text(said.key)}"


def _reports(found: Evidence, checkpoint: str) -> dict[str, bytes]:
    said = report(found, instance=str(Head.objects.values_list("instance", flat=True).get()), checkpoint=checkpoint)
    page = render_to_string("evidence/report.html", {"report": said})
    return {"report.html": page.encode(), "report.pdf": pdf(said, at=found.last.at)}


def _entries(found: Evidence, end: int) -> Sequence[bytes]:
    """From the first entry of the request to the last, or on to the one of the checkpoint."""
    moment = export.Moment(str(Head.objects.values_list("instance", flat=True).get()), chain.stamp(found.last.at), end)
    return list(export.jsonl(Entry.objects.all(), moment, first=found.asked.seq, shown=found.sequences))


def _readme(found: Evidence, *, covered: bool) -> str:
    name = f"{found.number}-evidence.zip"
    signed = (
        "checkpoint.txt is signed by the desk's key. The command prints that key: compare it with the one that\n"
        "you were given when the desk was set up, or name yours with --key ed25519:...\n"
        if covered
        else "No signed checkpoint covers these entries yet. Compare the hash of the last entry, which the\n"
        "command prints, with a checkpoint that the desk wrote later.\n"
    )
    return (
        f"Evidence of {found.number}, made by Failover Desk\n\n"
        "To check it, on any machine with Python 3.9 or newer, without the desk and without a network:\n\n"
        f"  unzip {name} verifier.py\n"
        "  sha256sum verifier.py\n"
        f"  python3 -I -S verifier.py {name}\n\n"
        "The second command is for you: compare what it prints with the verifier that you already have, or read\n"
        "it; it is one file, and says at its top how everything is hashed.\n\n"
        f"{signed}\n"
        "One changed byte anywhere in the ZIP, and the third command names the file or the entry and ends with 1.\n"
        "Somebody who writes manifest.json anew can still put another report into a pack: the entries are what is\n"
        "signed. The audit trail has the SHA-256 of each pack that was made; the command prints that of yours.\n\n"
        "entries.jsonl holds the entries about this request in full. Of those in between, which are about other\n"
        "things, it holds the number, the hashes and the digest of the text: enough to follow the chain, not to\n"
        "read them.\n"
    )
