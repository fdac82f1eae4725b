"""What a browser may send. A form holds exactly the fields that its page has, each once; anything else was not made by
our page and is answered with 400. What the fields say is judged by the verbs of `failovers`, in sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import QueryDict

# Characters that mean something in a pattern. Only these may be escaped: browsers compile patterns with the `v` flag
# and ignore one that escapes anything else, which is what re.escape would do to every dash.
_SYNTAX = re.compile(r"[\\^$.*+?()\[\]{}|/]")
_NUMBER = re.compile(r"FO-([1-9][0-9]{0,15})", re.ASCII)


def pattern_of(text: str) -> str:
    """The text as an HTML `pattern` that matches nothing but itself."""
    return _SYNTAX.sub(r"\\\g<0>", text)


def number_of(text: str) -> int:
    """`FO-1001` → 1001; 0, which no request ever has, for anything else."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else 0


def read(post: QueryDict, fields: Iterable[str] = ()) -> dict[str, str]:
    """The fields as they were typed, "" for one that is missing. Raises BadRequest for a field that is doubled, that
    the form does not have, or that holds a NUL (which no browser types and PostgreSQL cannot store)."""
    names = list(fields)
    if set(post) - {*names, "csrfmiddlewaretoken"}:
        raise BadRequest("The form holds a field that this page does not have.")
    if any(len(post.getlist(name)) > 1 for name in post):
        raise BadRequest("The form holds a field twice.")
    values = {name: post.get(name, "").replace("\r\n", "\n") for name in names}
    if any("\0" in value for value in values.values()):
        raise BadRequest("The form holds a character that cannot be stored.")
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The dialog. `nonce` was made with the form, so that a double click is one request."""

    typed: str
    reason: str
    ticket: str
    nonce: UUID

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        values = read(post, ("typed", "reason", "ticket", "nonce"))
        try:
            nonce = UUID(values.pop("nonce"))
        except ValueError:
            raise BadRequest("The form has no nonce.") from None
        return cls(**values, nonce=nonce)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """A decision. `digest` is of the request as the page showed it, `changed` of the changed facts that it named, and
    `seen` says that the person ticked them."""

    verdict: Literal["approve", "reject"]
    comment: str
    digest: str
    changed: str
    seen: bool

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        values = read(post, ("decision", "comment", "digest", "changed", "seen"))
        match values["decision"]:
            case "approve" | "reject" as verdict:
                return cls(
                    verdict=verdict,
                    comment=values["comment"].strip(),
                    digest=values["digest"],
                    changed=values["changed"],
                    seen=bool(values["seen"]),
                )
        raise BadRequest("The form says neither approve nor reject.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Ending a doubt. The button says which outcome it is."""

    outcome: Literal["not_applied", "other"]
    reason: str

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        values = read(post, ("outcome", "reason"))
        match values["outcome"]:
            case "not_applied" | "other" as outcome:
                return cls(outcome=outcome, reason=values["reason"])
        raise BadRequest("The form says no outcome.")
