"""Single sign-on: who gets in as whom, what the provider is believed and what not, and confirming through it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client

from dashboard.accounts import emergency, people
from dashboard.accounts.models import Person, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.lifecycle import Refused
from dashboard.web import confirm
from tests.conftest import PASSWORD, Cast
from tests.qumulo.lab import issue
from tests.web import provider as providers
from tests.web.confirming import asked_by
from tests.web.fleet import Page, browser, parsed
from tests.web.keys import add_app, hidden, sign_in
from tests.web.provider import Provider

pytestmark = pytest.mark.django_db
NONSENSE = [
    *((500, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (200, b"null"), (302, b"/token")),
    *((200, b"x" * 2_000_000), (200, b"[" * 100_000)),
]
RETURN = "/sign-in/with/sso/return/"


@pytest.fixture(scope="module")
def _provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Path]]:
    folder = tmp_path_factory.mktemp("provider")
    with providers.running(folder) as provider:
        yield provider, folder


@pytest.fixture
def provider(_provider: tuple[Provider, Path], cast: Cast, settings: Any) -> Provider:
    """As honest as the day it was made, and known to the desk; k.osei has the address that it knows."""
    it, folder = _provider
    key, url = it.key, it.url
    it.__init__(url)  # type: ignore[misc]
    it.key = it.signs_with = key
    settings.OIDC_ISSUER, settings.OIDC_NAME = url, "Keycloak"
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = providers.CLIENT_ID, providers.SECRET
    settings.OIDC_CA_FILE = str(folder / "ca.pem")
    Person.objects.filter(pk=cast.osei.person_id).update(email="k.osei@example.com")
    return it


def go(client: Client, **fields: str) -> str:
    """Press "Sign in with Keycloak": the provider's address."""
    answer = client.post("/sign-in/with/sso/", fields)
    found = re.search(r'content="0;url=([^"]*)"', answer.content.decode())
    assert found, Page(answer.content.decode()).root.text
    return html.unescape(found[1])


def through(provider: Provider, client: Client | None = None, **fields: str) -> Any:
    client = client or Client()
    return client.get(provider.sign_in(go(client, **fields)))


def said(answer: Any) -> str:
    assert answer.status_code in (422, 502), answer
    return Page(answer.content.decode()).root.one("p", "banner").text


# ── Who gets in ──


def test_the_first_time_the_verified_address_finds_the_account_and_binds_it(provider: Provider, cast: Cast):
    client = Client()
    assert through(provider, client, next="/approvals/")["Location"] == "/approvals/"
    assert client.get("/").context["user"].pk == cast.osei.pk
    bound = SocialAccount.objects.get()
    assert (bound.user_id, bound.provider, bound.uid) == (cast.osei.pk, provider.url, "s-17")
    told = [(entry.tag, entry.record["words"]) for entry in Entry.objects.order_by("seq")][-2:]
    assert told == [
        ("person.changed", "Account k.osei signs in through Keycloak from now on, as k.osei@example.com."),
        ("signin.succeeded", "Signed in with Keycloak."),
    ]


def test_after_that_the_subject_counts_and_the_address_does_not(provider: Provider, cast: Cast):
    through(provider)
    provider.who = {"sub": "s-17", "email": "changed@example.com", "email_verified": True}
    client = Client()
    through(provider, client)
    assert client.get("/").context["user"].pk == cast.osei.pk
    provider.who = {"sub": "s-18", "email": "k.osei@example.com", "email_verified": True}
    assert "bound to somebody else" in said(through(provider))


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes"])
def test_an_address_that_is_not_verified_finds_nobody(provider: Provider, verified: Any):
    provider.who["email_verified"] = verified
    assert "no account here is bound to you" in said(through(provider))
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("twin", ["k.o\u017fei@example.com", "k.ose\u0131@example.com"])
def test_an_address_that_only_looks_the_same_in_capitals_finds_nobody(provider: Provider, twin: str):
    assert twin.upper() == "K.OSEI@EXAMPLE.COM"
    provider.who["email"] = twin
    assert f"No account here belongs to {twin}." in said(through(provider))
    assert not SocialAccount.objects.exists()


