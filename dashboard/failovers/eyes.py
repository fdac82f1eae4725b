"""Whose approval a request has, still needs, and could get. Persons are counted, never accounts (rule 9).

Whether a vote counts is decided when it is given (`conduct`), by the database again when the last one moves the
failovers (`guards`), and once more when one is sent (`still_good`): an approver who has lost the role by then, or the
group, no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q

from dashboard.accounts.models import Person, User
from dashboard.accounts.people import groups_of, people_with
from dashboard.accounts.roles import Role
from dashboard.failovers import policy
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.models import Decision, Failover, Hold, Request
from dashboard.failovers.policy import ANYONE, Share
from dashboard.fleet.models import Cluster


def clusters_of(asked: Request) -> list[str]:
    """Names of the target clusters, in order."""
    found = Cluster.objects.filter(relationships__failovers__request=asked).order_by("name").distinct()
    return list(found.values_list("name", flat=True))


def shares_of(asked: Request) -> list[Share]:
    return [Share(group=share.group, count=share.count) for share in asked.shares.all()]


def approvals(asked: Request) -> list[Decision]:
    """The votes for exactly what was asked."""
    return [vote for vote in asked.decisions.all() if vote.verdict == "approve" and vote.digest == asked.digest]


def voters(votes: Iterable[Decision]) -> dict[int, frozenset[str]]:
    """Person's key → the groups that the person was in when voting."""
    return {vote.person_id: frozenset(filter(None, vote.groups.split(","))) for vote in votes}


def lacking(asked: Request) -> tuple[Share, ...]:
    return policy.lacking(shares_of(asked), voters(approvals(asked)))


def counts(shares: list[Share], has: dict[int, frozenset[str]], person: int, groups: frozenset[str]) -> bool:
    """Whether the vote of this person would fill a place. One that fills none now never will: others only take more."""
    before = sum(share.count for share in policy.lacking(shares, has))
    return sum(share.count for share in policy.lacking(shares, has | {person: groups})) < before


def able(clusters: Iterable[str], *, excluding: Person | None = None) -> dict[int, str]:
    """Who may approve for every one of these clusters: person's key → label. The requester is never among them."""
    accounts = people_with(Role.APPROVER, at=clusters)
    return {user.person_id: user.person.label for user in accounts if user.person != excluding}


def approvers(clusters: Iterable[str] = (), *, excluding: Person | None = None) -> list[str]:
    """Who could decide, by name."""
    return sorted(able(clusters, excluding=excluding).values())


@dataclass(frozen=True, slots=True)
class Missing:
    """Approvals that are still needed, and who could give them; no names: nobody can."""

    share: Share
    names: tuple[str, ...]


def missing(asked: Request) -> list[Missing]:
    """What a request waits for, share by share. Somebody in two groups is named at both."""
    voted = {vote.person_id for vote in asked.decisions.all()}
    left = {person: label for person, label in _able_for(asked).items() if person not in voted}
    groups = groups_of(left)
    return [
        Missing(
            share,
            tuple(sorted(left[person] for person in left if share.group in (ANYONE, *groups[person]))),
        )
        for share in lacking(asked)
    ]


def _able_for(asked: Request) -> dict[int, str]:
    return able(clusters_of(asked), excluding=asked.requester)


def may_decide(user: User, clusters: Iterable[str]) -> bool:
    return all(user.has(Role.APPROVER, name) for name in clusters)


def active_hold(cluster_name: str) -> Hold | None:
    return Hold.objects.filter(Q(scope="") | Q(scope=cluster_name), lifted_at=None).order_by("at").first()


def still_good(failover: Failover) -> None:
    """Asked inside the intent's transaction: no hold stands, and the approvals still come from people who may give
    them; for break-glass, from an operator. Or Refused."""
    name = failover.relationship.cluster.name
    hold = active_hold(name)
    if hold:
        raise Refused(f"Nothing is sent: {hold.reason}")
    asked = failover.request
    if asked.break_glass:
        if asked.requester_id not in {user.person_id for user in people_with(Role.OPERATOR, at=[name])}:
            raise Refused("Whoever broke the glass may no longer ask for failovers; it does not count any more.")
        return
    # The whole request was approved as one, so its approvers must still be able to decide on all of it.
    permitted = _able_for(asked)
    votes = asked.decisions.filter(verdict="approve", digest=asked.digest).values_list("person_id", flat=True)
    if policy.lacking(shares_of(asked), groups_of(set(votes) & permitted.keys())):
        raise Refused("An approver may no longer approve; the approval does not count any more.")
