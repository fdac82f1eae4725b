"""Second factors: an app's codes (TOTP), security keys (WebAuthn), and recovery codes for the day the phone is lost.

django-allauth has the tables, the arithmetic and the encryption's place; the checks here are stricter than its own:

- A TOTP code is good for once, and none is good after a later one was used. The row says so, not a cache.
- A security key must answer from this desk's own origin, and its counter must not run backwards.
- Every change is in the ledger. A factor that is taken away ends the account's sessions.

Secrets are encrypted with READER_KEY, which the web server has and the database has not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code, normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.mfa.webauthn.internal.auth import EXTENSIONS, WebAuthn, build_user_payload, get_credentials
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models import F
from fido2.server import Fido2Server
from fido2.webauthn import (
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from dashboard.accounts import sessions
from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now

Kind = Authenticator.Type
Challenge: TypeAlias = dict[str, Any]

KEY = "security key"
NAMES = {Kind.TOTP: "TOTP", Kind.RECOVERY_CODES: "recovery code", Kind.WEBAUTHN: KEY}
MOST_KEYS = 10
_NEED_ONE = (Role.OPERATOR, Role.APPROVER, Role.ADMIN)
_TOLERANCE = 1  # steps of 30 s that a phone's clock may be off, either way
_PURPOSE = "second factor|"


class Refused(Exception):
    """Nothing was changed; the message is one sentence for the person who asked."""


class Adapter(DefaultMFAAdapter):  # type: ignore[misc]  # django-allauth has no types
    """What django-allauth asks of the desk."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt((_PURPOSE + text).encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        text = _fernet().decrypt(encrypted_text.encode()).decode()
        if not text.startswith(_PURPOSE):
            raise ValueError("This was encrypted for something else.")
        return text.removeprefix(_PURPOSE)

    def get_totp_issuer(self) -> str:
        return "Failover Desk"

    def get_totp_label(self, user: User) -> str:
        return f"{user.username}@{context.request.get_host()}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": context.request.get_host().rsplit(":", 1)[0], "name": "Failover Desk"}

    def get_public_key_credential_user_entity(self, user: User) -> dict[str, Any]:
        return {"id": str(user.pk).encode(), "display_name": user.person.label, "name": user.username}


@dataclass(frozen=True, slots=True)
class Factors:
    """What an account has, read at once. Recovery codes alone are no second factor: they stand in for one."""

    rows: Sequence[Authenticator]

    def __bool__(self) -> bool:
        return self.app is not None or bool(self.keys)

    @property
    def app(self) -> Authenticator | None:
        return next((row for row in self.rows if row.type == Kind.TOTP), None)

    @property
    def keys(self) -> list[Authenticator]:
        return [row for row in self.rows if row.type == Kind.WEBAUTHN]

    @property
    def codes_left(self) -> int:
        found = [row for row in self.rows if row.type == Kind.RECOVERY_CODES]
        return len(RecoveryCodes(found[0]).get_unused_codes()) if found else 0


def of(user: User) -> Factors:
    """None where second factors are switched off: then nobody is asked for one."""
    if settings.SECOND_FACTOR == "off":
        return Factors(())
    return Factors(list(Authenticator.objects.filter(user_id=user.pk).order_by("created_at", "pk")))


def is_missing(user: User, session: SessionBase) -> bool:
    """Whether this account must add a second factor before it may ask or decide. Not when an identity provider vouches
    for the session: what that asks for is its own rule."""
    if settings.SECOND_FACTOR != "required" or not any(user.has(role) for role in _NEED_ONE):
        return False
    return not sessions.through_provider(session) and not of(user)


# ── Proving ──────────────────────────────────────────────────────────────────


@transaction.atomic
def check_code(user: User, code: str) -> str:
    """What the code proves: "TOTP", "recovery code", or "" for nothing. A good one is spent by this."""
    rows = {row.type: row for row in Authenticator.objects.select_for_update().filter(user_id=user.pk)}
    app, codes = rows.get(Kind.TOTP), rows.get(Kind.RECOVERY_CODES)
    code = normalize_user_code(code)
    if app is not None and _spend_totp(app, code):
        return NAMES[Kind.TOTP]
    if codes is not None and code and RecoveryCodes(codes).validate_code(code):
        return NAMES[Kind.RECOVERY_CODES]
    return ""


def _spend_totp(app: Authenticator, code: str) -> bool:
    step = _matching_step(Adapter().decrypt(app.data["secret"]), code, after=app.data.get("last_step", 0))
    if step:
        app.data["last_step"], app.last_used_at = step, database_now()
        app.save()
    return bool(step)


def _matching_step(secret: str, code: str, *, after: int = 0) -> int:
    """The step of 30 s that the code belongs to; 0 for a wrong one, or one that is not later than `after`."""
    now = int(database_now().timestamp()) // app_settings.TOTP_PERIOD
    for step in range(max(now - _TOLERANCE, after + 1), now + _TOLERANCE + 1):
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, step))):
            return step
    return 0


def key_challenge(user: User) -> tuple[Challenge, Challenge]:
    """What the browser hands to the key, and what the server must remember to judge the answer."""
    options, state = _server().authenticate_begin(get_credentials(user), UserVerificationRequirement.PREFERRED)
    return _plain(options), state


@transaction.atomic
def check_key(user: User, state: Challenge, answer: str) -> str:
    """ "security key" when one of the account's keys signed this challenge, or "" for anything else."""
    rows = list(Authenticator.objects.select_for_update().filter(user_id=user.pk, type=Kind.WEBAUTHN))
    held = {WebAuthn(row).authenticator_data.credential_data.credential_id: row for row in rows}
    try:
        response = AuthenticationResponse.from_dict(json.loads(answer))
        credential = _server().authenticate_complete(state, get_credentials(user), response)
    except (ValueError, TypeError, KeyError, AttributeError):  # what the browser sent may be anything
        return ""
    row, counter = held[credential.credential_id], response.response.authenticator_data.counter
    if counter <= row.data.get("counter", 0) and (counter or row.data.get("counter")):
        return ""  # it was copied: the other one is ahead
    row.data["counter"], row.last_used_at = counter, database_now()
    row.save()
    return KEY


