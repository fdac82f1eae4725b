"""Adding and removing second factors. Every change is in the ledger, and one that is taken away ends the account's
sessions. Whoever asks has confirmed that it is them; the shell need not.
"""

from __future__ import annotations

import json

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.webauthn.internal.auth import EXTENSIONS, WebAuthn, build_user_payload, get_credentials
from django.db import transaction
from django.db.models import F
from fido2.webauthn import RegistrationResponse, ResidentKeyRequirement, UserVerificationRequirement

from dashboard.accounts.factors import KEY, NONSENSE, Adapter, Challenge, Kind, matching_step, of, plain, server
from dashboard.accounts.models import User
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag

MOST_KEYS = 10


class Refused(Exception):
    """Nothing was changed; the message is one sentence for the person who asked."""


def new_secret() -> str:
    secret: str = generate_totp_secret()
    return secret


def totp_picture(user: User, secret: str) -> str:
    """The QR code, as SVG, from which an app takes the secret."""
    adapter = Adapter()
    return adapter.build_totp_svg(adapter.build_totp_url(user, secret))


@transaction.atomic
def add_app(user: User, secret: str, code: str, *, actor: Actor) -> None:
    """The first code proves that the app has the secret."""
    _locked(user)
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.TOTP).exists():
        raise Refused("There is already an authenticator app. Remove it first.")
    step = matching_step(secret, normalize_user_code(code))
    if not step:
        raise Refused("The code does not belong to this picture. Check the clock of the phone, and type the next one.")
    app = TOTP.activate(user, secret).instance
    app.data["last_step"] = step
    app.save()
    _record(Tag.FACTOR_ADDED, user, f"{user.username} added an authenticator app.", actor)


def new_key_challenge(user: User) -> tuple[Challenge, Challenge]:
    options, state = server().register_begin(
        user=build_user_payload(user),
        credentials=get_credentials(user),
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.PREFERRED,
        extensions=EXTENSIONS,
    )
    return plain(options), state


@transaction.atomic
def add_key(user: User, state: Challenge, answer: str, name: str, *, actor: Actor) -> None:
    _locked(user)
    name = chain.clean(name).strip()[:40] or KEY
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.WEBAUTHN).count() >= MOST_KEYS:
        raise Refused(f"An account has at most {MOST_KEYS} security keys. Remove one first.")
    try:
        credential = json.loads(answer)
        RegistrationResponse.from_dict(credential)
        made = server().register_complete(state, credential)
    except NONSENSE:
        raise Refused("The security key's answer cannot be used. Try again.") from None
    held = [each.credential_id for each in get_credentials(user)]
    if made.credential_data is None or made.credential_data.credential_id in held:
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
