"""Checks an audit trail that was exported from Failover Desk, and the signed checkpoints of it.

One file, no packages, no network: any Python from 3.9 on, on any machine. Nothing in here trusts the desk. Read it, or
write your own; this is all that there is to know:

An entry   hash = SHA-256("failover-desk-audit/2" 0x00 ‖ hash of the entry before, 32 bytes ‖ number of the entry,
           8 bytes, big-endian ‖ SHA-256 of its text, UTF-8). Before entry 1 stand 32 zero bytes. Whoever changes a
           text, a number or the order must change every hash that follows.
An export  JSON lines: first what the file is; then each entry as {"seq", "prev_hash", "hash", "payload"}, hashes in
           hexadecimal, the payload being exactly the text that was hashed; last the number of entries and the
           SHA-256 of every byte above that line. An entry that is withheld has the SHA-256 of its text as "digest"
           instead of the text: it can be followed, and not read.
A checkpoint (a format of our own) is a text of lines and, below an empty line, signatures by Ed25519 (RFC 8032) of
           that text. It says which hash an entry had at a time, and carries the SHA-256 of the checkpoint before.

An evidence pack is a ZIP without compression, each byte of which is given by its files: manifest.json, the last, holds
           the SHA-256 of the others; entries.jsonl is an export from the first entry of a request to the last, or on
           to that of checkpoint.txt.

What that proves: entries that belong to a hash which was kept elsewhere (a checkpoint, a note on paper) are the ones
that the desk wrote, all of them, in that order. Whoever can write to the database could make up another trail with
fitting hashes, but not one that leads to that hash.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

GENESIS = bytes(32)
EXPORT = "failover-desk-audit-export/1"
CHECKPOINT = "failover-desk-checkpoint/1"
PACK = "failover-desk-evidence/1"
_DOMAIN = b"failover-desk-audit/2\x00"
_LONGEST_LINE = 64 * 1024 * 1024
_FAR = 1000  # how far an entry may have been moved to be told from a changed one


class Unreadable(Exception):
    """It could not be checked at all. The message is a sentence for a person."""


class Bad(NamedTuple):
    """The first thing that is not as it was written.

    content: a text or number does not match its hash. link: an entry does not follow the one before it. gap: one is
    not there, though a later one is. reorder: one stands in another's place. truncated: the tail is not there. head:
    the end is another one than it should be. checkpoint: a signed note says otherwise, or is not sound itself.
    columns: in the database, the searchable copies of an entry differ from its text. pack: a file of an evidence pack
    is not the one that was packed.
    """

    seq: int
    kind: str
    words: str


class Written(NamedTuple):
    """An entry as it was stored or exported. `digest` is given when its text is withheld."""

    seq: int
    payload: str
    prev_hash: bytes
    hash: bytes
    digest: bytes = b""

    def fits(self, seq: int) -> bool:
        """Whether its hash is that of its text as entry `seq`."""
        return link_hash(self.prev_hash, seq, self.digest or text_digest(self.payload)) == self.hash


def entry_hash(previous: bytes, seq: int, payload: str) -> bytes:
    """The hash of an entry: the one place that defines it."""
    return link_hash(previous, seq, text_digest(payload))


def link_hash(previous: bytes, seq: int, digest: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + previous + seq.to_bytes(8, "big") + digest).digest()


def text_digest(payload: str) -> bytes:
    # A lone surrogate stands in no entry of ours; a damaged one must be named, not stumbled over.
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).digest()


class Walk:
    """Takes entries in order and names the first bad one. Keeps one hash, whatever the number of entries.

    `previous` is the hash before the first entry, None when it is not known. Of a `selection`, entries may be missing
    between; each is then checked against its own hash only.
    """

    def __init__(self, start: int = 1, previous: bytes | None = GENESIS, *, selection: bool = False) -> None:
        self.last, self.hash, self.checked, self.withheld = start - 1, previous, 0, 0
        self._selection = selection

    def take(self, entry: Written) -> Bad | None:
        seq = entry.seq
        if seq <= self.last:
            return Bad(seq, "reorder", f"Entry {seq} stands behind entry {self.last}.")
        if not self._selection and seq != self.last + 1:
            missing = self.last + 1
            return Bad(missing, "gap", f"Entry {missing} is missing; the next one that exists is {seq}.")
        if not entry.fits(seq):
            return _named(entry)
        follows = self.hash is not None and (seq == self.last + 1)
        if follows and entry.prev_hash != self.hash:
            return Bad(seq, "link", f"Entry {seq} does not follow entry {seq - 1}: one of the two was written anew.")
        self.last, self.hash = seq, entry.hash
        self.checked += 1
        self.withheld += bool(entry.digest)
        return None


def _named(entry: Written) -> Bad:
    for seq in range(max(1, entry.seq - _FAR), entry.seq + _FAR):
        if entry.fits(seq):
            return Bad(entry.seq, "reorder", f"In the place of entry {entry.seq} stands what was written as {seq}.")
    return Bad(entry.seq, "content", f"Entry {entry.seq} is not what was written: its text does not match its hash.")


# ── An export ────────────────────────────────────────────────────────────────


class Export:
    """A JSON lines export, read once from front to back. `about` is its first line: which entries it holds, and how
    many the ledger had when it was made.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        line = self._line()
        self._sha = hashlib.sha256(line)
        try:
            self.about = _strict(line)
            numbers = [self.about[name] for name in ("first", "last", "head")]
            self.first, self.last, self.head = numbers
            self.selection = self.about["selection"] is True
            sound = self.about["format"] == EXPORT and all(type(each) is int and 0 <= each < 2**63 for each in numbers)
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise Unreadable("This is no export of an audit trail: its first line does not say so.")

    def entries(self) -> Iterator[Written | Bad]:
        """The entries; at the end, or at a line that cannot be read, what is wrong, if something is."""
        count, last = 0, self.first - 1
        while line := self._line():
            try:
                found = _strict(line)
                if "end" in found:
                    return (yield from self._end(found, count, last))
                entry = _written(found)
            except (ValueError, KeyError, TypeError, RecursionError):
                yield Bad(last + 1, "content", f"What stands behind entry {last} is not an entry: it cannot be read.")
                return None
            self._sha.update(line)
            count, last = count + 1, entry.seq
            yield entry
        yield Bad(last + 1, "truncated", f"The file ends at entry {last}, without the line that should end it.")

    def appears_later(self, seq: int) -> bool:
        """Reads the rest to tell an entry that was moved from one that is missing."""
        return any(isinstance(entry, Written) and entry.seq == seq for entry in self.entries())

    def _end(self, found: dict[str, Any], count: int, last: int) -> Iterator[Bad]:
        if self._line():
            yield Bad(last + 1, "content", "Something stands behind the line that should end the file.")
        elif found != {"end": EXPORT, "count": found.get("count"), "sha256": found.get("sha256")}:
            yield Bad(last + 1, "content", "The line that ends the file is not one that the desk writes.")
        elif found["count"] != count:
            yield Bad(last + 1, "truncated", f"The file holds {count} entries; it was made with {found['count']!a}.")
        elif not self.selection and last != self.last:
            yield Bad(last + 1, "truncated", f"The file ends at entry {last}; it was made up to entry {self.last}.")
        elif found["sha256"] != self._sha.hexdigest():
            yield Bad(last, "content", "The file was changed: its bytes do not match the line that ends it.")

    def _line(self) -> bytes:
        line = self._file.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise Unreadable("The file holds a line that is longer than any that the desk writes.")
        return line