def test_nobody_is_created(provider: Provider, cast: Cast):
    before = User.objects.count()
    provider.who = {"sub": "s-9", "email": "stranger@example.com", "email_verified": True}
    assert said(through(provider)) == "No account here belongs to stranger@example.com. Ask an admin to add one."
    assert User.objects.count() == before
    assert Entry.objects.latest("seq").tag == "signin.failed"


def test_a_removed_account_stays_out_and_two_accounts_are_no_answer(provider: Provider, cast: Cast):
    people.add("k.osei.2", roles=["viewer"], password=PASSWORD, actor=SYSTEM, person="k.osei")
    assert "Several accounts" in said(through(provider))
    User.objects.filter(username="k.osei.2").update(is_active=False)
    through(provider)
    User.objects.filter(pk=cast.osei.pk).update(is_active=False)
    assert said(through(provider)) == "Your account was removed. Ask an admin."


def test_what_was_typed_comes_along(provider: Provider):
    client = Client()
    carried = Client().post("/approvals/", {"comment": "typed"}, headers={"Sec-Fetch-Site": "same-origin"})
    through(provider, client, next="/approvals/", kept=hidden(carried, "kept"))
    assert client.session["kept"] == {"form": "/approvals/", "fields": {"comment": "typed"}}


def test_it_never_leads_elsewhere(provider: Provider):
    assert through(provider, next="https://evil.example/")["Location"] == "/"


def test_without_a_provider_there_is_no_such_door(cast: Cast):
    assert Client().post("/sign-in/with/sso/").status_code == 404
    assert Client().get(RETURN).status_code == 404
    assert "Sign in with" not in Client().get("/sign-in/").content.decode()


def test_a_person_from_there_owes_no_second_factor_here(provider: Provider, settings: Any):
    settings.SECOND_FACTOR = "required"
    client = Client()
    through(provider, client)
    assert client.post("/approvals/").status_code == 405


# ── What is believed ──


def test_a_way_back_that_was_not_started_here_leads_nowhere(provider: Provider):
    mine, other = Client(), Client()
    back = provider.sign_in(go(mine))
    assert "not started here" in said(other.get(back))
    assert "not started here" in said(mine.get(RETURN))
    assert mine.get(back).status_code == 302
    assert "not started here" in said(mine.get(back))  # once


def test_a_person_who_gives_up_there_is_told_so(provider: Provider):
    client = Client()
    state = provider.sign_in(go(client)).partition("state=")[2]
    answer = client.get(f"{RETURN}?error=access_denied&state={state}")
    assert said(answer) == "Keycloak did not sign you in. Start again."


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": ["desk", "another"], "azp": "another"},
        {"iss": "https://evil.example"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"iat": "soon"},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(provider: Provider, claims: dict[str, Any]):
    provider.claims = claims
    client = Client()
    assert said(through(provider, client))
    assert client.get("/").status_code == 302


def test_a_token_signed_by_another_key_is_refused(provider: Provider):
    provider.signs_with = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert "cannot be used" in said(through(provider))


@pytest.mark.parametrize(("algorithm", "key"), [("none", None), ("HS256", providers.SECRET.ljust(32, "x"))])
def test_a_token_without_a_real_signature_is_refused(provider: Provider, algorithm: str, key: Any):
    provider.algorithm, provider.signs_with = algorithm, key
    assert "cannot be used" in said(through(provider))


def test_a_key_that_was_not_published_is_refused(provider: Provider):
    provider.kid = "k2"
    assert "cannot be used" in said(through(provider))


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: repr(answer)[:24])
def test_a_provider_that_answers_nonsense_costs_a_sentence(provider: Provider, path: str, answer: tuple[int, bytes]):
    client = Client()
    if path != "/.well-known/openid-configuration":
        back = provider.sign_in(go(client))
        provider.raw[path] = answer
        assert "cannot be used" in said(client.get(back))
    else:
        provider.raw[path] = answer
        assert "cannot be used" in said(client.post("/sign-in/with/sso/"))
    assert client.get("/").status_code == 302


