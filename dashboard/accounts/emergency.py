"""Getting in while the identity provider is down. Off unless EMERGENCY_SIGN_IN is set.

An account that has no password here, because it signs in elsewhere, can then be given a code from the shell: good for
one sign-in or one confirmation, for 24 hours. Each one made and each one used is in the ledger, and what is done in
such a session says so in the record.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from dashboard.accounts.models import EmergencyCode, User
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now

NAME = "an emergency code"
GOOD_FOR = timedelta(hours=24)
_LETTERS = "BCDFGHJKMNPQRSTVWXYZ23456789"  # none that look alike, no words
_LENGTH = 20


class Refused(Exception):
    """Nothing was changed; the message is one sentence for the person who asked."""


def may_use(user: User) -> bool:
    return bool(settings.EMERGENCY_SIGN_IN) and not user.has_usable_password()


@transaction.atomic
def make(name: str, *, actor: Actor) -> str:
    """A new code, shown this once; only its hash is kept."""
    user = User.objects.select_for_update(of=("self",)).filter(username__iexact=name, is_active=True).first()
    if user is None:
        raise Refused(f"There is no account {name} that may sign in.")
    if not settings.EMERGENCY_SIGN_IN:
        raise Refused("Emergency sign-in is off. Set EMERGENCY_SIGN_IN=1 for the web server, too, while it is needed.")
    if not may_use(user):
        raise Refused(f"The account {user.username} has a password and needs no emergency code.")
    code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(_LENGTH // 5))
    EmergencyCode.objects.create(
        user=user, hash=_hash(user, code), made_by=actor.label[:150], until=database_now() + GOOD_FOR
    )
    chain.append(
        Tag.SIGNIN_EMERGENCY,
        actor=actor,
        object=f"person:{user.username}",
        words=f"Made an emergency code for {user.username}, good for one sign-in within 24 hours.",
        detail={"account": user.username},
    )
    return code


def take(user: User, typed: str) -> bool:
    """Whether it is a code of this account that can be used; then it cannot any more."""
    if not may_use(user) or not typed:
        return False
    now = database_now()
    good = EmergencyCode.objects.filter(user=user, hash=_hash(user, typed), used_at=None, until__gt=now)
    return good.update(used_at=now) == 1


def _hash(user: User, code: str) -> str:
    plain = "".join(letter for letter in code.upper() if letter.isalnum())
    return salted_hmac("dashboard.accounts.emergency", f"{user.pk} {plain}", algorithm="sha256").hexdigest()
