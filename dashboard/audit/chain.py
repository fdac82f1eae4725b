"""The ledger: append-only, hash-chained, written in the same transaction as the change that it records.

What holds, and by what:

- No record, no act: `append` runs inside the caller's transaction. If it fails, the change is rolled back
  with it.
- Gapless and without forks: an appender first locks the one head row, so appenders stand in line. (Locking
  the last entry instead does not work: each waiter then goes on from the entry that it waited for, and the
  chain forks.)
- Tamper-evident: each entry's hash covers the hash before it, its number, and its whole payload:
  SHA-256("failover-desk-audit/1" 0x00 ‖ previous hash ‖ number, 8 bytes ‖ length, 4 bytes ‖ payload, UTF-8),
  integers big-endian. The stored text is what is hashed, so a verifier needs no canonical JSON, only bytes.
- The head row says how many entries there are, so a tail that was cut off is noticed, too. Whoever can
  rewrite the whole chain *and* the head goes unnoticed here; against that stands only a copy of a hash kept
  elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from django.db import connection
from django.db.transaction import TransactionManagementError

from dashboard.audit.models import COLUMN, GENESIS, Entry, Head
from dashboard.audit.tags import Tag
from dashboard.database import database_now

JSON: TypeAlias = "bool | int | str | Sequence[JSON] | Mapping[str, JSON] | None"

_DOMAIN = b"failover-desk-audit/1\x00"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted, copied as text: it stays true when the person or account is renamed. `person_id` is the
    Person's key.
    """

    kind: Literal["user", "system", "cli"]
    label: str
    person_id: int | None = None
    account: str = ""
    ip: str = ""


SYSTEM = Actor(kind="system", label="System")