def test_a_document_of_another_issuer_and_addresses_without_tls_are_refused(provider: Provider):
    provider.document = {"issuer": "https://evil.example"}
    assert "cannot be used" in said(Client().post("/sign-in/with/sso/"))
    provider.document = {}
    client = Client()
    back = provider.sign_in(go(client))
    provider.document = {"token_endpoint": provider.url.replace("https", "http") + "/token"}
    assert "cannot be used" in said(client.get(back))


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_asked(
    provider: Provider, settings: Any, tmp_path: Path
):
    with providers.running(tmp_path, issue("idp")) as stranger:
        settings.OIDC_ISSUER = stranger.url
        assert "cannot be reached" in said(Client().post("/sign-in/with/sso/"))
        assert stranger.paths == []


# ── Confirming ──


@pytest.fixture
def alone(provider: Provider, cast: Cast) -> Client:
    """k.osei, who has no password here and no second factor, signed in through the provider."""
    client = Client()
    through(provider, client)
    User.objects.filter(pk=cast.osei.pk).update(password="!")
    client.logout()
    through(provider, client)
    return client


def confirming(client: Client, operation: str = "approve", digest: str = "d1", **post: str) -> str:
    """The words of the proof, or of the refusal."""
    request = asked_by(client, **({"confirm_ticket": confirm.ticket(asked_by(client), operation, digest)} | post))
    try:
        found = confirm.prove(request, operation, digest).words
    except Refused as refused:
        found = refused.words
    request.session.save()
    return found


def round_trip(provider: Provider, client: Client, operation: str = "approve", digest: str = "d1", **more: str) -> Any:
    ticket = confirm.ticket(asked_by(client), operation, digest)
    answer = client.post("/confirm/with/sso/", {"confirm_ticket": ticket} | more)
    found = re.search(r'content="0;url=([^"]*)"', answer.content.decode())
    return client.get(provider.sign_in(html.unescape(found[1]))) if found else answer


def test_having_signed_in_a_moment_ago_confirms_nothing(alone: Client):
    assert confirming(alone) == "Confirm that it is you with Keycloak; that is good for five minutes."
    assert "Keycloak" in confirming(alone, confirm_password="", confirm_code="")
    assert "Keycloak" in confirming(alone, confirm_password="!")


def test_a_new_sign_in_there_confirms_this_operation_once(provider: Provider, alone: Client):
    answer = round_trip(provider, alone, comment="typed")
    assert answer["Location"] == "/"
    assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
    assert alone.session["kept"] == {"form": "/", "fields": {"comment": "typed"}}
    assert confirm.offer(asked_by(alone), "approve", "d1").granted
    assert "Keycloak; that is good" in confirming(alone, "policy")
    assert "Keycloak; that is good" in confirming(alone, digest="d2")
    words = confirming(alone)
    assert re.fullmatch(r"Signed in with Keycloak at [\d:]{8} UTC; confirmed with Keycloak at [\d:]{8} UTC", words)
    assert "Keycloak; that is good" in confirming(alone)


def test_a_grant_that_is_taken_twice_is_good_for_once(provider: Provider, alone: Client):
    round_trip(provider, alone)
    granted = alone.session["confirmed"]
    confirming(alone)
    session = alone.session
    session["confirmed"] = granted  # as a second request, which had read the session before, would hold it
    session.save()
    assert confirming(alone) == "This confirmation was used already. Confirm again."


@pytest.mark.parametrize(("seconds", "good"), [(299, True), (301, False)])
def test_a_grant_is_good_for_five_minutes(provider: Provider, alone: Client, seconds: int, good: bool):
    round_trip(provider, alone)
    session = alone.session
    session["confirmed"] |= {"at": (database_now() - timedelta(seconds=seconds)).isoformat()}
    session.save()
    assert ("; confirmed with Keycloak" in confirming(alone)) is good


