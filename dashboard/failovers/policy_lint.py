"""What would fail in the night is said by day: policies that nobody could satisfy, that ask for groups that are not
there, that cover nothing, or that meet as equals.

Persons are counted, not accounts, and only where their roles hold. Red: somebody who may ask there cannot get a
failover approved. Amber: probably not what was meant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from django.db.models import Count, F

from dashboard.accounts.models import Group, User
from dashboard.accounts.people import groups_of, people_with
from dashboard.accounts.roles import Role
from dashboard.failovers import policies
from dashboard.failovers.policy import ANYONE, DEFAULT, Policy, Rules, Share, covering, lacking, together
from dashboard.failovers.weakening import approvals, number, people
from dashboard.fleet.models import Cluster, Relationship
from dashboard.fleet.tags import tags_of
from dashboard.words import bare, visible

_NAMED = 4  # more people than these are a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`policy` is "" for the default and for what concerns several."""

    level: Literal["red", "amber"]
    policy: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Which policy rules where today. `ruled` counts relationships by policy ("" is the default) and cluster, `covered`
    also those where another policy wins; `ties` are the relationships on which two equally specific ones meet."""

    policies: tuple[Policy, ...]
    ruled: Mapping[str, Mapping[str, int]]
    covered: Mapping[str, int]
    ties: Mapping[tuple[str, str], Sequence[str]]

    def count(self, name: str) -> int:
        """How many relationships it rules; it may cover more, where another is more specific."""
        return sum(self.ruled.get(name, {}).values())

    def asks_for_more(self, first: str, second: str) -> bool:
        """Whether that, and not the alphabet, decides between two that are equally specific."""
        rank = {policy.name: policy.rank[:-1] for policy in self.policies}
        return rank[first] != rank[second]


def survey() -> Survey:
    listed = Relationship.objects.listed().annotate(on=F("cluster__name")).only("cluster_id", "target_root_path")
    rows = list(listed.order_by("on", "target_root_path", "pk"))
    tags = tags_of(rows)
    standing = policies.standing()
    ruled: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    covered: Counter[str] = Counter()
    ties: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        cluster: str = row.on  # type: ignore[attr-defined]  # annotated above
        path = row.target_root_path
        found = covering(standing, cluster, path, tags[row.pk])
        ruled[found[0].name if found else ""][cluster] += 1
        covered.update(each.name for each in found)
        if len(found) > 1 and found[0].scope.specificity == found[1].scope.specificity:
            ties[found[0].name, found[1].name].append(f"{cluster}:{bare(path)}")
    return Survey(policies=tuple(standing), ruled=ruled, covered=covered, ties=ties)


def lint(found: Survey | None = None) -> list[Finding]:
    """Red before amber."""
    found = found or survey()
    members = {group.name: group.people for group in Group.objects.annotate(people=Count("members"))}
    known = frozenset(Cluster.objects.values_list("name", flat=True))
    voters = _Voters.read()
    rules = {policy.name: policy.rules for policy in found.policies}
    hollow = [each for policy in found.policies for each in _groups(policy, members)]
    broken = {each.policy for each in hollow}  # said once, not once more for each cluster
    every = [
        *hollow,
        *(
            each
            for name, rule in {**rules, "": DEFAULT}.items()
            if name not in broken
            for cluster in found.ruled.get(name, {})
            for each in _satisfiable(name, rule.shares, cluster, voters)
        ),
        *_at_once(found, {name: rule for name, rule in rules.items() if name not in broken}, voters),
        *_idle(found, known),
        *_ties(found),
    ]
    return sorted(every, key=lambda each: each.level != "red")


def summary(findings: Iterable[Finding]) -> str:
    """`red: 2, amber: 1`; `in order` when there is nothing to say."""
    levels = [each.level for each in findings]
    return ", ".join(f"{level}: {levels.count(level)}" for level in ("red", "amber") if level in levels) or "in order"


# ── Persons ──


@dataclass(frozen=True, slots=True)
class _Voters:
    """Everybody who may ask or decide anywhere, with their accounts and groups."""

    operators: Sequence[User]
    approvers: Sequence[User]
    groups: Mapping[int, frozenset[str]]

    @classmethod
    def read(cls) -> _Voters:
        approvers = people_with(Role.APPROVER)
        return cls(people_with(Role.OPERATOR), approvers, groups_of(user.person_id for user in approvers))

    def at(self, cluster: str, shares: Iterable[Share]) -> dict[int, list[User]]:
        """Persons who may approve there and fill a place of these shares, each with their accounts for it."""
        wanted = {share.group for share in shares}
        found: defaultdict[int, list[User]] = defaultdict(list)
        for user in self.approvers:
            if user.has(Role.APPROVER, cluster) and (ANYONE in wanted or wanted & self.groups[user.person_id]):
                found[user.person_id].append(user)
        return found

    def lack(self, shares: Iterable[Share], persons: Iterable[int]) -> tuple[Share, ...]:
        return lacking(shares, {person: self.groups[person] for person in persons})


def _satisfiable(name: str, shares: Sequence[Share], cluster: str, voters: _Voters) -> Iterator[Finding]:
    """Of a policy, or the default, on a cluster where it rules today."""
    title = f"{_title(name)} on {visible(cluster)}"
    needed = f"{approvals(shares)} must approve"
    persons = voters.at(cluster, shares)
    if voters.lack(shares, persons):
        words = f"{title}: {needed}, and {_only(persons, 'can approve there', 'can approve there')}."
        yield Finding(level="red", policy=name, words=words + _twice(persons))
        return
    if len(persons) == 1 and _twice(persons):
        words = f"{title}: {_only(persons, 'can approve there', '')}."
        yield Finding(level="amber", policy=name, words=words + _twice(persons))
    asking = {user.person_id: user.person.label for user in voters.operators if user.has(Role.OPERATOR, cluster)}
    # Whoever cannot approve takes nobody away by asking.
    for person in sorted(asking.keys() & persons.keys(), key=asking.__getitem__):
        others = {key: accounts for key, accounts in persons.items() if key != person}
        if voters.lack(shares, others):
            left = _only(others, "is left", "are left")
            words = f"{title}: when {visible(asking[person])} asks, {left}, and {needed}."
            yield Finding(level="red", policy=name, words=words + _twice(others))


def _at_once(found: Survey, rules: Mapping[str, Rules], voters: _Voters) -> Iterator[Finding]:
    """A whole cluster in one request takes the rules of all its policies together."""
    for cluster in sorted({cluster for places in found.ruled.values() for cluster in places}):
        names = [name for name, places in found.ruled.items() if cluster in places and (not name or name in rules)]
        every = [rules.get(name, DEFAULT).shares for name in names]
        shares = together(rules.get(name, DEFAULT) for name in names).shares
        alone = any(voters.lack(each, voters.at(cluster, each)) for each in every)  # is red already
        persons = voters.at(cluster, shares)
        if not alone and voters.lack(shares, persons):
            yield Finding(
                level="amber",
                policy="",
                words=f"All of {visible(cluster)} in one request: {approvals(shares)} must approve, and "
                f"{_only(persons, 'can approve there', 'can approve there')}. Ask in several requests.",
            )


# ── Policies ──


def _groups(policy: Policy, members: Mapping[str, int]) -> Iterator[Finding]:
    for share in policy.rules.shares:
        if share.group != ANYONE and not members.get(share.group):
            why = "nobody is in that group" if share.group in members else "there is no such group"
            words = f"{_title(policy.name)}: {number(share.count)} of {visible(share.group)} must approve, and {why}."
            yield Finding(level="red", policy=policy.name, words=words)


def _idle(found: Survey, known: frozenset[str]) -> Iterator[Finding]:
    for policy in found.policies:
        cluster = policy.scope.cluster
        if cluster and cluster not in known:
            why = f"there is no cluster {visible(cluster)} any more"
        elif found.covered[policy.name]:
            continue
        else:
            why = "no relationship is covered by it today"
        yield Finding(level="amber", policy=policy.name, words=f"{_title(policy.name)} has no effect: {why}.")


def _ties(found: Survey) -> Iterator[Finding]:
    for (first, second), paths in found.ties.items():
        more = f" and {len(paths) - 1} more" if paths[1:] else ""
        words = (
            f"{_title(first)} and {second} are equally specific on {paths[0]}{more}. {first} wins there: it "
            f"{'asks for more' if found.asks_for_more(first, second) else 'is the first by name'}."
        )
        yield Finding(level="amber", policy=first, words=words)


# ── Words ──


def _title(name: str) -> str:
    return f"Policy {name}" if name else "The default"


def _only(persons: Mapping[int, Sequence[User]], one: str, many: str) -> str:
    """`nobody is left`, `only j.lind is left`, `only j.lind and k.osei are left`, `only 7 people are left`."""
    labels = sorted(visible(accounts[0].person.label) for accounts in persons.values())
    if not labels:
        return f"nobody {one}"
    if len(labels) == 1:
        return f"only {labels[0]} {one}"
    names = people(len(labels)) if len(labels) > _NAMED else f"{', '.join(labels[:-1])} and {labels[-1]}"
    return f"only {names} {many}"


def _twice(persons: Mapping[int, Sequence[User]]) -> str:
    """What surprises whoever counted accounts."""
    several = [accounts for accounts in persons.values() if len(accounts) > 1]
    return "".join(
        f" {visible(accounts[0].person.label)} counts once, with {number(len(accounts))} accounts."
        for accounts in several
    )