def _strict(line: bytes) -> dict[str, Any]:
    found = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise TypeError("line")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A key stands there twice.")
    return found


def _written(found: dict[str, Any]) -> Written:
    seq, withheld = found["seq"], "digest" in found
    text = found["digest" if withheld else "payload"]
    if set(found) != {"seq", "prev_hash", "hash", "digest" if withheld else "payload"} or not isinstance(text, str):
        raise ValueError("entry")
    if type(seq) is not int or not 0 < seq < 2**63:
        raise ValueError("seq")
    hashes = _digest(found["prev_hash"]), _digest(found["hash"])
    return Written(seq, "", *hashes, _digest(text)) if withheld else Written(seq, text, *hashes)


def _digest(text: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("hash")
    return bytes.fromhex(text)


# ── Checkpoints ──────────────────────────────────────────────────────────────


class Checkpoint(NamedTuple):
    """At `time`, entry `seq` of the ledger `instance` was the last one and had this hash.

    `previous` is the SHA-256 of the text of the checkpoint before (zeros before number 1). `key` is the public key
    that signs it; `replaces` is the one before, in the first checkpoint of a new key.
    """

    instance: str
    number: int
    seq: int
    hash: bytes
    time: str
    previous: bytes
    key: bytes
    replaces: bytes = b""

    @property
    def text(self) -> str:
        """What is signed."""
        lines = [f"{CHECKPOINT} {self.instance}", f"number {self.number}", f"entry {self.seq} {self.hash.hex()}"]
        lines += [f"time {self.time}", f"previous {self.previous.hex()}", f"key {key_text(self.key)}"]
        lines += [f"replaces {key_text(self.replaces)}"] if self.replaces else []
        return "".join(line + "\n" for line in lines)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


_TEXT = re.compile(
    re.escape(CHECKPOINT) + r" (?P<instance>[0-9a-f-]{36})\n"
    r"number (?P<number>[1-9][0-9]{0,18})\n"
    r"entry (?P<seq>0|[1-9][0-9]{0,18}) (?P<hash>[0-9a-f]{64})\n"
    r"time (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)\n"
    r"previous (?P<previous>[0-9a-f]{64})\n"
    r"key ed25519:(?P<key>[A-Za-z0-9+/]{43}=)\n"
    r"(?:replaces ed25519:(?P<replaces>[A-Za-z0-9+/]{43}=)\n)?",
    re.ASCII,
)
_SIGNATURE = re.compile("— ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n")


def key_text(key: bytes) -> str:
    return "ed25519:" + base64.b64encode(key).decode()


def key_id(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def note(checkpoint: Checkpoint, signatures: Iterable[tuple[bytes, bytes]]) -> str:
    """The checkpoint with its signatures, each a public key and 64 bytes: what is handed out."""
    lines = (f"— {key_id(key)} {base64.b64encode(signature).decode()}\n" for key, signature in signatures)
    return checkpoint.text + "\n" + "".join(lines)


def parse_note(text: str) -> tuple[Checkpoint, dict[str, bytes]]:
    """A checkpoint and its signatures by the id of their key. Raises ValueError for anything that is not one."""
    body, _, rest = text.partition("\n\n")
    match, lines = _TEXT.fullmatch(body + "\n"), rest.splitlines(keepends=True)
    signed = [_SIGNATURE.fullmatch(line) for line in lines]
    if match is None or not signed or None in signed:
        raise ValueError("This is no checkpoint.")
    part = match.groupdict()
    checkpoint = Checkpoint(
        instance=part["instance"],
        number=int(part["number"]),
        seq=int(part["seq"]),
        hash=bytes.fromhex(part["hash"]),
        time=part["time"],
        previous=bytes.fromhex(part["previous"]),
        key=_bytes(part["key"]),
        replaces=_bytes(part["replaces"] or ""),
    )
    return checkpoint, {each[1]: _bytes(each[2]) for each in signed if each}


def _bytes(text: str) -> bytes:
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found).decode() != text:  # the last character has bits that say nothing
        raise ValueError("base64")
    return found


class Checkpoints:
    """A file of checkpoints in order, each signed and following the one before. Iterating checks and yields them.

    `keys` are public keys that the reader trusts; without any, the key of the first checkpoint is believed, and
    `believed` says so.
    """

    def __init__(self, file: BinaryIO, keys: Iterable[bytes] = ()) -> None:
        self._file, self._keys = file, set(keys)
        self.believed: bytes | None = None
        self.count = 0

    def __iter__(self) -> Iterator[Checkpoint | Bad]:
        before, before_text, torn = None, "", ""
        for text in self._notes():
            try:
                checkpoint, signatures = parse_note(text)
            except ValueError:
                if torn:
                    break
                torn = text.rstrip("\n")
                continue
            if not text.startswith(torn):
                break
            torn = ""  # a crash cut it off while it was being written; it stands whole below
            if text == before_text:
                continue  # whoever delivers at least once may deliver twice
            if words := self._fault(checkpoint, signatures, before):
                yield Bad(checkpoint.seq, "checkpoint", f"Checkpoint {checkpoint.number}: {words}")
                return
            before, before_text = checkpoint, text
            self.count += 1
            yield checkpoint
        if torn:
            number = before.number + 1 if before else 1
            yield Bad(before.seq if before else 0, "checkpoint", f"Checkpoint {number} cannot be read.")

    def _notes(self) -> Iterator[str]:
        """Pieces of the file, each from a first line up to the next first line."""
        lines: list[str] = []
        size = 0
        for raw in iter(lambda: self._file.readline(4096), b""):
            line = raw.decode("utf-8", "replace")
            begins = line.startswith(CHECKPOINT) or (line.strip() and CHECKPOINT.startswith(line.strip()))  # or cut off
            if begins and lines:
                yield "".join(lines).rstrip("\n") + "\n"
                lines, size = [], 0
            lines.append(line)
            size += len(line)
            if size > 65536:
                raise Unreadable("The file of checkpoints holds something that is none.")
        if "".join(lines).strip():
            yield "".join(lines).rstrip("\n") + "\n"

    def _fault(self, checkpoint: Checkpoint, signatures: dict[str, bytes], before: Checkpoint | None) -> str:
        if before is not None:
            if checkpoint.instance != before.instance:
                return "it is about another ledger than the one before."
            if checkpoint.number != before.number + 1 or checkpoint.previous != before.digest:
                return f"it does not follow checkpoint {before.number}."
            if checkpoint.seq < before.seq or (checkpoint.seq == before.seq and checkpoint.hash != before.hash):
                return f"the ledger had gone further already, to entry {before.seq}, or had another entry there."
        return self._doubt(checkpoint, signatures, before)

    def _doubt(self, checkpoint: Checkpoint, signatures: dict[str, bytes], before: Checkpoint | None) -> str:
        if not self._keys:
            self.believed = checkpoint.key
            self._keys.add(checkpoint.key)
        if not _signed(checkpoint, signatures, checkpoint.key):
            return "its signature is wrong."
        known = checkpoint.key in self._keys
        if before is not None and checkpoint.key != before.key:
            handed_over = checkpoint.replaces == before.key and _signed(checkpoint, signatures, before.key)
            if not known and not handed_over:
                return "it is signed by a new key that the old one did not sign. Give the new key with --key."
            self._keys.add(checkpoint.key)
        elif not known:
            return "it is signed by another key than the one given."
        return ""


def _signed(checkpoint: Checkpoint, signatures: dict[str, bytes], key: bytes) -> bool:
    signature = signatures.get(key_id(key), b"")
    return ed25519_verify(key, signature, checkpoint.text.encode())


class Against:
    """Lays checkpoints beside entries, both in order, and keeps neither."""

    def __init__(self, checkpoints: Iterable[Checkpoint | Bad], instance: str | None = None) -> None:
        self._checkpoints = iter(checkpoints)
        self._instance = instance
        self._next = next(self._checkpoints, None)
        self.matched, self.apart = 0, 0
        self.covered = 0  # the last entry that a checkpoint is about

    def take(self, seq: int, digest: bytes) -> Bad | None:
        """The checkpoints up to entry `seq`, which has this hash."""
        while self._next is not None and self._next.seq <= seq:
            if isinstance(self._next, Bad):
                return self._next
            if self._instance is not None and self._next.instance != self._instance:
                return Bad(seq, "checkpoint", "The checkpoints are about another ledger than these entries.")
            if self._next.seq == seq and self._next.hash != digest:
                words = f"Entry {seq} had another hash at {self._next.time}, says checkpoint {self._next.number}."
                return Bad(seq, "checkpoint", words)
            if self._next.seq == seq:
                self.matched, self.covered = self.matched + 1, seq
            else:
                self.apart += 1
            self._next = next(self._checkpoints, None)
        return None

    def rest(self, last: int, made_at: str = "9999") -> Bad | None:
        """Those beyond the last entry. One from before the entries were read shows that a tail is missing."""
        while self._next is not None:
            if isinstance(self._next, Bad):
                return self._next
            if self._next.seq > last and self._next.time < made_at:
                words = f"Checkpoint {self._next.number} of {self._next.time} knew {self._next.seq} entries already."
                return Bad(last + 1, "truncated", f"{words} Here they end at {last}.")
            self.apart += 1
            self._next = next(self._checkpoints, None)
        return None


# ── An evidence pack ─────────────────────────────────────────────────────────

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MOST_FILES = 100  # far more than any pack has


def packed(name: str, files: Mapping[str, bytes], at: datetime) -> bytes:
    """The pack `name` of these files and their manifest. The same files at the same time give the same bytes."""
    stamp = (at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day)
    return _zip({**files, "manifest.json": _manifest(name, files)}, stamp)


def _manifest(name: str, files: Mapping[str, bytes]) -> bytes:
    sums = {each: hashlib.sha256(data).hexdigest() for each, data in files.items()}
    return json.dumps({"format": PACK, "of": name, "files": sums}, indent=1).encode() + b"\n"


def _zip(files: Mapping[str, bytes], stamp: tuple[int, int]) -> bytes:
    """A ZIP without compression and without anything optional (APPNOTE 4.3): no byte in it is free."""
    body, directory = b"", b""
    for name, data in files.items():
        about = (0, 0, *stamp, zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += _CENTRAL.pack(b"PK\1\2", 3 << 8 | 20, 20, *about, 0, 0, 0, 0o100644 << 16, len(body))
        directory += name.encode()
        body += _LOCAL.pack(b"PK\3\4", 20, *about) + name.encode() + data
    return body + directory + _END.pack(b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(body), 0)


def _unzip(pack: bytes) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Raises ValueError with words where no file can be found where one should be."""
    files: dict[str, bytes] = {}
    stamp, place = (0, 0), 0
    while pack[place : place + 4] == b"PK\3\4" and "manifest.json" not in files and len(files) < _MOST_FILES:
        try:
            *_, time, date, _crc, size, _same, length, _extra = _LOCAL.unpack_from(pack, place)
            name = pack[place + _LOCAL.size :][:length].decode("ascii")
        except (struct.error, UnicodeDecodeError):
            break
        start = place + _LOCAL.size + length
        files[name], place = pack[start : start + size], start + size
        stamp = stamp if any(stamp) else (time, date)
    if "manifest.json" not in files or "entries.jsonl" not in files or len(pack) >= 2**32:
        last = next(reversed(files), "its first byte")
        raise ValueError(f"This is no evidence pack that is whole: nothing can be found behind {last}.")
    return files, stamp


def check_pack(
    pack: bytes,
    checkpoints: BinaryIO | None = None,
    *,
    keys: Iterable[bytes] = (),
    head: tuple[int, bytes] | None = None,
) -> tuple[list[str], Bad | None]:
    """As `check`, of an evidence pack. Its own checkpoint is used unless others are given; it must be sound anyway."""
    try:
        files, of = _opened(pack)
    except ValueError as error:
        return [], Bad(0, "pack", str(error))
    own, entries = files.get("checkpoint.txt"), partial(io.BytesIO, files["entries.jsonl"])
    if bad := _fault_inside(Export(entries()), own):
        return [], bad
    said, bad = check(entries(), io.BytesIO(own) if own and not checkpoints else checkpoints, keys=keys, head=head)
    if bad is None and own and checkpoints:
        _said, bad = check(entries(), io.BytesIO(own))
    unsigned = "No signature is about the reports, nor about which texts are withheld: read the entries, or look in the"
    unsigned += f" audit trail for who made a pack with the SHA-256 of this one, {hashlib.sha256(pack).hexdigest()}"
    return [f"All {len(files) + 1} files of the evidence pack of {of} fit its manifest.", *said, unsigned], bad


def _opened(pack: bytes) -> tuple[dict[str, bytes], str]:
    """The files but for the manifest, and what they are about. Raises ValueError with words for what does not fit."""
    files, stamp = _unzip(pack)
    listed = files.pop("manifest.json")
    try:
        manifest = _strict(listed)
        sums, of = dict(manifest["files"]), str(manifest["of"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("manifest.json is not the one that was packed: it cannot be read.") from None
    for name in [*sums, *files]:
        if name not in files or hashlib.sha256(files[name]).hexdigest() != sums.get(name):
            raise ValueError(f"{name} is not the one that was packed, or manifest.json was changed.")
    if listed != _manifest(of, files):
        raise ValueError("manifest.json is not the one that was packed.")
    if pack != _zip({**files, "manifest.json": listed}, stamp):
        raise ValueError("The ZIP around the files was changed: its names, dates, sums or what follows them.")
    return files, of


def _fault_inside(export: Export, own: bytes | None) -> Bad | None:
    if export.selection:  # its entries need not follow one another up to the one that is signed
        return Bad(0, "pack", "entries.jsonl is a selection, which no evidence pack holds.")
    if own is None:
        return None
    try:
        about = parse_note(own.decode())[0]
    except ValueError:
        return Bad(0, "checkpoint", "checkpoint.txt is not one signed checkpoint.")
    if about.seq != export.last:
        return Bad(0, "checkpoint", "checkpoint.txt is not about the last of these entries.")
    return None


# ── Ed25519, verification alone (RFC 8032, 5.1) ──────────────────────────────

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
_Point = Any  # (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z


def ed25519_verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the 64 bytes are the signature of the message under the public key. Plain Python, some milliseconds."""
    a, s = _point(key), int.from_bytes(signature[32:], "little")
    if a is None or len(signature) != 64 or s >= _ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _ORDER
    minus_a = (_P - a[0], a[1], a[2], _P - a[3])
    steps = (None, _BASE, minus_a, _add(_BASE, minus_a))
    found: _Point = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        found = _add(found, found)
        step = steps[(s >> bit & 1) + 2 * (k >> bit & 1)]
        found = _add(found, step) if step else found
    inverse = pow(found[2], _P - 2, _P)
    x, y = int(found[0] * inverse % _P), int(found[1] * inverse % _P)
    return signature[:32] == (y | (x & 1) << 255).to_bytes(32, "little")


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    if len(data) != 32 or y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    if x * x % _P != square or (x == 0 and odd):
        return None
    x = x if x & 1 == odd else _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


# ── The command ──────────────────────────────────────────────────────────────


def check(
    export: BinaryIO | None,
    checkpoints: BinaryIO | None = None,
    *,
    keys: Iterable[bytes] = (),
    head: tuple[int, bytes] | None = None,
) -> tuple[list[str], Bad | None]:
    """What was found, in sentences, and the first thing that is wrong. `head`: entry (0: the last) and its hash."""
    trusted = list(keys)
    notes = Checkpoints(checkpoints, trusted) if checkpoints else None
    said: list[str] = []
    bad = _check_export(Export(export), notes, head, said) if export else Against(notes or ()).rest(2**63)
    if bad is None and trusted and not (notes and notes.count):
        raise Unreadable("A key was given, but there is no checkpoint here that it could have signed.")
    if bad is None and notes is not None:
        said.append(f"Checkpoints: {notes.count:,}, each signed, each following the one before.")
        if notes.believed:
            said.append(f"Their key was believed as it stands in the file; compare it: {key_text(notes.believed)}")
    return said, bad


def _check_export(
    export: Export, notes: Checkpoints | None, head: tuple[int, bytes] | None, said: list[str]
) -> Bad | None:
    about = export.about
    walk = Walk(export.first, GENESIS if export.first == 1 else None, selection=export.selection)
    against = Against(notes or (), str(about.get("instance")))
    met = False
    for entry in export.entries():
        bad = entry if isinstance(entry, Bad) else walk.take(entry) or against.take(entry.seq, entry.hash)
        if bad is not None:
            if bad.kind == "gap" and export.appears_later(bad.seq):
                return Bad(bad.seq, "reorder", f"Entry {bad.seq} does not stand in its place, but further below.")
            return bad
        if head is not None and walk.last == head[0]:
            met = True
            if walk.hash != head[1]:
                return Bad(walk.last, "head", f"Entry {walk.last} has another hash than the one given.")
    if bad := against.rest(export.head, str(about.get("made_at"))):
        return bad
    if head is not None and head[0] and not met:
        raise Unreadable(f"Entry {head[0]}, whose hash was given, is not in this file.")
    if head is not None and not head[0] and walk.hash != head[1]:
        return Bad(walk.last, "head", f"The last entry, {walk.last}, has another hash than the one given.")
    said.extend(_told(export, walk))
    if notes is not None:
        said.extend(_agreed(export, walk, against))
    return None


def _agreed(export: Export, walk: Walk, against: Against) -> Iterator[str]:
    where = f"Checkpoints about these entries: {against.matched:,}, and they agree"
    yield f"{where}; about others: {against.apart:,}."
    if not export.selection and against.covered < walk.last:
        first = max(export.first, against.covered + 1)
        yield f"No checkpoint here is about entries {first:,} to {walk.last:,}."


def _told(export: Export, walk: Walk) -> Iterator[str]:
    if not walk.checked:
        yield "The file is whole, and holds no entries."
        return
    if export.selection:
        yield f"Each of the {walk.checked:,} entries matches its own hash, which anybody can compute."
        yield f"They were selected ({export.about.get('filter')!a}): what is missing between them was not checked."
    else:
        yield f"All {walk.checked:,} entries, {export.first:,} to {walk.last:,}, are what was written, in order."
    if walk.withheld:
        yield f"Of {walk.withheld:,} of them the text is withheld; they stand where they were written."
    yield f"Entry {walk.last} has the hash {(walk.hash or b'').hex()}; compare it with one that was kept elsewhere."


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: whole. 1: something is wrong, and named. 2: it could not be checked."""
    parser = argparse.ArgumentParser(
        description="Checks an audit trail exported from Failover Desk (JSON lines) or an evidence pack (ZIP), and its "
        "signed checkpoints.",
        epilog="Exit code 0: all that was asked for is as it was written. 1: something is not; the first place is "
        "named. 2: it could not be checked. How the hashes are made stands at the top of this file.",
    )
    parser.add_argument("export", nargs="?", help="the exported file, or the pack; - reads standard input")
    parser.add_argument("--checkpoints", metavar="FILE", help="the signed checkpoints, one below the other")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        type=key_of,
        help="a public key that you trust: ed25519:… (may be repeated)",
    )
    parser.add_argument(
        "--head", type=_head, metavar="[ENTRY:]HASH", help="a hash that was kept elsewhere, of that or the last entry"
    )
    asked = parser.parse_args(arguments)
    if not asked.export and not asked.checkpoints:
        parser.error("give an exported file, a file of checkpoints, or both")
    if asked.head and not asked.export:
        parser.error("--head is compared with an exported file; give one")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a terminal may know ASCII alone
    try:
        with ExitStack() as stack:
            export, notes = (
                sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb")) if name else None
                for name in (asked.export, asked.checkpoints)
            )
            if export and asked.export.lower().endswith(".zip"):
                said, bad = check_pack(export.read(), notes, keys=asked.key, head=asked.head)
            else:
                said, bad = check(export, notes, keys=asked.key, head=asked.head)
    except (OSError, Unreadable) as error:
        print(_shown(f"Not checked: {error}"))  # noqa: T201
        return 2
    where = f" entry {bad.seq}" if bad and bad.seq else ""
    for line in said if bad is None else [f"Bad{where} ({bad.kind}): {bad.words}"]:
        print(_shown(line))  # noqa: T201
    return 0 if bad is None else 1


def _shown(line: str) -> str:
    """A name in a file must not write lines of its own, nor steer the terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def key_of(text: str) -> bytes:
    try:
        key = _bytes(text.strip().replace("ed25519:", "", 1))
    except ValueError:
        key = b""
    if _point(key) is None:
        raise argparse.ArgumentTypeError("a key is ed25519: and 44 characters, as the audit page shows it")
    return key


def _head(text: str) -> tuple[int, bytes]:
    match = re.fullmatch("(?:([1-9][0-9]{0,18}):)?([0-9a-f]{64})", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError("a hash has 64 hexadecimal digits, with or without ENTRY: in front")
    return int(match[1] or 0), bytes.fromhex(match[2])


if __name__ == "__main__":
    sys.exit(main())
