"""Ticket patterns: regular expressions of a kind that cannot keep a machine busy. Pure.

Python's matcher tries one way after another, and an unlucky pattern such as `([A-Z]+)*1` has more ways through 64
letters than there is time. So a pattern is read before it is kept, and the ways through it are counted: each choice
between branches adds, each repetition has one way for every length, and what stands side by side multiplies. Beyond
`_MOST_WAYS` it is refused; so is all that the count does not understand (looking ahead or back, back-references,
flags). Each repetition takes at least one of the ticket's 64 characters, which bounds how long a way is.
"""

from __future__ import annotations

import re

LONGEST_TICKET = 64
_LONGEST = 200
_MOST_WAYS = 300_000  # three repetitions without an end; the worst of them takes tenths of a second
_DEEPEST = 10

_REPEAT = re.compile(r"\*|\+|\?|\{(\d{1,3})\}|\{(\d{0,3}),(\d{0,3})\}", re.ASCII)
_CLASS = re.compile(r"\[\^?\]?(?:[^\\\[\]]|\\[^\w]|\\[dDsSwW])*\]", re.ASCII)
_ESCAPE = re.compile(r"\\(?:[^\w]|[dDsSwW])", re.ASCII)


class _Unsafe(Exception):
    pass


def fits(pattern: str, ticket: str) -> bool:
    """Whether the whole ticket matches."""
    return len(ticket) <= LONGEST_TICKET and re.fullmatch(pattern, ticket, re.ASCII) is not None


def fault(pattern: str) -> str:
    """Why a pattern cannot be kept, in one sentence; "" when it can."""
    if len(pattern) > _LONGEST:
        return f"The pattern is longer than {_LONGEST} characters."
    if not (pattern.isascii() and pattern.isprintable()):
        return "A pattern is written in printable ASCII characters."
    try:
        ways, _, end = _branches(pattern, 0, 0)
        if end < len(pattern):
            return "The pattern is not a valid expression: a bracket closes that was not opened."
        re.compile(pattern, re.ASCII)
    except re.error as error:
        return f"The pattern is not a valid expression: {error.msg}."
    except _Unsafe as unsafe:
        return f"The pattern cannot be used: {unsafe}."
    if ways > _MOST_WAYS:
        return "The pattern could take too long to match: give its repetitions an end, such as [0-9]{1,8}."
    return ""


def _branches(text: str, at: int, depth: int) -> tuple[int, bool, int]:
    """Of the alternatives from `at` on: the ways through them, whether they may be empty, and where they end."""
    if depth > _DEEPEST:
        raise _Unsafe(f"its groups stand more than {_DEEPEST} deep")
    total, nothing = 0, False
    while True:
        ways, empty, at = _row(text, at, depth)
        total, nothing = total + ways, nothing or empty
        if text[at : at + 1] != "|":
            return total, nothing, at
        at += 1


def _row(text: str, at: int, depth: int) -> tuple[int, bool, int]:
    total, nothing = 1, True
    while at < len(text) and text[at] not in "|)":
        ways, empty, at = _one(text, at, depth)
        repeat = _REPEAT.match(text, at)
        if repeat:
            if empty:
                raise _Unsafe("it repeats what may be empty")
            least, most = _times(repeat)
            ways, empty, at = _repeated(ways, least, most), least == 0, repeat.end()
            if text[at : at + 1] == "?":  # the same ways in another order
                at += 1
        total, nothing = min(total * ways, _MOST_WAYS + 1), nothing and empty
    return total, nothing, at


def _one(text: str, at: int, depth: int) -> tuple[int, bool, int]:
    """A group, or one character of any kind."""
    match text[at]:
        case "(":
            return _group(text, at + 1, depth)
        case "[":
            found = _CLASS.match(text, at)
            if not found or re.search(r"--|&&|~~|\|\|", found[0]):
                raise _Unsafe("its [ ] cannot be read; write a bracket inside as \\[ or \\]")
            return 1, False, found.end()
        case "\\":
            found = _ESCAPE.match(text, at)
            if not found:
                raise _Unsafe(f"{text[at : at + 2]} is not known here")
            return 1, False, found.end()
        case "*" | "+" | "?" | "{" | "}":
            raise _Unsafe(f"{text[at]} stands where nothing can be repeated; write \\{text[at]} for the character")
    return 1, text[at] in "^$", at + 1


def _group(text: str, at: int, depth: int) -> tuple[int, bool, int]:
    if text.startswith("?", at):
        if not text.startswith("?:", at):
            raise _Unsafe("groups that begin with (? are not known here, except (?:")
        at += 2
    ways, empty, end = _branches(text, at, depth + 1)
    if text[end : end + 1] != ")":
        raise _Unsafe("a group is not closed")
    return ways, empty, end + 1


def _times(repeat: re.Match[str]) -> tuple[int, int]:
    match repeat[0]:
        case "*":
            return 0, LONGEST_TICKET
        case "+":
            return 1, LONGEST_TICKET
        case "?":
            return 0, 1
    exact = repeat[1]
    return int(exact or repeat[2] or 0), int(exact or repeat[3] or LONGEST_TICKET)


def _repeated(ways: int, least: int, most: int) -> int:
    """Each time multiplies, each number of times adds."""
    total = 0
    for times in range(least, max(most, least) + 1):
        total += ways**times
        if total > _MOST_WAYS:
            break
    return min(total, _MOST_WAYS + 1)
