"""Single sign-on with one identity provider (OpenID Connect). It says who somebody is; it makes nobody.

django-allauth knows the protocol's addresses and keeps the state of a round trip in the session. What this adds:

- The ID token is verified here: signature by a published key, issuer, audience, nonce, times. Without "client secret
  over TLS is enough".
- Whoever it names gets in as an account that exists and is active: the one bound to this subject, or, the first time,
  the only active account of the person with this verified e-mail address, which is then bound for good.
- A round trip that confirms something asks for a new sign-in there, and believes it only when the provider says when
  that was.
- The provider is called over verified TLS, without redirects and proxies, for ten seconds and one megabyte at most.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any

import jwt
import requests
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from dashboard.accounts.models import User
from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now

FRESH = timedelta(minutes=5)
_SLOT = "sso"
_SKEW = timedelta(seconds=30)
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LARGEST, _LONGEST = 1_000_000, 10.0


class Refused(Exception):
    """Nobody was signed in; the message is one sentence for the person who tried."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says. `wanted` is what the round trip was started with."""

    subject: str
    email: str
    wanted: dict[str, Any]
    signed_in_at: datetime | None

    @property
    def name(self) -> str:
        """For the limit on failures."""
        return self.email or self.subject


def is_configured() -> bool:
    return bool(settings.OIDC_ISSUER)


def start(request: HttpRequest, *, wanted: dict[str, Any], anew: bool = False) -> str:
    """The provider's address to go on to. `wanted` comes back with the identity; `anew`: whoever is signed in there
    must prove it again."""
    challenge = generate_code_challenge()
    nonce = token_urlsafe(32)
    kept = {"verifier": challenge.pop("code_verifier"), "nonce": nonce, "wanted": wanted, "anew": anew}
    try:
        provider = _Provider(request)
        address, client = provider.authorize_url, provider.client()
    except _TROUBLES as trouble:
        raise Refused(_unusable()) from trouble
    client.state = statekit.stash_state(request, provider_id=_SLOT, state=kept)
    more = {"nonce": nonce} | challenge
    if anew:
        more |= {"prompt": "login", "max_age": "0"}
    url: str = client.get_redirect_url(address, ["openid", "email"], more)
    return url


def finish(request: HttpRequest) -> Identity:
    """Whom the provider sent back, verified. A state is good for once, in this session, for ten minutes."""
    kept = statekit.unstash_state(request, state_id=request.GET.get("state", ""), provider_id=_SLOT)
    if kept is None:
        raise Refused("This sign-in was not started here, or too long ago. Start again.")
    if "code" not in request.GET:
        raise Refused(f"{settings.OIDC_NAME} did not sign you in. Start again.")
    try:
        provider = _Provider(request)
        answer = provider.client().get_access_token(request.GET["code"], pkce_code_verifier=kept["verifier"])
        claims = provider.verified(str(answer["id_token"]))
    except _TROUBLES as trouble:
        raise Refused(_unusable()) from trouble
    if claims.get("nonce") != kept["nonce"]:
        raise Refused("This sign-in was not started here, or too long ago. Start again.")
    at = _time(claims.get("auth_time"))
    if kept["anew"]:
        now = database_now()
        if at is None or not now - FRESH - _SKEW < at <= now + _SKEW:
            raise Refused(f"{settings.OIDC_NAME} does not say that you signed in just now, so it confirms nothing.")
    verified = claims.get("email_verified")  # some write the word
    email = str(claims.get("email") or "") if verified is True or verified == "true" else ""
    return Identity(str(claims["sub"]), email, kept["wanted"], at)


@transaction.atomic
def account_of(identity: Identity, ip: str) -> User:
    """The account that this identity is. Raises Refused when it is none, or more than one could be meant."""
    bound = (
        SocialAccount.objects.select_related("user__person").filter(provider=_issuer(), uid=identity.subject).first()
    )
    if bound is not None:
        user: User = bound.user
        if not user.is_active:
            raise Refused("Your account was removed. Ask an admin.")
        return user
    if not identity.email:
        raise Refused(
            f"{settings.OIDC_NAME} does not give a verified e-mail address, and no account here is bound to you."
        )
    accounts = User.objects.select_for_update(of=("self",)).select_related("person")
    matching = accounts.filter(person__email__iexact=identity.email, is_active=True)
    # Letter by letter, too: to some databases "ı" is an "i" in another case, and that address is somebody else's.
    found = [each for each in matching if (each.person.email or "").lower() == identity.email.lower()]
    if not found:
        raise Refused(f"No account here belongs to {identity.email}. Ask an admin to add one.")
    if len(found) > 1:
        raise Refused(f"Several accounts here belong to {identity.email}. Sign in with a name and a password.")
    user = found[0]
    if SocialAccount.objects.filter(provider=_issuer(), user=user).exists():
        raise Refused(
            f"The account of {identity.email} is bound to somebody else at {settings.OIDC_NAME}. Ask an admin."
        )
    SocialAccount.objects.create(provider=_issuer(), uid=identity.subject, user=user)
    chain.append(
        Tag.PERSON_CHANGED,
        actor=actor_of(user, ip),
        object=f"person:{user.username}",
        words=f"Account {user.username} signs in through {settings.OIDC_NAME} from now on, as {identity.email}.",
        detail={"account": user.username, "issuer": settings.OIDC_ISSUER, "subject": identity.subject},
    )
    return user


