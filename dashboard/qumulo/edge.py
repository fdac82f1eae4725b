"""The edge: what a stranger sent becomes plain, bounded, harmless Python values.

Guarantees. `read_json` never returns a value that two readers could understand differently (no duplicate
keys, NaN, Infinity) and never ends in anything but a value or `Unreadable`. Text that went through `clean`
can be stored by every database: no NUL, no lone surrogate, bounded length; what was replaced or cut is
visible in it. `clean` keeps control and bidirectional characters, because paths may hold them and are
compared; whoever shows a text to a person uses `visible`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from typing import Any

TEXT_LIMIT = 4096
_MOST_VALUES = 1_000_000  # in one answer: as text they are small, as objects they would fill the memory of a worker
_LONGEST_NUMBER = 40  # digits; file ids are 128-bit numbers, nothing in the API is longer
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")

# Characters of the letter, mark and symbol categories that nevertheless show nothing: fillers, joiners,
# variation selectors. Two paths that differ only in these would look the same.
_FILLERS = (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
_BLANK = frozenset([*_FILLERS, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])


class Unreadable(ValueError):
    """What was sent is not what it has to be. The message is one sentence without the content."""


def read_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, each key once, finite numbers of bounded length, not more values than anybody needs. Raises
    Unreadable."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > _MOST_VALUES:  # before anything is made of it
        raise Unreadable("It holds too many values.")
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except Unreadable:
        raise
    except UnicodeDecodeError:
        raise Unreadable("It is not UTF-8.") from None
    except RecursionError:
        raise Unreadable("It is nested too deeply.") from None
    except ValueError:
        raise Unreadable("It is not JSON.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Unreadable("It holds the same key twice.")
    return result


def _no_constant(_: str) -> Any:
    raise Unreadable("It holds NaN or Infinity.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unreadable("It holds a number without bounds.")
    return value


def _short(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise Unreadable("It holds a number without bounds.")
    return int(digits)


def clean(text: str, *, limit: int = TEXT_LIMIT) -> str:
    """Text that can be stored. NUL and lone surrogates become `\\u0000`; beyond `limit` a mark with the
    SHA-256 of the whole takes the place of the end, so that two long texts stay different. Cleaning twice
    changes nothing."""
    text = _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    if len(text) <= limit:
        return text
    mark = f"…[cut, sha256 {hashlib.sha256(text.encode()).hexdigest()[:24]}]"
    return text[: limit - len(mark)] + mark


def visible(text: str) -> str:
    """The text as a person may trust it: whatever is invisible, blank or turns the direction shows as
    `\\u202e`.

    Meant for display and for what a person types to confirm; two texts that look alike by such means differ
    here.
    """
    return "".join(character if _shows(character) else _escape(character) for character in text)


def _shows(character: str) -> bool:
    if character == " ":
        return True
    category = unicodedata.category(character)  # C*: control, format, surrogate, private, unassigned; Z*: separators
    return category[0] not in "CZ" and ord(character) not in _BLANK


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def text(value: object, *, limit: int = TEXT_LIMIT) -> str:
    """A text field: null and a missing field are `""`. A number or boolean is kept as it was written; a list
    or an object leaves a mark, so that an error in an unforeseen form does not look like no error."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return clean(value, limit=limit) if isinstance(value, str) else "[not a text]"


def flag(value: object) -> bool | None:
    """A real boolean, or None. `"false"` is not one."""
    return value if isinstance(value, bool) else None


def number(value: object) -> int | float | None:
    """A finite number, or the decimal text of one; else None."""
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            return None
        return float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def count(value: object, *, most: int = 2**63 - 1) -> int | None:
    """A whole number from 0 to `most`, or None. The default fits the databases' largest integer column."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= most else None
