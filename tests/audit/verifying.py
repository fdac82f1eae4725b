"""Exports, what a careful forger makes of them, and what the single file says."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dashboard.audit import export
from dashboard.audit.models import Entry, Head
from dashboard.audit.verifier import Checkpoint, check, note

Lines = list[dict[str, Any]]


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


OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
