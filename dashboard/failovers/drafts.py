"""A policy as somebody typed it, and the one sentence why it cannot stand.

Policies do not refer to each other, so there is nothing that could go round in a circle: each names groups of people,
and a group holds people only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from dashboard.accounts.models import Group
from dashboard.failovers import tickets
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.policy import ANYONE, Policy, Rules, Scope, Share
from dashboard.fleet import registry
from dashboard.fleet.models import Cluster
from dashboard.words import visible

TAG = "policy.refused"
MOST_PEOPLE = 20
MOST_MINUTES = 1440
MOST_PROMPT = 300

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_RESERVED = ("new",)  # the address of the page that makes one


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything as text. `shares` are the rows of the form: (group, count); a row that is empty does not count."""

    name: str
    cluster: str = ""
    path_prefix: str = ""
    tag: str = ""
    shares: tuple[tuple[str, str], ...] = ((ANYONE, "1"),)
    decide_minutes: str = "30"
    run_minutes: str = "15"
    break_glass: bool = False
    prompt: str = ""
    ticket_pattern: str = ""


def read(draft: Draft) -> Policy:
    """What the draft means. Raises Refused, with the field that is wrong."""
    name = draft.name.strip()
    if not _NAME.fullmatch(name) or name in _RESERVED:
        said = visible(name) or "Nothing"
        raise _refused(f"{said} is not a name; use up to 64 letters, digits, dashes and underscores.", "name")
    return Policy(
        name=name,
        scope=Scope(cluster=_cluster(draft.cluster), path_prefix=_prefix(draft.path_prefix), tag=_tag(draft.tag)),
        rules=Rules(
            names=(name,),
            shares=_shares(draft.shares),
            decide=_minutes(draft.decide_minutes, "decide_minutes"),
            run=_minutes(draft.run_minutes, "run_minutes"),
            break_glass=draft.break_glass,
            prompts=_prompt(draft.prompt),
            ticket_patterns=_pattern(draft.ticket_pattern),
        ),
    )


def of(there: Policy) -> Draft:
    """A policy as somebody would have typed it."""
    rules = there.rules
    return Draft(
        name=there.name,
        cluster=there.scope.cluster,
        path_prefix=there.scope.path_prefix,
        tag=there.scope.tag,
        shares=tuple((share.group, str(share.count)) for share in rules.shares),
        decide_minutes=str(rules.decide // timedelta(minutes=1)),
        run_minutes=str(rules.run // timedelta(minutes=1)),
        break_glass=rules.break_glass,
        prompt="".join(rules.prompts),
        ticket_pattern="".join(rules.ticket_patterns),
    )


def _refused(words: str, field: str) -> Refused:
    return Refused(words, field=field, tag=TAG)


def _cluster(typed: str) -> str:
    name = typed.strip()
    if name and not Cluster.objects.filter(name=name).exists():
        raise _refused(f"There is no cluster named {visible(name)}.", "cluster")
    return name


def _prefix(typed: str) -> str:
    if not typed.strip():
        return ""
    try:
        # `/` covers every path, which is what no prefix at all says.
        return registry.path_prefix(typed.strip()).rstrip("/")
    except registry.Refused as refused:
        raise _refused(str(refused), "path_prefix") from None


def _tag(typed: str) -> str:
    tag = typed.strip()
    if tag and not _TAG.fullmatch(tag):
        raise _refused(f"{visible(tag)} is not a tag; use up to 32 small letters, digits and dashes.", "tag")
    return tag


def _shares(rows: tuple[tuple[str, str], ...]) -> tuple[Share, ...]:
    known = set(Group.objects.values_list("name", flat=True))
    found: dict[str, int] = {}
    for position, (group, typed) in enumerate(rows, start=1):
        if not group and not typed.strip():
            continue
        words = f"of {visible(group)}" if group else "of any approver"
        if group and group not in known:
            raise _refused(f"There is no group {visible(group)}.", f"group_{position}")
        if group in found:
            raise _refused(f"The share {words} stands there twice.", f"group_{position}")
        count = _number(typed)
        if not 1 <= count <= MOST_PEOPLE:
            of = words if group else "other people"
            raise _refused(f"Say how many {of} must approve, 1 to {MOST_PEOPLE}.", f"count_{position}")
        found[group] = count
    if not found:
        raise _refused("Say who must approve: at least one other person.", "count_1")
    if sum(found.values()) > MOST_PEOPLE:
        raise _refused(f"Together more than {MOST_PEOPLE} people would have to approve.", "count_1")
    # Named groups first, "anybody else" last, so that equal rules are written equally.
    return tuple(Share(group=group, count=found[group]) for group in sorted(found, key=lambda g: (not g, g)))


def _minutes(typed: str, field: str) -> timedelta:
    minutes = _number(typed)
    if not 1 <= minutes <= MOST_MINUTES:
        raise _refused(f"Say it in minutes, 1 to {MOST_MINUTES}.", field)
    return timedelta(minutes=minutes)


def _number(typed: str) -> int:
    """0, which nothing here may be, for all that is not a short whole number."""
    text = typed.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0


def _prompt(typed: str) -> tuple[str, ...]:
    prompt = typed.strip()
    if len(prompt) > MOST_PROMPT:
        raise _refused(f"The prompt is longer than {MOST_PROMPT} characters.", "prompt")
    if visible(prompt) != prompt:
        raise _refused("The prompt holds a character that cannot be seen.", "prompt")
    return (prompt,) if prompt else ()


def _pattern(typed: str) -> tuple[str, ...]:
    pattern = typed.strip()
    words = tickets.fault(pattern)
    if words:
        raise _refused(words, "ticket_pattern")
    return (pattern,) if pattern else ()
