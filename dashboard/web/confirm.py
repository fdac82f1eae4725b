"""Confirming, in the form itself, that it is still the same person: for what one must not do with a browser that
somebody else left open. Approve, break-glass, policies, roles, reviews, and one's own second factors.

A page offers it with `offer` and `{% include "parts/_confirm.html" %}`, hands FIELDS to `forms.read`, and its view
calls `prove` before the verb. What makes a proof good:

- It is for one operation on one digest, by one account in one session, and once: the form carries a signed ticket that
  says all of this, and a unique row in the database is what spends it.
- It is given now, or it is at most five minutes old (a security key's challenge, a return from the identity provider).
- It is as strong as the account: whoever has a second factor confirms with that, and a password alone is not enough.
  Who has nothing to confirm with is refused; having signed in a moment ago is no confirmation.

Wrong tries are counted with failed sign-ins, by the same limit.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from dashboard.accounts import sessions, signin
from dashboard.accounts.models import SpentConfirmation, User
from dashboard.database import database_now
from dashboard.failovers.lifecycle import Refused
from dashboard.web.guards import address, signed_in

FIELDS = ("confirm_ticket", "confirm_password")
_SALT = "dashboard.web.confirm"
_TAG = "confirm.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the form shows: which proofs this account can give, and the ticket that binds them to this page."""

    ticket: str
    password: bool

    @property
    def possible(self) -> bool:
        return self.password


@dataclass(frozen=True, slots=True)
class Proof:
    """`words` say how the person signed in and how they confirmed; they go with the verb into the record."""

    words: str


def offer(request: HttpRequest, operation: str, digest: str) -> Offer:
    user = signed_in(request)
    return Offer(ticket=ticket(request, operation, digest), password=user.has_usable_password())


def ticket(request: HttpRequest, operation: str, digest: str) -> str:
    """A new one, good for once."""
    return signing.dumps([_bound(request, operation, digest), secrets.token_urlsafe(32)], salt=_SALT)


def prove(request: HttpRequest, operation: str, digest: str) -> Proof:
    """Raises Refused when the form proves nothing, or not this. What it proves, it proves once."""
    user, ip = signed_in(request), address(request)
    nonce = _nonce(request, operation, digest)
    if said := signin.refusal(user.username, ip):
        raise _refused(said)
    try:
        with transaction.atomic():
            _spend(nonce)
            method = _judge(request, user)
    except _Wrong as wrong:
        signin.count_failure(user.username, ip)
        raise _refused(wrong.words) from None
    return Proof(_words(request, method))


class _Wrong(Exception):
    """What was given is false, as a guess would be."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def _judge(request: HttpRequest, user: User) -> str:
    """The name of the method that proves it."""
    password = request.POST.get("confirm_password", "")
    now = User.objects.filter(pk=user.pk, is_active=True).values_list("password", flat=True).first()
    if now is None:
        raise _refused("This account was removed.")
    if not password:
        raise _refused("Confirm that it is you: type your password.")
    if not check_password(password, now):
        raise _Wrong("The password is wrong.")
    return "password"


def _nonce(request: HttpRequest, operation: str, digest: str) -> str:
    try:
        bound, nonce = signing.loads(request.POST.get("confirm_ticket", ""), salt=_SALT)
    except (signing.BadSignature, ValueError):
        raise _refused("This page has no confirmation that can be used. Confirm again.") from None
    if not hmac.compare_digest(bound, _bound(request, operation, digest)):
        raise _refused("This confirmation was made for something else, or before you signed in again. Confirm again.")
    found: str = nonce
    return found


def _spend(nonce: str) -> None:
    """A unique row: the second of two, however close, is refused."""
    now = database_now()
    SpentConfirmation.objects.filter(at__lt=now - settings.SESSION_ABSOLUTE).delete()
    try:
        with transaction.atomic():
            SpentConfirmation.objects.create(nonce=nonce, at=now)
    except IntegrityError:
        raise _refused("This confirmation was used already. Confirm again.") from None


def _bound(request: HttpRequest, operation: str, digest: str) -> str:
    """Everything that a confirmation is for, as one value."""
    parts = [str(signed_in(request).pk), request.session.session_key or "", operation, digest]
    what = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return salted_hmac(_SALT, what, algorithm="sha256").hexdigest()


def _words(request: HttpRequest, method: str) -> str:
    how, at = sessions.how(request.session)
    signed = f"Signed in with {' and '.join(how)} at {at:%H:%M:%S} UTC" if at else "Signed in"
    return f"{signed}; confirmed with {method}"[:255]


def _refused(words: str) -> Refused:
    return Refused(words, field="confirm", tag=_TAG)
