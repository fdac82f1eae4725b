"""What a browser may send. A form holds exactly the fields that its page has, each once; anything else was not made by
our page and is answered with 400. What the fields say is judged by the verbs of `failovers`, in sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import QueryDict

from dashboard.failovers.models import Mode
from dashboard.web import confirm

# Characters that mean something in a pattern. Only these may be escaped: browsers compile patterns with the `v` flag
# and ignore one that escapes anything else, which is what re.escape would do to every dash.
_SYNTAX = re.compile(r"[\\^$.*+?()\[\]{}|/]")
_PLACE = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_ORDER, _TAKE = (re.compile(rf"{name}-([1-9][0-9]{{0,17}})", re.ASCII) for name in ("order", "take"))
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


def nonce_of(values: Mapping[str, str]) -> UUID | None:
    """Of a form that is given back: what was confirmed for it stays good."""
    try:
        return UUID(values.get("nonce", ""))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The dialog. `nonce` was made with the form, so that a double click is one request."""

    typed: str
    reason: str
    ticket: str
    mode: str
    nonce: UUID
    break_glass: bool

    FIELDS: ClassVar = ("typed", "reason", "ticket", "mode", "nonce", "act", *confirm.FIELDS)

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        return cls.made(read(post, cls.FIELDS))

    @classmethod
    def made(cls, values: dict[str, str]) -> Self:
        nonce = nonce_of(values)
        if nonce is None:
            raise BadRequest("The form has no nonce.")
        if values["act"] not in ("", "request", "break-glass"):
            raise BadRequest("The form says neither request nor break-glass.")
        return cls(
            typed=values["typed"],
            reason=values["reason"],
            ticket=values["ticket"],
            mode=values["mode"] or Mode.UNPLANNED,
            nonce=nonce,
            break_glass=values["act"] == "break-glass",
        )

    @property
    def kept(self) -> dict[str, str]:
        """What comes back into the form when it is refused."""
        return {"typed": self.typed, "reason": self.reason, "ticket": self.ticket, "mode": self.mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the page that asks for several: its place as it was typed, and whether its box is on."""

    pk: int
    order: str
    taken: bool

    @property
    def place(self) -> int:
        """0 when what was typed is no place."""
        return int(self.order) if _PLACE.fullmatch(self.order) else 0


def lines_of(names: Iterable[str], value: Callable[[str], str]) -> list[Line]:
    """The lines of a form, in its order: each has an `order-…`, and a `take-…` when its box is on."""
    return [
        Line(pk=int(found[1]), order=value(name).strip(), taken=bool(value(f"take-{found[1]}")))
        for name in names
        if (found := _ORDER.fullmatch(name))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSeveral:
    """The page that asks for several: the dialog's fields once, and a line for each relationship that it shows."""

    ask: Ask
    lines: list[Line]
    look: bool  # asks for nothing but the page again

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        shown = [name for name in post if _ORDER.fullmatch(name) or _TAKE.fullmatch(name)]
        values = read(post, (*Ask.FIELDS, *shown))
        lines = lines_of(shown, lambda name: values.get(name, ""))
        if {f"take-{line.pk}" for line in lines if line.taken} != {name for name in shown if _TAKE.fullmatch(name)}:
            raise BadRequest("The form takes a relationship that it does not show.")
        look = values["act"] == "look"
        return cls(ask=Ask.made(values | {"act": ""} if look else values), lines=lines, look=look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """A decision. `digest` is of the request as the page showed it, `changed` of the changed facts that it named: ""
    unless the person ticked them."""

    verdict: Literal["approve", "reject"]
    comment: str
    digest: str
    changed: str

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        values = read(post, ("decision", "comment", "digest", "changed", "seen", *confirm.FIELDS))
        match values["decision"]:
            case "approve" | "reject" as verdict:
                return cls(
                    verdict=verdict,
                    comment=values["comment"].strip(),
                    digest=values["digest"],
                    changed=values["changed"] if values["seen"] else "",
                )
        raise BadRequest("The form says neither approve nor reject.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What somebody found who looked at a break-glass afterwards."""

    comment: str

    @classmethod
    def of(cls, post: QueryDict) -> Self:
        return cls(comment=read(post, ("comment", *confirm.FIELDS))["comment"].strip())


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
