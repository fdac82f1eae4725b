"""Which entries of the ledger people are told, whom each concerns, and in what words.

Everything is taken from the ledger itself, so a notice says what was recorded and nothing else. What clusters and
people wrote goes out as plain text in which nothing can act: no mention, no markup, no address but the
one of this desk.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from dashboard.accounts.models import User
from dashboard.accounts.people import groups_of, people_with
from dashboard.accounts.roles import Role
from dashboard.audit.models import Entry, Head
from dashboard.audit.tags import words_of
from dashboard.words import visible

ASKED = ("request.made", "request.break-glass")
URGENT = ("request.made", "request.break-glass", "request.expiring", "failover.concern", "review.overdue")
TOLD = (
    *URGENT,
    *("decision.made", "request.approved", "request.rejected", "request.cancelled", "request.expired"),
    *("failover.sent", "failover.succeeded", "failover.refused", "failover.stopped", "failover.closed"),
    *("hold.set", "hold.lifted", "policy.proposed", "notice.failed"),
)
LONGEST = 400  # characters of anything that somebody else wrote; most chats cut a message at 2000
# What chats, mail programs and HTML act on. A path may hold any of it, and it stays readable.
_TAME = str.maketrans({"@": "＠", "<": "‹", ">": "›", "`": "ˋ", "[": "［", "]": "］"})


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out for one entry, or for a run of entries about the items of one request."""

    id: str
    seq: int
    tag: str
    object: str
    title: str
    lines: tuple[str, ...]
    link: str

    @property
    def body(self) -> str:
        return "\n".join((*self.lines, *filter(None, [self.link]), f"Entry {self.seq} of the audit trail"))


def number_of(entry: Entry) -> str:
    """The request that an entry is about, `FO-1042` for the item FO-1042/3, too; "" for another subject."""
    return entry.object.partition("/")[0] if entry.object.startswith("FO-") else ""


def is_news(entry: Entry) -> bool:
    """Break-glass is one piece of news: that it was also asked for, and approved by nobody, says its own entry."""
    if entry.tag not in ("request.made", "request.approved"):
        return True
    return not _asked(number_of(entry)).break_glass


def concerned(entries: Sequence[Entry]) -> list[frozenset[int]]:
    """For each entry the persons who get mail about it. Whoever did it knows, and is left out."""
    known: dict[tuple[str, str], set[int]] = {}  # two hundred items of one request have one audience
    found = []
    for entry in entries:
        key = (number_of(entry) or entry.object, entry.tag)
        if key not in known:
            known[key] = _audience(*key)
        actor = entry.record.get("actor")
        found.append(frozenset(known[key] - ({actor.get("person")} if isinstance(actor, dict) else set())))
    return found


def _audience(subject: str, tag: str) -> set[int]:
    if subject.startswith("FO-"):
        asked = _asked(subject)
        clusters = {str(item.get("target_cluster")) for item in asked.items}
        if tag == "request.break-glass":
            active = User.objects.filter(is_active=True)
            return {user.person_id for user in active if all(user.sees(name) for name in clusters)}
        deciding = _approvers(clusters, asked.groups)
        return deciding | ({asked.requester} if asked.requester else set()) | _admins_about(tag)
    if subject.startswith("hold:"):
        at = [name for name in [subject.removeprefix("hold:")] if name != "all"]
        acting = {user.person_id for role in (Role.OPERATOR, Role.APPROVER) for user in people_with(role, at=at)}
        return acting | _with(Role.ADMIN)
    return _with(Role.ADMIN)  # a policy that waits, a channel that is dead


def _admins_about(tag: str) -> set[int]:
    return _with(Role.ADMIN) if tag == "review.overdue" else set()


def _with(role: Role) -> set[int]:
    return {user.person_id for user in people_with(role)}


def _approvers(clusters: set[str], groups: frozenset[str]) -> set[int]:
    """Who can decide: approvers for all of these clusters; of these groups, unless any approver will do."""
    able = {user.person_id for user in people_with(Role.APPROVER, at=clusters)}
    if not groups or "" in groups:
        return able
    return {person for person, names in groups_of(able).items() if names & groups}


