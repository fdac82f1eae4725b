"""The ledger: append-only, hash-chained, written in the same transaction as the change that it records.

What holds, and by what:

- No record, no act: `append` runs inside the caller's transaction. If it fails, the change is rolled back
  with it.
- Gapless and without forks: an appender first locks the one head row, so appenders stand in line. (Locking
  the last entry instead does not work: each waiter then goes on from the entry that it waited for, and the
  chain forks.)
- Tamper-evident: each entry's hash covers the hash before it, its number, and its whole payload; `verifier` says
  how. The stored text is what is hashed, so a verifier needs no canonical JSON, only bytes.
- The head row says how many entries there are, so a tail that was cut off is noticed, too. Whoever can
  rewrite the whole chain *and* the head goes unnoticed here; against that stands only a copy of a hash kept
  elsewhere.
"""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeAlias

from django.db import connection
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError

from dashboard.audit.models import COLUMN, Entry, Head
from dashboard.audit.tags import Tag
from dashboard.audit.verifier import GENESIS, Against, Bad, Walk, Written, entry_hash
from dashboard.database import database_now

JSON: TypeAlias = "bool | int | str | Sequence[JSON] | Mapping[str, JSON] | None"

_PIECE = 2000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_committed: ContextVar[bool] = ContextVar("committed", default=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What an entry is to say. `object` is what it is about, such as "FO-1001" or "cluster:dr-west"."""

    tag: Tag | str
    actor: Actor
    object: str = ""
    words: str = ""
    detail: Mapping[str, JSON] | None = None


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
    token, committed = _request_id.set(request_id), _committed.set(False)
    try:
        yield
    finally:
        _request_id.reset(token)
        _committed.reset(committed)


def has_committed() -> bool:
    """Whether an entry of this request is committed, and the act that it records with it."""
    return _committed.get()


def append(
    tag: Tag | str,
    *,
    actor: Actor,
    object: str = "",  # noqa: A002 - the word that the record itself uses
    words: str = "",
    detail: Mapping[str, JSON] | None = None,
) -> Entry:
    """Write the next entry: `append_all` with one line."""
    return append_all([Line(tag=tag, actor=actor, object=object, words=words, detail=detail)])[0]


def append_all(lines: Sequence[Line]) -> list[Entry]:
    """Write the next entries, in this order. It must be the last statement of its transaction: the lock on the head is
    held until the commit, and whoever records anything waits for it. So a verb on many things changes all of them
    first, and then writes its entries in one piece.

    NUL and lone surrogates, which no database stores, become visible escapes: a hostile path name must not be able to
    stop the ledger, and with it a failover. Raises TransactionManagementError outside a transaction, TypeError for a
    float or any other value that is not None, bool, int, str, list or mapping with text keys.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("The ledger is written inside the transaction of the change that it records.")
    # PostgreSQL waits here. SQLite ignores FOR UPDATE; there BEGIN IMMEDIATE has put the writers in line
    # already.
    head = Head.objects.select_for_update().get(pk=1)
    at = database_now()
    seq, last = head.seq, bytes(head.hash)
    entries = []
    for line in lines:
        payload = json.dumps(
            _storable(_record(line, at), "entry"), ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )
        previous, seq = last, seq + 1
        last = entry_hash(previous, seq, payload)
        columns = _columns(json.loads(payload))
        entries.append(Entry(seq=seq, payload=payload, prev_hash=previous, hash=last, at=at, **columns))
    Entry.objects.bulk_create(entries)
    Head.objects.filter(pk=1).update(seq=seq, hash=last)
    connection.on_commit(partial(_committed.set, True))
    return entries


def _record(line: Line, at: datetime) -> dict[str, JSON]:
    return {
        "at": stamp(at),
        "tag": str(line.tag),
        "actor": {
            "kind": line.actor.kind,
            "label": line.actor.label,
            "person": line.actor.person_id,
            "account": line.actor.account,
            "ip": line.actor.ip,
        },
        "request_id": _request_id.get(),
        "object": line.object,
        "words": line.words,
        "detail": dict(line.detail or {}),
    }


def clean(text: str) -> str:
    """The text with NUL and lone surrogates as visible escapes (`\\u0000`)."""
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@dataclass(frozen=True, slots=True)
class Report:
    """`checked` entries were walked; `head` is the number and hash (hex) of the last one."""

    checked: int
    head: tuple[int, str]
    bad: Bad | None

    @property
    def ok(self) -> bool:
        return self.bad is None


def verify(
    start: int = 1,
    entries: Iterable[Entry] | None = None,
    *,
    last: int | None = None,
    against: Against | None = None,
) -> Report:
    """Walk the chain from entry `start`, recompute each hash, and stop at the first bad entry. Constant
    memory.

    A `start` beyond 1 trusts the hash stored just before it. With `entries` (an export, in order) there is no
    head to compare. Appenders may go on meanwhile: the head is read before and after, and the end of the walk
    must lie between the two. With `last` it ends there. `against`: signed checkpoints, which must agree.
    """
    stored, to_the_end = entries is None, entries is None and last is None
    if entries is None:
        entries = walked(Entry.objects.filter(seq__gte=start), last=last or 2**63 - 1)
    began = "" if against is None else stamp(database_now())
    before = Head.objects.filter(pk=1).first() if stored else None
    previous = _hash_before(start) if start == 1 or stored else None
    if stored and previous is None:
        missing = Bad(start - 1, "gap", f"Entry {start - 1}, before the first one to check, is missing.")
        return Report(0, (0, ""), missing)
    walk = Walk(start, previous)
    bad: Bad | None = None
    for entry in entries:
        written = Written(entry.seq, entry.payload, bytes(entry.prev_hash), bytes(entry.hash))
        bad = walk.take(written) or _copies_differ(entry)
        if bad is None and before is not None and entry.seq == before.seq and written.hash != bytes(before.hash):
            bad = Bad(entry.seq, "head", f"The head of the ledger has another hash than entry {entry.seq}.")
        if bad is None and against is not None:
            bad = against.take(entry.seq, written.hash)
        if bad is not None:
            break
    if bad is None and to_the_end:
        bad = _fault_of_the_end(walk.last, before)
    if bad is None and last is not None and walk.last < last:
        bad = Bad(walk.last + 1, "truncated", f"The ledger ends at entry {walk.last}, before entry {last}.")
    if bad is None and against is not None and to_the_end:
        bad = against.rest(walk.last, began)
    return Report(walk.checked, (walk.last, (walk.hash or GENESIS).hex()), bad)


def walked(rows: QuerySet[Entry], *, last: int = 2**63 - 1) -> Iterator[Entry]:
    """The entries in order up to `last`, in pieces: in constant memory, and without holding a snapshot that keeps the
    database from cleaning up behind writers.
    """
    seq = 0
    while piece := list(rows.filter(seq__gt=seq, seq__lte=last).order_by("seq")[:_PIECE]):
        yield from piece
        seq = piece[-1].seq


def _hash_before(start: int) -> bytes | None:
    if start == 1:
        return GENESIS
    stored = Entry.objects.filter(seq=start - 1).values_list("hash", flat=True).first()
    return None if stored is None else bytes(stored)


def _copies_differ(entry: Entry) -> Bad | None:
    try:
        record = json.loads(entry.payload)
        copies = {"at": record["at"], **_columns(record)}
    except (ValueError, RecursionError, KeyError, TypeError):
        return Bad(entry.seq, "content", f"Entry {entry.seq} holds text that this program did not write.")
    if copies != {"at": stamp(entry.at), "tag": entry.tag, "actor": entry.actor, "object": entry.object}:
        return Bad(entry.seq, "columns", f"The searchable columns of entry {entry.seq} differ from what was written.")
    return None


def _fault_of_the_end(last: int, before: Head | None) -> Bad | None:
    after = Head.objects.filter(pk=1).first()
    if before is None or after is None:
        return Bad(last, "head", "The head of the ledger is missing.")
    if last < before.seq:
        words = f"The ledger ends at entry {last}, but its head says {before.seq}: the tail is cut off."
        return Bad(last + 1, "truncated", words)
    if last > after.seq:
        return Bad(last, "head", f"The head of the ledger says {after.seq}, but there are entries up to {last}.")
    return None


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


def stamp(moment: datetime) -> str:
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