@transaction.atomic
def make_only(name: str, *, actor: Actor) -> User:
    """Take the password away: from here on the identity provider says who this is."""
    accounts = User.objects.select_for_update(of=("self",)).select_related("person")
    user = accounts.filter(username__iexact=name, is_active=True).first()
    if user is None:
        raise Refused(f"There is no account {name} that may sign in.")
    if not is_configured():
        raise Refused("There is no identity provider: set OIDC_ISSUER first.")
    if not user.person.email and not is_bound(user):
        raise Refused(f"{user.username} has no e-mail address by which the identity provider could name them.")
    user.set_unusable_password()
    user.save()
    chain.append(
        Tag.PERSON_CHANGED,
        actor=actor,
        object=f"person:{user.username}",
        words=f"Account {user.username}: no password any more; it signs in through {settings.OIDC_NAME}.",
        detail={"account": user.username, "person": user.person_id},
    )
    return user


def is_bound(user: User) -> bool:
    """Whether this account has signed in through the provider, which can then confirm that it is still them."""
    if not is_configured():
        return False
    return bool(SocialAccount.objects.filter(provider=_issuer(), user_id=user.pk).exists())


def is_same(user: User, identity: Identity) -> bool:
    return bool(SocialAccount.objects.filter(provider=_issuer(), uid=identity.subject, user_id=user.pk).exists())


# ── The provider ─────────────────────────────────────────────────────────────


class Adapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # django-allauth has no types
    def get_requests_session(self) -> requests.Session:
        return _Bounded()


class _Bounded(requests.Session):
    """One that cannot be led elsewhere, and does not wait or read for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = settings.OIDC_CA_FILE or True

    def request(self, method: Any, url: Any, **how: Any) -> requests.Response:  # type: ignore[override]
        if not str(url).startswith("https://"):
            raise requests.exceptions.InvalidSchema("The identity provider is called over HTTPS only.")
        until = time.monotonic() + _LONGEST
        response = super().request(method, url, **how | {"timeout": 5, "allow_redirects": False, "stream": True})
        body = bytearray()
        for part in response.iter_content(16_384):
            body += part
            if len(body) > _LARGEST or time.monotonic() > until:
                response.close()
                raise requests.exceptions.ContentDecodingError("The identity provider's answer does not end.")
        response._content = bytes(body)  # noqa: SLF001 - what requests itself does when it has read all
        if response.ok and not isinstance(response.json(), dict):
            raise requests.exceptions.InvalidJSONError("The identity provider's answer is no object.")
        return response


class _Provider(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # django-allauth has no types
    """The one of the settings. Each is asked anew: a sign-in is rare, and a stale document would lock everybody out."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, _SLOT)
        if self.openid_config["issuer"].rstrip("/") != settings.OIDC_ISSUER:
            raise OAuth2Error("The document is another issuer's.")

    def get_provider(self) -> Any:
        app = SocialApp(
            provider="openid_connect",
            provider_id=_SLOT,
            name=settings.OIDC_NAME,
            client_id=settings.OIDC_CLIENT_ID,
            secret=settings.OIDC_CLIENT_SECRET,
            settings={"server_url": settings.OIDC_ISSUER},
        )
        return app.get_provider(self.request)

    def client(self) -> Any:
        return self.get_client(self.request, self.get_provider().app)

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:  # noqa: ARG002 - django-allauth's name
        return request.build_absolute_uri(reverse("sign-in-return"))

    def verified(self, token: str) -> dict[str, Any]:
        with _Bounded() as session:
            answer = session.get(self.openid_config["jwks_uri"])
        answer.raise_for_status()
        header = jwt.get_unverified_header(token)
        keys = jwt.PyJWKSet.from_dict(answer.json()).keys
        usable = [key for key in keys if header.get("kid") in (None, key.key_id)]
        claims: dict[str, Any] = jwt.decode(
            token,
            key=usable[0],
            algorithms=_ALGORITHMS,
            audience=settings.OIDC_CLIENT_ID,
            issuer=self.openid_config["issuer"],
            leeway=_SKEW,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )
        if claims.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
            raise OAuth2Error("The token was made for another client.")
        return claims


# What a provider that is down, wrong or hostile can cause. Whatever it sends, the page says one sentence.
_TROUBLES = (
    *(requests.RequestException, OAuth2Error, jwt.PyJWTError),
    *(ValueError, KeyError, TypeError, IndexError, RecursionError),
)


def _unusable() -> str:
    return f"{settings.OIDC_NAME} cannot be reached, or answers what cannot be used. Try again, or call an admin."


def _issuer() -> str:
    """A subject is one only together with who says it."""
    return settings.OIDC_ISSUER[:200]


def _time(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