@dataclass(frozen=True, slots=True)
class _Asked:
    requester: int | None = None
    items: tuple[dict[str, Any], ...] = ()
    groups: frozenset[str] = frozenset()
    drill: bool = False
    break_glass: bool = False
    reason: str = ""
    ticket: str = ""

    def target(self, about: str) -> str:
        """Of the one item that something is about; "" for the request as a whole."""
        place = about.partition("/")[2] or "1"
        alone = "/" in about or len(self.items) == 1
        if not (alone and place.isdecimal() and 0 < int(place) <= len(self.items)):
            return ""
        item = self.items[int(place) - 1]
        return f"{item.get('target_cluster')}:{item.get('target_root_path')}"

    @property
    def marks(self) -> str:
        marks = (["break-glass"] if self.break_glass else []) + (["drill"] if self.drill else [])
        return f" ({', '.join(marks)})" if marks else ""


def _asked(number: str) -> _Asked:
    """What was asked, as the ledger has it. An entry that somebody damaged yields what can still be read."""
    for entry in Entry.objects.filter(object=number, tag="request.made").order_by("seq"):
        record = entry.record
        try:
            plan = json.loads(record["detail"]["plan"])
            return _Asked(
                requester=record["actor"]["person"],
                items=tuple(plan["items"]),
                groups=frozenset(str(share["group"]) for share in plan.get("shares", [])),
                drill=plan.get("mode") == "drill",
                break_glass=bool(plan.get("break_glass")),
                reason=str(plan.get("reason", "")),
                ticket=str(plan.get("ticket", "")),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return _Asked()


# ── Words ────────────────────────────────────────────────────────────────────


def message(entries: Sequence[Entry]) -> Message:
    """`entries` is one entry, or several of one request."""
    last = entries[-1]
    number = number_of(last)
    asked = _asked(number) if number else _Asked()
    subject = number or last.object.partition(":")[2] or "Failover Desk"
    what = words_of(last.tag) if len(entries) == 1 else f"{len(entries)} events"
    return Message(
        id=f"failover-desk/{Head.objects.values_list('instance', flat=True).get()}/{last.seq}",
        seq=last.seq,
        tag=last.tag,
        object=last.object,
        title=tame(f"{subject}{asked.marks}: {what}"),
        lines=tuple(_one(last, asked) if len(entries) == 1 else _many(entries)),
        link=_link(number),
    )


def trial() -> Message:
    instance = Head.objects.values_list("instance", flat=True).get()
    words = "This is a test. Whoever reads it will be told of failovers."
    return Message(f"failover-desk/{instance}/test", 0, "test", "", "Failover Desk: test", (words,), _link(""))


def _one(entry: Entry, asked: _Asked) -> list[str]:
    record = entry.record
    actor, detail = record.get("actor"), record.get("detail")
    who = actor.get("label") if isinstance(actor, dict) and actor.get("kind") != "system" else ""
    words = str(record.get("words") or words_of(entry.tag))
    lines = [tame(f"{who}: {words}" if who else words)]
    target = asked.target(entry.object)
    lines += [tame(target)] if target else []
    detail = detail if isinstance(detail, dict) else {}
    if entry.tag in ASKED:
        lines += [f"Reason: {tame(asked.reason)}"] if asked.reason else []
        lines += [f"Ticket: {tame(asked.ticket)}"] if asked.ticket else []
        lines += [f"Decide by {_clock(detail['decide_by'])}"] if detail.get("decide_by") else []
    elif detail.get("comment"):
        lines.append(f"Comment: {tame(str(detail['comment']))}")
    return [*lines, "Deciding needs a sign-in."] if entry.tag in ("request.made", "request.expiring") else lines


def _many(entries: Sequence[Entry]) -> list[str]:
    counts = Counter(entry.tag for entry in entries)
    return [f"{count} × {words_of(tag)}" for tag, count in counts.items()]


def _clock(stamp: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(stamp)):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return tame(str(stamp))


def tame(text: str) -> str:
    """On one line, bounded, and without anything that a chat or a mail program would act on."""
    line = visible(" ".join(text.split())).translate(_TAME).replace("://", ":∕∕")
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"


def _link(number: str) -> str:
    if not settings.DESK_URL:
        return ""
    return f"{settings.DESK_URL}/failovers/{number}/" if number else f"{settings.DESK_URL}/"
