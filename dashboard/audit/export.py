"""The ledger as a file: JSON lines that prove themselves (`verifier` reads them), or a table for people.

An export ends where the ledger ended when it was begun, whatever is appended meanwhile, and is written while it is
read: constant memory, no long transaction.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from dashboard.audit.chain import stamp, walked
from dashboard.audit.models import Entry, Head
from dashboard.audit.tags import words_of
from dashboard.audit.verifier import EXPORT, text_digest
from dashboard.database import database_now

_PIECE = 64 * 1024
# A spreadsheet takes a cell that begins with one of these for a formula, or drops it and looks at the next.
_FORMULA = tuple("=+-@\t\r\n\0＝＋－＠")
_COLUMNS = (
    *("entry", "time", "who", "kind of actor", "account", "address", "tag", "meaning", "about", "words"),
    *("detail", "request id", "hash", "guarded"),
)


class Moment(NamedTuple):
    """Where the ledger ended: not before `at`, its last entry was `head`."""

    instance: str
    at: str
    head: int


def now() -> Moment:
    # The time first: a checkpoint from before it must then be about an entry up to this head.
    at = stamp(database_now())
    head = Head.objects.get()
    return Moment(str(head.instance), at, head.seq)


def jsonl(
    rows: QuerySet[Entry],
    moment: Moment,
    *,
    first: int = 1,
    last: int | None = None,
    selection: str = "",
    shown: Container[int] | None = None,
) -> Iterator[bytes]:
    """`rows` from entry `first` to `last` (the head). `selection` says in words what they were selected by; without
    it they must be all of that range. With `shown`, the text of every other entry is withheld: it can be followed, and
    not read.
    """
    last = moment.head if last is None else min(last, moment.head)
    about = {
        "format": EXPORT,
        "instance": moment.instance,
        "made_at": moment.at,
        "head": moment.head,
        "first": first,
        "last": last,
        "selection": bool(selection),
        "filter": selection,
    }
    return _pieces(_lines(about, rows.filter(seq__gte=first), last, shown))


def _lines(about: dict[str, Any], rows: QuerySet[Entry], last: int, shown: Container[int] | None) -> Iterator[bytes]:
    whole, count = hashlib.sha256(), 0
    line = _line(about)
    whole.update(line)
    yield line
    for entry in walked(rows, last=last):
        digests = {"prev_hash": bytes(entry.prev_hash).hex(), "hash": bytes(entry.hash).hex()}
        withheld = shown is not None and entry.seq not in shown
        text = {"digest": text_digest(entry.payload).hex()} if withheld else {"payload": entry.payload}
        line = _line({"seq": entry.seq, **digests, **text})
        whole.update(line)
        count += 1
        yield line
    yield _line({"end": EXPORT, "count": count, "sha256": whole.hexdigest()})


def _line(record: dict[str, Any]) -> bytes:
    # ASCII: whatever an entry holds, a line of the file is a line, and a damaged text is escaped, not an error.
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def table(rows: QuerySet[Entry], moment: Moment) -> Iterator[bytes]:
    """CSV (RFC 4180) for people and their spreadsheets; no evidence. A cell that a spreadsheet would take for a formula
    gets a ' in front, and the last column names the columns in which that was done.
    """
    return _pieces(_rows(rows, moment.head))


def _rows(rows: QuerySet[Entry], last: int) -> Iterator[bytes]:
    lines: list[str] = []
    writer = csv.writer(_Into(lines), quoting=csv.QUOTE_ALL)
    writer.writerow(_COLUMNS)
    yield b"\xef\xbb\xbf"  # without it spreadsheets read UTF-8 as something else
    for entry in walked(rows, last=last):
        cells = _cells(entry)
        guarded = [name for name, cell in zip(_COLUMNS, cells, strict=False) if cell.startswith(_FORMULA)]
        writer.writerow([*(f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells), ", ".join(guarded)])
        yield "".join(lines).encode("utf-8", "backslashreplace")
        lines.clear()
    yield "".join(lines).encode()


class _Into:
    """What `csv` needs of a file."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _cells(entry: Entry) -> list[str]:
    record = entry.record
    actor = record.get("actor")
    actor = actor if isinstance(actor, dict) else {}
    who = [str(actor.get(name) or "") for name in ("label", "kind", "account", "ip")]
    said = [str(record.get(name) or "") for name in ("object", "words")]
    detail = json.dumps(record.get("detail") or {}, ensure_ascii=False)
    of_tag = [entry.tag, words_of(entry.tag)]
    end = [detail, str(record.get("request_id") or ""), bytes(entry.hash).hex()]
    return [str(entry.seq), stamp(entry.at), *who, *of_tag, *said, *end]


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """As much as is worth a write."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
