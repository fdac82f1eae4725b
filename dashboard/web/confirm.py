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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from dashboard.accounts import emergency, factors, oidc, sessions, signin
from dashboard.accounts.models import SpentConfirmation, User
from dashboard.database import database_now
from dashboard.failovers.lifecycle import Refused
from dashboard.web import kept
from dashboard.web.guards import address, signed_in

FIELDS = ("confirm_ticket", "confirm_password", "confirm_code", "confirm_answer")
GOOD_FOR = timedelta(minutes=5)
_SALT = "dashboard.web.confirm"
_GRANT = "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the form shows: the proofs that this account can give, and the ticket that binds them to this page.
    `granted`: what was confirmed at the identity provider already, and when."""

    ticket: str
    password: bool = False
    emergency: bool = False
    code: bool = False
    key: bool = False
    provider: str = ""
    granted: datetime | None = None

    @property
    def possible(self) -> bool:
        return self.password or self.emergency or self.code or self.key or bool(self.provider)


@dataclass(frozen=True, slots=True)
class Proof:
    """`words` say how the person signed in and how they confirmed; they go with the verb into the record."""

    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ticket:
    """`challenge` is what a security key is to sign, made at `at`; `page` is where the form stands."""

    bound: str
    nonce: str
    page: str
    challenge: Mapping[str, Any] | None = None
    at: str = ""

    def signed(self) -> str:
        return signing.dumps([self.bound, self.nonce, self.page, self.challenge, self.at], salt=_SALT)


def offer(request: HttpRequest, operation: str, digest: str) -> Offer:
    user, bound = signed_in(request), _bound(request, operation, digest)
    methods = _methods(user)
    granted = _grant(request, bound)[1] if methods.get("provider") else None
    return Offer(ticket=ticket(request, operation, digest), granted=granted, **methods)


def ticket(request: HttpRequest, operation: str, digest: str) -> str:
    """A new one, good for once."""
    bound = _bound(request, operation, digest)
    return _Ticket(bound=bound, nonce=secrets.token_urlsafe(32), page=kept.form_of(request)).signed()


def prove(request: HttpRequest, operation: str, digest: str) -> Proof:
    """Raises Refused when the form proves nothing, or not this. What it proves, it proves once."""
    user, ip = signed_in(request), address(request)
    held = _held(request.POST.get("confirm_ticket", ""))
    if not hmac.compare_digest(held.bound, _bound(request, operation, digest)):
        raise _refused("This confirmation was made for something else, or before you signed in again. Confirm again.")
    code = bool(request.POST.get("confirm_code"))
    if said := signin.refusal(user.username, ip, code=code):
        raise _refused(said)
    try:
        with transaction.atomic():
            _spend(held.nonce)
            method = _judge(request, _current(user), held)
    except _Wrong as wrong:
        signin.count_failure(user.username, ip, code=code)
        raise _refused(str(wrong)) from None
    return Proof(_words(request, method))


# ── Proofs that take a round trip ────────────────────────────────────────────


def challenge(request: HttpRequest, signed: str) -> dict[str, Any]:
    """For the browser's script: what the security key is to sign now, and the ticket that remembers it."""
    held = _held(signed)
    options, state = factors.key_challenge(signed_in(request))
    at = database_now().isoformat()
    made = _Ticket(bound=held.bound, nonce=held.nonce, page=held.page, challenge=state, at=at)
    return {"ticket": made.signed(), "options": options}


def go_to_provider(request: HttpRequest) -> str:
    """The identity provider's address, where the person signs in again. What was typed so far is kept for the page."""
    held = _held(request.POST.get("confirm_ticket", ""))
    if not _methods(signed_in(request)).get("provider"):
        raise _refused("Your account does not confirm in this way.")
    kept.put_aside(request, held.page)
    wanted = {"confirm": held.bound, "page": held.page, "user": signed_in(request).pk}
    try:
        return oidc.start(request, wanted=wanted, anew=True)
    except oidc.Refused as refused:
        raise _refused(str(refused)) from refused


