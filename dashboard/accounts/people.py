"""The verbs on people and accounts, and who is who in the ledger. Each verb is one transaction with its
ledger entry.

Names of clusters are taken as they are: whether there is such a cluster is asked by whoever offers the choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from dashboard.accounts.models import Group, Person, User
from dashboard.accounts.roles import SCOPED, Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Refused(Exception):
    """Nothing was changed; the message is one sentence for the person who asked."""


def add(name: str, *, roles: Sequence[str], password: str, actor: Actor, person: str = "", email: str = "") -> User:
    """A new account. It makes a new person of the same name, or belongs to the existing person labelled
    `person`.
    """
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is not a name; use up to 64 letters, digits, dots, dashes, underscores or @.")
    known = known_roles(roles)
    if person and email:
        raise Refused("An e-mail address belongs to a new person; leave it out when the person exists.")
    if email:
        _check_email(email)
    try:
        with transaction.atomic():
            if User.objects.filter(username__iexact=name).exists():
                raise Refused(f"There is already an account {name}.")
            owner = person_labelled(person) if person else _new_person(name, email)
            user = User(username=name, person=owner, roles=known)
            _set_password(user, password)
            user.save(force_insert=True)
            chain.append(
                Tag.PERSON_ADDED,
                actor=actor,
                object=f"person:{name}",
                words=f"Account {name} of {owner.label}: {listed(known)}.",
                detail={"account": name, "person": owner.pk, "label": owner.label, "roles": known},
            )
    except IntegrityError:  # somebody else took the name between the look and the insert
        raise Refused(f"There is already an account or a person {name}.") from None
    return user


def change(
    name: str,
    *,
    actor: Actor,
    roles: Sequence[str] | None = None,
    password: str | None = None,
    restore: bool = False,
) -> User:
    """Replace an account's roles or password, or let a removed account sign in again. A new password ends its
    sessions.
    """
    if not (roles or password or restore):
        raise Refused("Say what to change: roles, the password, or that the account is restored.")
    known = known_roles(roles) if roles is not None else None
    with transaction.atomic():
        user = account_named(name)
        detail: dict[str, chain.JSON] = {"account": user.username, "person": user.person_id}
        words: list[str] = []
        if known is not None:
            not_their_own(actor, user.person_id)
            detail |= {"roles_before": user.roles, "roles": known}
            words.append(f"roles {listed(known)}, before {listed(user.roles)}")
            user.roles = known
        if password is not None:
            _set_password(user, password)
            words.append("a new password")
        if restore:
            if user.is_active:
                raise Refused(f"The account {user.username} is not removed.")
            user.is_active = True
            words.append("restored")
        user.save()
        chain.append(
            Tag.PERSON_CHANGED,
            actor=actor,
            object=f"person:{user.username}",
            words=f"Account {user.username}: {'; '.join(words)}.",
            detail=detail,
        )
    return user


def remove(name: str, *, actor: Actor) -> User:
    """The account cannot sign in any more, from its next click on. Nothing is deleted: requests and decisions
    point to it.
    """
    with transaction.atomic():
        user = account_named(name)
        if not user.is_active:
            raise Refused(f"The account {user.username} is already removed.")
        user.is_active = False
        user.save()
        chain.append(
            Tag.PERSON_REMOVED,
            actor=actor,
            object=f"person:{user.username}",
            words=f"Account {user.username} of {user.person.label} can no longer sign in.",
            detail={"account": user.username, "person": user.person_id, "roles": user.roles},
        )
    return user


def people_with(role: Role, *, at: Iterable[str] = ()) -> list[User]:
    """Active accounts with the role for every one of the clusters `at` (without any: for one at least), by name. A
    person with two such accounts is in it twice."""
    # JSON containment does not exist on SQLite, and there are tens of accounts, not thousands.
    names = list(at)
    accounts = User.objects.filter(is_active=True).select_related("person").order_by("username")
    return [user for user in accounts if user.has(role) and all(user.has(role, name) for name in names)]


def may_see_audit(user: User) -> bool:
    """The ledger speaks of every cluster, so whoever is limited to some does not read it."""
    return any(user.is_active and role in user.roles for role in (Role.AUDITOR, Role.APPROVER, Role.ADMIN))


def groups_of(persons: Iterable[int]) -> dict[int, frozenset[str]]:
    """Person's key → names of the groups that the person is in, for those given."""
    found: dict[int, set[str]] = {person: set() for person in persons}
    for person, group in Group.objects.filter(members__in=list(found)).values_list("members", "name"):
        if person in found:
            found[person].add(group)
    return {person: frozenset(groups) for person, groups in found.items()}


def actor_of(user: User, ip: str = "") -> Actor:
    """Who acts, for the ledger."""
    return Actor("user", user.person.label, person_id=user.person_id, account=user.username, ip=ip)


def account_named(name: str) -> User:
    try:
        return User.objects.select_for_update(of=("self",)).select_related("person").get(username__iexact=name)
    except User.DoesNotExist:
        raise Refused(f"There is no account {name}.") from None


def person_labelled(label: str) -> Person:
    try:
        return Person.objects.get(label__iexact=label)
    except Person.DoesNotExist:
        raise Refused(f"There is no person {label}.") from None


def _new_person(label: str, email: str) -> Person:
    if Person.objects.filter(label__iexact=label).exists():
        raise Refused(f"There is already a person {label}; say whose account it is, or take another name.")
    if email and Person.objects.filter(email__iexact=email).exists():
        raise Refused(f"The e-mail address {email} belongs to somebody else.")
    return Person.objects.create(label=label, email=email.lower() or None)


def known_roles(roles: Sequence[str]) -> list[str]:
    """Each once, in the order of `Role`, and without those that a role for every cluster contains."""
    if not roles:
        raise Refused(f"An account needs a role; the roles are {listed(list(Role))}.")
    for each in roles:
        role, at, cluster = each.partition("@")
        if role not in list(Role):
            raise Refused(f"There is no role {role}; the roles are {listed(list(Role))}.")
        if at and role not in SCOPED:
            raise Refused(f"The role {role} is for the whole desk; it cannot be limited to a cluster.")
        if at and not _CLUSTER.fullmatch(cluster):
            raise Refused(f"{cluster!r} is not the name of a cluster.")
    kept = {each for each in roles if "@" not in each or each.partition("@")[0] not in roles}
    return [each for role in Role for each in sorted(kept) if each.partition("@")[0] == role]


def clusters_of(roles: Iterable[str]) -> set[str]:
    """Names of the clusters that these roles are limited to."""
    return {each.partition("@")[2] for each in roles if "@" in each}


def not_their_own(actor: Actor, person: int) -> None:
    if actor.person_id == person:
        raise Refused(
            "Nobody changes the roles or groups of their own person, whichever account it is. Ask another admin."
        )


def _set_password(user: User, password: str) -> None:
    if not password:
        raise Refused("The password is empty.")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from None
    user.set_password(password)


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise Refused(f"{email!r} is not an e-mail address.") from None


def listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"