def cli() -> Actor:
    """Whoever runs a command on the machine: the operating system's name of that account. The shell is the
    root of trust.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers often run as a number without a name
        name = f"uid {os.getuid()}"
    return Actor(kind="cli", label=f"{name} (command line)", account=name)


@contextmanager
def bound_to_request(request_id: str) -> Iterator[None]:
    """Within this block, entries carry the id of the web request or task that caused them."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def append(
    tag: Tag | str,
    *,
    actor: Actor,
    object: str = "",  # noqa: A002 - the word that the record itself uses
    words: str = "",
    detail: Mapping[str, JSON] | None = None,
) -> Entry:
    """Write the next entry. It must be the last statement of its transaction: the lock on the head is held
    until the commit.

    `object` is what it is about, such as "FO-1001" or "cluster:dr-west". NUL and lone surrogates, which no
    database stores, become visible escapes: a hostile path name must not be able to stop the ledger, and with
    it a failover. Raises TransactionManagementError outside a transaction, TypeError for a float or any other
    value that is not None, bool, int, str, list or mapping with text keys.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("The ledger is written inside the transaction of the change that it records.")
    # PostgreSQL waits here. SQLite ignores FOR UPDATE; there BEGIN IMMEDIATE has put the writers in line
    # already.
    head = Head.objects.select_for_update().get(pk=1)
    at = database_now()
    record = {
        "at": _stamp(at),
        "tag": str(tag),
        "actor": {
            "kind": actor.kind,
            "label": actor.label,
            "person": actor.person_id,
            "account": actor.account,
            "ip": actor.ip,
        },
        "request_id": _request_id.get(),
        "object": object,
        "words": words,
        "detail": dict(detail or {}),
    }
    payload = json.dumps(_storable(record, "entry"), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    previous, seq = bytes(head.hash), head.seq + 1
    entry = Entry.objects.create(
        seq=seq,
        payload=payload,
        prev_hash=previous,
        hash=_hash(previous, seq, payload),
        at=at,
        **_columns(json.loads(payload)),
    )
    Head.objects.filter(pk=1).update(seq=seq, hash=entry.hash)
    return entry


def clean(text: str) -> str:
    """The text with NUL and lone surrogates as visible escapes (`\\u0000`)."""
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@dataclass(frozen=True, slots=True)
class Bad:
    """The first entry that is not as it was written.

    content: its payload or number does not match its hash. link: it does not follow the entry before it.
    gap: it is not there, though a later one is. columns: its searchable copies differ from its payload.
    truncated: it is not there, though the head says so. head: the head does not point at the last entry.
    """

    seq: int
    kind: Literal["content", "link", "gap", "columns", "truncated", "head"]
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """`checked` entries were walked; `head` is the number and hash (hex) of the last one."""

    checked: int
    head: tuple[int, str]
    bad: Bad | None

    @property
    def ok(self) -> bool:
        return self.bad is None


def verify(start: int = 1, entries: Iterable[Entry] | None = None) -> Report:
    """Walk the chain from entry `start`, recompute each hash, and stop at the first bad entry. Constant
    memory.

    A `start` beyond 1 trusts the hash stored just before it. With `entries` (an export, in order) there is no
    head to compare. Appenders may go on meanwhile: the head is read before and after, and the end of the walk
    must lie between the two.
    """
    stored = entries is None
    before = Head.objects.filter(pk=1).first() if stored else None
    if entries is None:
        entries = Entry.objects.filter(seq__gte=start).order_by("seq").iterator(chunk_size=2000)
    previous = _hash_before(start) if start == 1 or stored else None
    last, checked = start - 1, 0
    bad: Bad | None = None
    if stored and previous is None:
        return Report(0, (0, ""), Bad(last, "gap", f"Entry {last}, before the first one to check, is missing."))
    for entry in entries:
        bad = _fault(entry, expected=last + 1, previous=previous)
        if bad is None and before is not None and entry.seq == before.seq and bytes(entry.hash) != bytes(before.hash):
            bad = Bad(entry.seq, "head", f"The head of the ledger has another hash than entry {entry.seq}.")
        if bad is not None:
            break
        last, previous, checked = entry.seq, bytes(entry.hash), checked + 1
    if bad is None and stored:
        bad = _fault_of_the_end(last, before)
    return Report(checked, (last, (previous or GENESIS).hex()), bad)


def _hash_before(start: int) -> bytes | None:
    if start == 1:
        return GENESIS
    stored = Entry.objects.filter(seq=start - 1).values_list("hash", flat=True).first()
    return None if stored is None else bytes(stored)


def _fault(entry: Entry, *, expected: int, previous: bytes | None) -> Bad | None:
    seq = entry.seq
    if seq != expected:
        return Bad(expected, "gap", f"Entry {expected} is missing; the next one that exists is {seq}.")
    if _hash(bytes(entry.prev_hash), seq, entry.payload) != bytes(entry.hash):
        return Bad(seq, "content", f"Entry {seq} is not what was written: its text does not match its hash.")
    if previous is not None and bytes(entry.prev_hash) != previous:
        return Bad(seq, "link", f"Entry {seq} does not follow entry {seq - 1}: one of the two was written anew.")
    try:
        record = json.loads(entry.payload)
        copies = {"at": record["at"], **_columns(record)}
    except (ValueError, RecursionError, KeyError, TypeError):
        return Bad(seq, "content", f"Entry {seq} holds text that this program did not write.")
    if copies != {"at": _stamp(entry.at), "tag": entry.tag, "actor": entry.actor, "object": entry.object}:
        return Bad(seq, "columns", f"The searchable columns of entry {seq} differ from what was written.")
    return None


def _fault_of_the_end(last: int, before: Head | None) -> Bad | None:
    after = Head.objects.filter(pk=1).first()
    if before is None or after is None:
        return Bad(last, "head", "The head of the ledger is missing.")
    if last < before.seq:
        return Bad(
            last + 1,
            "truncated",
            f"The ledger ends at entry {last}, but its head says {before.seq}: the tail is cut off.",
        )
    if last > after.seq:
        return Bad(last, "head", f"The head of the ledger says {after.seq}, but there are entries up to {last}.")
    return None


def _hash(previous: bytes, seq: int, payload: str) -> bytes:
    # "surrogatepass" only matters for a damaged export: the verifier must name such an entry, not stumble
    # over it.
    text = payload.encode("utf-8", "surrogatepass")
    return hashlib.sha256(_DOMAIN + previous + seq.to_bytes(8, "big") + len(text).to_bytes(4, "big") + text).digest()


def _columns(record: Mapping[str, JSON]) -> dict[str, str]:
    """The copies of a payload that an entry's columns hold."""
    actor = record["actor"]
    if not isinstance(actor, Mapping):
        raise TypeError("actor")
    return {
        "tag": str(record["tag"])[:COLUMN],
        "actor": str(actor["label"])[:COLUMN],
        "object": str(record["object"])[:COLUMN],
    }


def _stamp(moment: datetime) -> str:
    """UTC with exactly six digits, the precision that both engines keep: more would be rounded away after
    hashing.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _storable(value: object, where: str) -> JSON:
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_key(key, where): _storable(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item, f"{where}[{position}]") for position, item in enumerate(value)]
    raise TypeError(f"The ledger holds no {type(value).__name__}: {where}.")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"The ledger holds no {type(key).__name__} as a key: {where}.")
    return clean(key)
