"""What people write into the record: reasons, comments, tickets. It stands there for ever, and others read it on pages,
in notices and in exports. So nothing in it may hide, or turn the direction of what stands beside it. Pure.
"""

from __future__ import annotations

import unicodedata

from dashboard.failovers.lifecycle import Refused
from dashboard.words import visible

LEAST = 10
MOST = 2000

_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def reason(typed: str, *, tag: str) -> str:
    text = legible(typed, "reason", tag=tag)
    if len(text) < LEAST:
        raise Refused(f"Say in a few words why, at least {LEAST} characters.", field="reason", tag=tag)
    return text


def comment(typed: str, *, otherwise: str, tag: str) -> str:
    """`otherwise`: the sentence for somebody who has left it empty."""
    text = legible(typed, "comment", tag=tag)
    if not text:
        raise Refused(otherwise, field="comment", tag=tag)
    return text


def legible(typed: str, field: str, *, tag: str, most: int = MOST) -> str:
    """What was typed, trimmed; it may be empty. Raises Refused when it is too long or holds what cannot be seen.

    What word processors put into texts (no-break spaces, joined emoji) passes: somebody pastes it in the night.
    """
    text = typed.strip()
    if len(text) > most:
        raise Refused(f"The {field} is longer than {most} characters.", field=field, tag=tag)
    for character in text:
        if character in _TURNS or (character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")):
            words = f"The {field} holds a character that cannot be seen ({visible(character)}). Type it without."
            raise Refused(words, field=field, tag=tag)
    return text