# ── Changing ─────────────────────────────────────────────────────────────────


def new_secret() -> str:
    secret: str = generate_totp_secret()
    return secret


def totp_picture(user: User, secret: str) -> tuple[str, str]:
    """The address that an app understands, and its QR code as SVG."""
    adapter = Adapter()
    url: str = adapter.build_totp_url(user, secret)
    return url, adapter.build_totp_svg(url)


@transaction.atomic
def add_app(user: User, secret: str, code: str, *, actor: Actor) -> None:
    """The first code proves that the app has the secret."""
    _locked(user)
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.TOTP).exists():
        raise Refused("There is already an authenticator app. Remove it first.")
    step = _matching_step(secret, normalize_user_code(code))
    if not step:
        raise Refused("The code does not belong to this picture. Check the clock of the phone, and type the next one.")
    app = TOTP.activate(user, secret).instance
    app.data["last_step"] = step
    app.save()
    _record(Tag.FACTOR_ADDED, user, f"{user.username} added an authenticator app.", actor)


def new_key_challenge(user: User) -> tuple[Challenge, Challenge]:
    options, state = _server().register_begin(
        user=build_user_payload(user),
        credentials=get_credentials(user),
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.PREFERRED,
        extensions=EXTENSIONS,
    )
    return _plain(options), state


@transaction.atomic
def add_key(user: User, state: Challenge, answer: str, name: str, *, actor: Actor) -> None:
    _locked(user)
    name = chain.clean(name).strip()[:40] or KEY
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.WEBAUTHN).count() >= MOST_KEYS:
        raise Refused(f"An account has at most {MOST_KEYS} security keys. Remove one first.")
    try:
        credential = json.loads(answer)
        RegistrationResponse.from_dict(credential)
        made = _server().register_complete(state, credential)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refused("The security key's answer cannot be used. Try again.") from None
    if made.credential_data.credential_id in [held.credential_id for held in get_credentials(user)]:
        raise Refused("This security key was added already.")
    row = WebAuthn.add(user, name, credential).instance
    row.data["counter"] = made.counter
    row.save()
    _record(Tag.FACTOR_ADDED, user, f"{user.username} added the security key {name}.", actor)


@transaction.atomic
def new_codes(user: User, *, actor: Actor) -> list[str]:
    """Ten recovery codes in place of those before. Shown once."""
    _locked(user)
    if not of(user):
        raise Refused("Recovery codes stand in for a second factor. Add one first.")
    Authenticator.objects.filter(user_id=user.pk, type=Kind.RECOVERY_CODES).delete()
    codes: list[str] = RecoveryCodes.activate(user).generate_codes()
    _record(Tag.FACTOR_ADDED, user, f"{user.username} made {len(codes)} recovery codes.", actor)
    return codes


@transaction.atomic
def remove(user: User, pk: int, *, actor: Actor) -> User:
    """Take one factor away, and with the last the recovery codes. Ends the account's sessions. Gives its row of now."""
    user = _locked(user)
    rows = list(of(user).rows)
    gone = next((row for row in rows if row.pk == pk and row.type != Kind.RECOVERY_CODES), None)
    if gone is None:
        raise Refused("There is no such second factor any more.")
    what = f"the security key {gone.data['name']}" if gone.type == Kind.WEBAUTHN else "the authenticator app"
    gone.delete()
    if not of(user):
        Authenticator.objects.filter(user_id=user.pk).delete()
    return _removed(user, f"{user.username} removed {what}.", actor)


@transaction.atomic
def remove_all(name: str, *, actor: Actor) -> User:
    """For somebody whose phone and keys are lost: the password alone lets them in again, to add new ones."""
    found = User.objects.filter(username__iexact=name).first()
    if found is None:
        raise Refused(f"There is no account {name}.")
    user = _locked(found)
    deleted, _ = Authenticator.objects.filter(user_id=user.pk).delete()
    if not deleted:
        raise Refused(f"The account {user.username} has no second factor.")
    return _removed(user, f"All second factors of {user.username} were removed.", actor)


def _removed(user: User, words: str, actor: Actor) -> User:
    User.objects.filter(pk=user.pk).update(epoch=F("epoch") + 1)
    user.refresh_from_db()
    _record(Tag.FACTOR_REMOVED, user, words, actor)
    return user


def _record(tag: Tag, user: User, words: str, actor: Actor) -> None:
    detail: dict[str, chain.JSON] = {"account": user.username, "person": user.person_id}
    chain.append(tag, actor=actor, object=f"person:{user.username}", words=words, detail=detail)


def _locked(user: User) -> User:
    """One change of an account's factors at a time."""
    return User.objects.select_for_update(of=("self",)).select_related("person").get(pk=user.pk)


def _plain(options: Mapping[str, Any]) -> Challenge:
    """As JSON knows it."""
    found: Challenge = json.loads(json.dumps(options, default=dict))
    return found


def _server() -> Fido2Server:
    request = context.request
    origins = {f"{request.scheme}://{request.get_host()}", *settings.CSRF_TRUSTED_ORIGINS}
    entity = PublicKeyCredentialRpEntity(**Adapter().get_public_key_credential_rp_entity())
    return Fido2Server(entity, verify_origin=origins.__contains__)


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key.strip()) for key in settings.READER_KEY.split(",") if key.strip()])
