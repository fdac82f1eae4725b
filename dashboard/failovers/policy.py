"""Who must approve what: the rules of policies, without database or clock. Pure.

A policy covers a relationship when each condition that it gives holds (target cluster, prefix of the target path, tag).
Of those that cover it the most specific wins: the longest path prefix, then a tag, then a cluster. Where two are as
specific, the one that asks for more wins, then the first by name, so that the answer never depends on chance. Nothing
covers it: `DEFAULT`, one other person.

A request takes the rules of all its relationships together: of each group the largest share that any of them asks for,
the shortest times, break-glass only where all allow it.

One person is one vote. Whoever is in two groups stands for one of them, whichever leaves the most to the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce

ANYONE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`count` approvals by members of `group`; the group "" is any approver."""

    group: str = ANYONE
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one request needs. `names` are the policies that say so; empty: the default."""

    names: tuple[str, ...] = ()
    shares: tuple[Share, ...] = (Share(),)
    decide: timedelta = timedelta(minutes=30)
    run: timedelta = timedelta(minutes=15)
    break_glass: bool = False
    prompts: tuple[str, ...] = ()
    ticket_patterns: tuple[str, ...] = ()

    @property
    def required(self) -> int:
        """How many people must approve: one person stands for one share only."""
        return sum(share.count for share in self.shares)


DEFAULT = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a policy holds; a condition that is "" is not given. `path_prefix` has no slash at its end."""

    cluster: str = ""
    path_prefix: str = ""
    tag: str = ""

    def covers(self, cluster: str, path: str, tags: Collection[str]) -> bool:
        return (
            (not self.cluster or self.cluster == cluster)
            and (not self.tag or self.tag in tags)
            and _below(path, self.path_prefix)
        )

    def within(self, other: Scope) -> bool:
        """Whether the other covers everything that this one covers."""
        return (
            other.cluster in ("", self.cluster)
            and other.tag in ("", self.tag)
            and _below(self.path_prefix, other.path_prefix)
        )

    def meets(self, other: Scope) -> bool:
        """Whether some relationship, of today or to come, can be covered by both."""
        return (not self.cluster or not other.cluster or self.cluster == other.cluster) and (
            _below(self.path_prefix, other.path_prefix) or _below(other.path_prefix, self.path_prefix)
        )

    @property
    def specificity(self) -> tuple[int, bool, bool]:
        return len(self.path_prefix), bool(self.tag), bool(self.cluster)


def _below(path: str, prefix: str) -> bool:
    """Whole components only: `/dr/a` covers `/dr/a/` and `/dr/a/b`, and not `/dr/ab`."""
    return not prefix or f"{path.rstrip('/')}/".startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as it is written: where it holds, and what it asks for there."""

    name: str
    scope: Scope = Scope()
    rules: Rules

    @property
    def rank(self) -> tuple[object, ...]:
        """The lowest wins. What asks for more comes first among those that are as specific, so a policy that is made
        stronger never loses to one that it beat before."""
        length, tag, cluster = self.scope.specificity
        rules = self.rules
        named = sum(share.count for share in rules.shares if share.group != ANYONE)
        most = (-rules.required, -named, rules.break_glass, rules.decide, rules.run, not rules.ticket_patterns)
        return -length, not tag, not cluster, *most, self.name


def covering(policies: Iterable[Policy], cluster: str, path: str, tags: Collection[str]) -> list[Policy]:
    """Those that cover a relationship; the first one wins."""
    return sorted((each for each in policies if each.scope.covers(cluster, path, tags)), key=lambda each: each.rank)


def together(rules: Iterable[Rules]) -> Rules:
    """The rules of several relationships as one."""
    return reduce(_both, rules, None) or DEFAULT


def _both(one: Rules | None, other: Rules) -> Rules:
    if one is None:
        return other
    counts: dict[str, int] = {}
    for share in (*one.shares, *other.shares):
        if share.group != ANYONE:
            counts[share.group] = max(counts.get(share.group, 0), share.count)
    # Whoever stands for a group is somebody, too: "anybody" and "two of storage" are two people together, not three.
    anyone = max(one.required, other.required) - sum(counts.values())
    if anyone > 0:
        counts[ANYONE] = anyone
    return Rules(
        names=_merged(one.names, other.names),
        shares=tuple(Share(group=group, count=count) for group, count in counts.items()),
        decide=min(one.decide, other.decide),
        run=min(one.run, other.run),
        break_glass=one.break_glass and other.break_glass,
        prompts=_merged(one.prompts, other.prompts),
        ticket_patterns=_merged(one.ticket_patterns, other.ticket_patterns),
    )


def _merged(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def lacking(shares: Iterable[Share], voters: Mapping[int, Collection[str]]) -> tuple[Share, ...]:
    """What is still needed when these persons (key → their groups) have approved; () when it is enough.

    Every vote is placed where it leaves the fewest places open, by moving earlier ones (augmenting paths): with
    first-come places somebody who is in two groups could block the only place that another person can fill.
    """
    places = [share.group for share in shares for _ in range(share.count)]
    taken: dict[int, int] = {}  # place → person

    def place(person: int, tried: set[int]) -> bool:
        for index, group in enumerate(places):
            if index in tried or (group != ANYONE and group not in voters[person]):
                continue
            tried.add(index)
            if index not in taken or place(taken[index], tried):
                taken[index] = person
                return True
        return False

    for person in sorted(voters):
        place(person, set())
    open_places: dict[str, int] = {}
    for index, group in enumerate(places):
        if index not in taken:
            open_places[group] = open_places.get(group, 0) + 1
    return tuple(Share(group=group, count=count) for group, count in open_places.items())