def came_back(request: HttpRequest, identity: oidc.Identity) -> str:
    """Grant what the round trip confirmed. Returns the page to go back to."""
    user = signed_in(request)
    if identity.wanted["user"] != user.pk or not oidc.is_same(user, identity):
        raise _refused(f"{settings.OIDC_NAME} names somebody else. Confirm as the person who is signed in here.")
    at = database_now().isoformat()
    request.session[_GRANT] = {"bound": identity.wanted["confirm"], "nonce": secrets.token_urlsafe(32), "at": at}
    page: str = identity.wanted["page"]
    return page


def _grant(request: HttpRequest, bound: str) -> tuple[str, datetime | None]:
    """The nonce and the time of a grant for this; nothing when there is none, or it is too old."""
    found = request.session.get(_GRANT)
    if not found or not hmac.compare_digest(found["bound"], bound):
        return "", None
    at = datetime.fromisoformat(found["at"])
    return (found["nonce"], at) if database_now() - at <= GOOD_FOR else ("", None)


# ── Judging ──────────────────────────────────────────────────────────────────


class _Wrong(Exception):
    """What was given is false, as a guess would be. The message is the sentence."""


def _methods(user: User) -> dict[str, Any]:
    """What this account can prove itself with: its second factor if it has one, nothing weaker beside it."""
    if found := factors.of(user):
        return {"key": bool(found.keys), "code": found.app is not None or found.codes_left > 0}
    return {
        "password": user.has_usable_password(),
        "emergency": emergency.may_use(user),
        "provider": settings.OIDC_NAME if oidc.is_bound(user) else "",
    }


def _judge(request: HttpRequest, user: User, held: _Ticket) -> str:
    """The name of the proof that was given. A form may hold several empty fields, and browsers fill some by
    themselves: what counts is what this account can prove itself with."""
    methods, given = _methods(user), {name: request.POST.get(name, "") for name in FIELDS}
    if methods.get("key") and given["confirm_answer"]:
        return _judge_key(user, held, given["confirm_answer"])
    if methods.get("code") and given["confirm_code"]:
        return factors.check_code(user, given["confirm_code"]) or _wrong("The code is wrong, or was used before.")
    if methods.get("password") and given["confirm_password"]:
        return "password" if user.check_password(given["confirm_password"]) else _wrong("The password is wrong.")
    if methods.get("emergency") and given["confirm_password"]:
        return emergency.NAME if emergency.take(user, given["confirm_password"]) else _wrong("The code is wrong.")
    nonce, at = _grant(request, held.bound) if methods.get("provider") else ("", None)
    if at is not None:
        del request.session[_GRANT]
        _spend(nonce)
        return f"{settings.OIDC_NAME} at {at:%H:%M:%S} UTC"
    raise _refused(_how_to(methods))


def _judge_key(user: User, held: _Ticket, answer: str) -> str:
    if held.challenge is None or database_now() - datetime.fromisoformat(held.at) > GOOD_FOR:
        raise _refused("The security key was used more than five minutes ago. Use it again.")
    found = factors.check_key(user, dict(held.challenge), answer)
    return found or _wrong("This is not a security key of this account.")


def _wrong(words: str) -> NoReturn:
    raise _Wrong(words)


def _how_to(methods: Mapping[str, Any]) -> str:
    if methods.get("key") or methods.get("code"):
        means = [words for name, words in (("key", "use your security key"), ("code", "type a code")) if methods[name]]
        return f"Confirm that it is you: {' or '.join(means)}."
    if methods.get("provider"):
        return f"Confirm that it is you with {methods['provider']}; that is good for five minutes."
    if methods.get("password"):
        return "Confirm that it is you: type your password."
    if methods.get("emergency"):
        return "Confirm that it is you: type another emergency code."
    return "Your account has nothing to confirm with. Add a second factor to your account, or ask an admin."


def _current(user: User) -> User:
    """As the database has it now: it may have been removed since the request came in."""
    found = User.objects.select_related("person").filter(pk=user.pk, is_active=True).first()
    if found is None:
        raise _refused("This account was removed.")
    return found


def _held(signed: str) -> _Ticket:
    try:
        bound, nonce, page, challenge, at = signing.loads(signed, salt=_SALT)
    except (signing.BadSignature, ValueError):
        raise _refused("This page has no confirmation that can be used. Confirm again.") from None
    return _Ticket(bound=bound, nonce=nonce, page=page, challenge=challenge, at=at)


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
    return Refused(words, field="confirm", tag="confirm.refused")
