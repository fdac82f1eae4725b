"""Who must approve, and who can, in words; before there is a request, and while it waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.accounts.models import User
from dashboard.accounts.people import groups_of
from dashboard.failovers import eyes, policies
from dashboard.failovers.policy import ANYONE, Rules, Share, lacking
from dashboard.fleet.models import Relationship
from dashboard.web.course import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the policies ask of a request that this person would make, and who could give it. `nobody`: what nobody
    could, "" when all is well. `at_once`: how many start at once on a cluster, where it is fewer than are asked for;
    the others have no more time to start than these."""

    rules: Rules
    needed: str
    who: str
    nobody: str
    at_once: int | None = None


def terms(rows: Sequence[Relationship], user: User) -> Terms:
    rules = policies.rules_for(rows)
    on = Counter(row.cluster_id for row in rows)
    able = eyes.able({row.cluster.name for row in rows}, excluding=user.person)
    groups = groups_of(able)
    impossible = lacking(rules.shares, {person: groups[person] for person in able})
    by_share = [
        (share, sorted(able[person] for person in able if share.group in (ANYONE, *groups[person])))
        for share in rules.shares
    ]
    who = ""
    if [share.group for share in rules.shares] == [ANYONE]:
        names = by_share[0][1]
        if names:
            targets = listed(sorted({row.cluster.name for row in rows}))
            who = _("%(names)s can approve for %(targets)s.") % {"names": listed(names), "targets": targets}
    else:
        who = _sentence("; ".join(f"{of_group(share)}: {can(names)}" for share, names in by_share) + ".")
    return Terms(
        rules=rules,
        needed=needed(rules.shares),
        who=who,
        nobody=listed([of_group(share) for share in impossible]),
        at_once=settings.AT_ONCE if max(on.values(), default=0) > settings.AT_ONCE else None,
    )


def needed(shares: Iterable[Share]) -> str:
    """`One other person must approve.`, `Two of storage and one of security must approve.`"""
    shares = list(shares)
    people = sum(share.count for share in shares)
    if [share.group for share in shares] == [ANYONE]:
        words = ngettext("%(n)s other person must approve.", "%(n)s other people must approve.", people)
        return _sentence(words % {"n": _number(people)})
    return _sentence(_("%s must approve.") % listed([of_group(share) for share in shares])) if shares else ""


def can(names: Sequence[str]) -> str:
    """`k.osei or m.chen can`, `nobody can`."""
    if not names:
        return _("nobody can")
    if len(names) == 1:
        return _("%s can") % names[0]
    return _("%(names)s or %(last)s can") % {"names": ", ".join(names[:-1]), "last": names[-1]}


def of_group(share: Share) -> str:
    """`two of storage`, `one other person`."""
    if share.group == ANYONE:
        words = ngettext("%s other person", "%s other people", share.count)
        return words % _number(share.count)
    return _("%(n)s of %(group)s") % {"n": _number(share.count), "group": share.group}


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _number(n: int) -> str:
    small = (_("one"), _("two"), _("three"), _("four"), _("five"))
    return small[n - 1] if n <= len(small) else str(n)
