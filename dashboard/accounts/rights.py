"""The power over failovers: who has which roles, and who is in the groups that policies name. Each verb is one
transaction with its ledger entries, which keep what was before.

Nobody decides it about themselves: an account that changes roles or groups of its own person is refused. Only the
shell, the root of trust, is nobody's account.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from django.db import IntegrityError, transaction

from dashboard.accounts.models import Group, Person, User
from dashboard.accounts.people import (
    Refused,
    account_named,
    groups_of,
    known_roles,
    listed,
    not_their_own,
    person_labelled,
)
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag

_GROUP = re.compile(r"[A-Za-z0-9_-]{1,32}")

# What an entry of the ledger is to say: tag, object, words, detail.
_Line: TypeAlias = tuple[Tag, str, str, "dict[str, chain.JSON]"]


def check(user: User, *, roles: Sequence[str], groups: Sequence[str], seen: str, actor: Actor) -> None:
    """Raises Refused when `grant` would. Ask before somebody confirms who they are: a confirmation is good for once."""
    known = known_roles(roles)
    if seen != version_of(user):
        raise Refused(f"Somebody else has changed {user.username} since this page was made. Look at it again.")
    not_their_own(actor, user.person_id)
    if missing := sorted(set(groups) - set(Group.objects.values_list("name", flat=True))):
        raise Refused(f"There is no group {missing[0]}.")
    if known == user.roles and set(groups) == groups_of([user.person_id])[user.person_id]:
        raise Refused("Nothing is different from before.")


def grant(name: str, *, roles: Sequence[str], groups: Sequence[str], seen: str, auth: str, actor: Actor) -> User:
    """Replace an account's roles and the groups of its person, as one page shows them together. `seen` is `version_of`
    the account as that page showed it, `auth` how its reader proved to be themselves.
    """
    known, wanted = known_roles(roles), set(groups)
    with transaction.atomic():
        user = account_named(name)
        # In one order, like every verb that locks several, and before the ledger, which all of them lock last.
        all_groups = list(Group.objects.select_for_update().order_by("pk"))
        check(user, roles=roles, groups=groups, seen=seen, actor=actor)
        changing = groups_of([user.person_id])[user.person_id] ^ wanted
        lines = [_set_members(each, _members(each) ^ {user.person_id}) for each in all_groups if each.name in changing]
        if known != user.roles:
            words = f"Account {user.username}: roles {listed(known)}, before {listed(user.roles)}."
            detail: dict[str, chain.JSON] = {"account": user.username, "person": user.person_id}
            detail |= {"roles_before": user.roles, "roles": known}
            lines.append((Tag.PERSON_CHANGED, f"person:{user.username}", words, detail))
            user.roles = known
            user.save()
        for tag, about, words, detail in lines:
            chain.append(tag, actor=actor, object=about, words=words, detail=detail | {"auth": auth})
    return user


def version_of(user: User) -> str:
    """Names the account's roles and its person's groups as they stand, so that an old page changes nothing."""
    groups = sorted(groups_of([user.person_id])[user.person_id])
    return hashlib.sha256(json.dumps([user.username, user.role_names, groups]).encode()).hexdigest()


def make_group(name: str, *, actor: Actor, members: Sequence[str] = ()) -> Group:
    """A new group of the persons with these labels."""
    if not _GROUP.fullmatch(name):
        raise Refused(f"{name!r} is not a name for a group; use up to 32 letters, digits, dashes or underscores.")
    try:
        with transaction.atomic():
            if Group.objects.filter(name__iexact=name).exists():
                raise Refused(f"There is already a group {name}.")
            persons = _persons(members, actor)
            group = Group.objects.create(name=name)
            _append(_set_members(group, persons), actor)
    except IntegrityError:
        raise Refused(f"There is already a group {name}.") from None
    return group


def change_group(name: str, *, actor: Actor, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Group:
    """Take persons in, or out, by their labels."""
    with transaction.atomic():
        group = _group(name)
        joining, leaving = _persons(add, actor), _persons(remove, actor)
        before = _members(group)
        after = (before | joining) - leaving
        if after == before:
            raise Refused(f"The group {group.name} already is like this.")
        _append(_set_members(group, after), actor)
    return group


def remove_group(name: str, *, actor: Actor) -> None:
    """Forget a group. Whoever offers this asks first whether a policy needs it."""
    with transaction.atomic():
        group = _group(name)
        for person in _members(group):
            not_their_own(actor, person)
        _tag, about, _words, detail = _set_members(group, set())
        group.delete()
        _append((Tag.GROUP_CHANGED, about, f"Group {name} was removed.", detail), actor)


def _group(name: str) -> Group:
    try:
        return Group.objects.select_for_update().get(name=name)
    except Group.DoesNotExist:
        raise Refused(f"There is no group {name}.") from None


def _persons(labels: Sequence[str], actor: Actor) -> set[int]:
    found = {person_labelled(label).pk for label in labels}
    for person in found:
        not_their_own(actor, person)
    return found


def _members(group: Group) -> set[int]:
    return set(group.members.values_list("pk", flat=True))


def _labels(persons: Iterable[int]) -> list[str]:
    return list(Person.objects.filter(pk__in=persons).order_by("label").values_list("label", flat=True))


def _set_members(group: Group, persons: set[int]) -> _Line:
    """Write the members of a group that is locked. Returns what the ledger is to say of it."""
    before = _members(group)
    group.members.set(persons)
    was, now = _labels(before), _labels(persons)
    words = f"Group {group.name}: {listed(now)}; before {listed(was)}."
    detail: dict[str, chain.JSON] = {"group": group.name, "before": was, "members": now, "persons": sorted(persons)}
    return Tag.GROUP_CHANGED, f"group:{group.name}", words, detail


def _append(line: _Line, actor: Actor) -> None:
    tag, about, words, detail = line
    chain.append(tag, actor=actor, object=about, words=words, detail=detail)
