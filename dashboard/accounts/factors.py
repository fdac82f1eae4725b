"""Second factors: an app's codes (TOTP), security keys (WebAuthn), and recovery codes for the day the phone is lost.
How they prove something; `enrolment` adds and removes them.

django-allauth has the tables, the arithmetic and the encryption's place; the checks here are stricter than its own:

- A TOTP code is good for once, and none is good after a later one was used. The row says so, not a cache.
- A security key must answer from this desk's own origin, and its counter must not run backwards.

Secrets are encrypted with READER_KEY, which the web server has and the database has not.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import qrcode
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code, normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.webauthn.internal.auth import WebAuthn, get_credentials
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from fido2.server import Fido2Server
from fido2.webauthn import (
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    UserVerificationRequirement,
)
from qrcode.image.svg import SvgPathFillImage

from dashboard.accounts import sessions
from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.database import database_now

Kind = Authenticator.Type
Challenge: TypeAlias = dict[str, Any]

KEY = "security key"
NAMES = {Kind.TOTP: "TOTP", Kind.RECOVERY_CODES: "recovery code", Kind.WEBAUTHN: KEY}
# What a browser sends as a key's answer may be anything, and the library that reads it says so in many ways.
NONSENSE = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError, struct.error)
_NEED_ONE = (Role.OPERATOR, Role.APPROVER, Role.ADMIN)
_TOLERANCE = 1  # steps of 30 s that a phone's clock may be off, either way
_PURPOSE = "second factor|"


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

    def build_totp_svg(self, url: str) -> str:
        """On white, which a camera needs whatever the theme is."""
        svg: str = qrcode.make(url, image_factory=SvgPathFillImage).to_string(encoding="unicode")
        return svg

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


def of_each(users: Iterable[User]) -> dict[int, Factors]:
    """Account's key → what it has, read at once for all of them, whatever is asked of them."""
    found: dict[int, list[Authenticator]] = {user.pk: [] for user in users}
    for row in Authenticator.objects.filter(user_id__in=list(found)).order_by("created_at", "pk"):
        found[row.user_id].append(row)
    return {user: Factors(rows) for user, rows in found.items()}


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
    step = matching_step(Adapter().decrypt(app.data["secret"]), code, after=app.data.get("last_step", 0))
    if step:
        app.data["last_step"], app.last_used_at = step, database_now()
        app.save()
    return bool(step)


def matching_step(secret: str, code: str, *, after: int = 0) -> int:
    """The step of 30 s that the code belongs to; 0 for a wrong one, or one that is not later than `after`."""
    now = int(database_now().timestamp()) // app_settings.TOTP_PERIOD
    for step in range(max(now - _TOLERANCE, after + 1), now + _TOLERANCE + 1):
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, step))):
            return step
    return 0


def key_challenge(user: User) -> tuple[Challenge, Challenge]:
    """What the browser hands to the key, and what the server must remember to judge the answer."""
    options, state = server().authenticate_begin(get_credentials(user), UserVerificationRequirement.PREFERRED)
    return plain(options), state


@transaction.atomic
def check_key(user: User, state: Challenge, answer: str) -> str:
    """ "security key" when one of the account's keys signed this challenge, or "" for anything else."""
    rows = list(Authenticator.objects.select_for_update().filter(user_id=user.pk, type=Kind.WEBAUTHN))
    held = {WebAuthn(row).authenticator_data.credential_data.credential_id: row for row in rows}
    try:
        response = AuthenticationResponse.from_dict(json.loads(answer))
        credential = server().authenticate_complete(state, get_credentials(user), response)
    except NONSENSE:
        return ""
    row, counter = held[credential.credential_id], response.response.authenticator_data.counter
    if counter <= row.data.get("counter", 0) and (counter or row.data.get("counter")):
        return ""  # it was copied: the other one is ahead
    row.data["counter"], row.last_used_at = counter, database_now()
    row.save()
    return KEY


def plain(options: Mapping[str, Any]) -> Challenge:
    """As JSON knows it."""
    found: Challenge = json.loads(json.dumps(options, default=dict))
    return found


def server() -> Fido2Server:
    request = context.request
    origins = {f"{request.scheme}://{request.get_host()}", *settings.CSRF_TRUSTED_ORIGINS}
    entity = PublicKeyCredentialRpEntity(**Adapter().get_public_key_credential_rp_entity())
    return Fido2Server(entity, verify_origin=origins.__contains__)


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key.strip()) for key in settings.READER_KEY.split(",") if key.strip()])