def test_a_grant_is_of_one_session(provider: Provider, alone: Client):
    round_trip(provider, alone)
    other = Client()
    through(provider, other)
    session = other.session
    session["confirmed"] = alone.session["confirmed"]
    session.save()
    assert "Keycloak; that is good" in confirming(other)


@pytest.mark.parametrize("at", [None, "never", -331, 60])
def test_a_provider_that_does_not_say_that_they_signed_in_just_now_confirms_nothing(
    provider: Provider, alone: Client, at: Any
):
    provider.claims = {"auth_time": int(time.time()) + at if isinstance(at, int) else at}
    assert "does not say that you signed in just now" in said(round_trip(provider, alone))
    assert "Keycloak; that is good" in confirming(alone)


def test_somebody_else_there_does_not_confirm_for_the_one_here(provider: Provider, alone: Client):
    provider.who = {"sub": "s-99", "email": "k.osei@example.com", "email_verified": True}
    assert "names somebody else" in said(round_trip(provider, alone))
    assert "Keycloak; that is good" in confirming(alone)
    assert Entry.objects.latest("seq").tag == "confirm.refused"


def test_from_a_dialog_htmx_leads_there(provider: Provider, alone: Client):
    ticket = confirm.ticket(asked_by(alone), "approve", "d1")
    answer = alone.post("/confirm/with/sso/", {"confirm_ticket": ticket}, headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert alone.get(provider.sign_in(answer["HX-Redirect"]))["Location"] == "/"
    assert confirm.offer(asked_by(alone), "approve", "d1").granted


def test_whoever_has_a_second_factor_does_not_confirm_there(provider: Provider, cast: Cast):
    client = browser(cast.osei)
    add_app(client)
    SocialAccount.objects.create(provider=provider.url, uid="s-17", user=cast.osei)
    assert said(round_trip(provider, client)) == "Your account does not confirm in this way."
    assert not confirm.offer(asked_by(client), "approve", "d1").provider


def test_the_page_offers_the_round_trip_and_then_says_that_it_is_done(provider: Provider, alone: Client):
    page = parsed(alone.get("/account/app/"))
    assert page.one("button", formaction="/confirm/with/sso/").text == "Confirm with Keycloak"
    fields = {"confirm_ticket": hidden(alone.get("/account/app/"), "confirm_ticket"), "secret": "x", "code": "1"}
    answer = alone.post("/confirm/with/sso/", fields)
    found = re.search(r'content="0;url=([^"]*)"', answer.content.decode())
    assert found
    assert alone.get(provider.sign_in(html.unescape(found[1])))["Location"] == "/account/app/"
    assert "Confirmed with Keycloak at" in parsed(alone.get("/account/app/")).text
    assert "kept" not in alone.session or "secret" not in alone.session["kept"]["fields"]


# ── Emergency ──


def test_an_emergency_code_lets_in_once_only_while_it_is_switched_on(alone: Client, settings: Any):
    with pytest.raises(emergency.Refused, match="off"):
        emergency.make("k.osei", actor=SYSTEM)
    settings.EMERGENCY_SIGN_IN = True
    code = emergency.make("k.osei", actor=SYSTEM)
    settings.EMERGENCY_SIGN_IN = False
    assert sign_in(Client(), "k.osei", code).status_code == 422
    settings.EMERGENCY_SIGN_IN = True
    client = Client()
    assert sign_in(client, "k.osei", code.lower().replace("-", " "))["Location"] == "/"
    last = Entry.objects.latest("seq")
    assert (last.tag, last.record["words"]) == ("signin.emergency", "Signed in with an emergency code.")
    assert sign_in(Client(), "k.osei", code).status_code == 422
    assert confirming(client) == "Confirm that it is you with Keycloak; that is good for five minutes."
    again = emergency.make("k.osei", actor=SYSTEM)
    words = confirming(client, confirm_password=again)
    assert re.fullmatch(r"Signed in with an emergency code at .* UTC; confirmed with an emergency code", words)
    assert confirming(client, confirm_password=again) == "The code is wrong."
