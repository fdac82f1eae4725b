"""`manage.py signin`: help for people who cannot get in, from the shell, in the ledger."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client

from dashboard.accounts.models import EmergencyCode, Person, User
from dashboard.audit.models import Entry
from tests.conftest import Cast
from tests.web.fleet import browser
from tests.web.keys import add_app, add_key, sign_in

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("signin", *args, stdout=out)
    return out.getvalue()


def refused(*args: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*args)
    return str(caught.value)


def last() -> tuple[str, str]:
    entry = Entry.objects.latest("seq")
    return entry.tag, entry.record["words"]


def test_a_lost_phone_is_taken_away_and_every_session_with_it(cast: Cast):
    client = browser(cast.osei)
    app, _ = add_app(client)
    add_key(client, confirm_code=app.code())
    assert "signed out everywhere" in run("remove-factor", "K.Osei")
    assert last() == ("factor.removed", "All second factors of k.osei were removed.")
    assert not Authenticator.objects.exists()
    assert client.get("/").status_code == 302
    assert sign_in(Client(), "k.osei")["Location"] == "/"
    assert refused("remove-factor", "k.osei") == "The account k.osei has no second factor."
    assert refused("remove-factor", "nobody") == "There is no account nobody."


def test_an_account_can_lose_its_password_to_the_identity_provider(cast: Cast, settings):
    assert "no identity provider" in refused("sso-only", "k.osei")
    settings.OIDC_ISSUER, settings.OIDC_NAME = "https://idp.example", "Keycloak"
    assert "no e-mail address" in refused("sso-only", "k.osei")
    Person.objects.filter(label="k.osei").update(email="k.osei@example.com")
    client = browser(cast.osei)
    assert "no password any more" in run("sso-only", "k.osei")
    assert last() == ("person.changed", "Account k.osei: no password any more; it signs in through Keycloak.")
    assert client.get("/").status_code == 302
    assert sign_in(Client(), "k.osei").status_code == 422


def test_an_emergency_code_is_shown_once_and_stored_as_a_hash(cast: Cast, settings):
    User.objects.filter(pk=cast.osei.pk).update(password="!")
    assert "Emergency sign-in is off" in refused("emergency", "k.osei")
    settings.EMERGENCY_SIGN_IN = True
    assert refused("emergency", "a.rivera") == "The account a.rivera has a password and needs no emergency code."
    assert refused("emergency", "nobody") == "There is no account nobody that may sign in."
    code = run("emergency", "k.osei").split()[0]
    assert code not in str(EmergencyCode.objects.values_list("hash", flat=True).get())
    assert last()[0] == "signin.emergency"
    assert code not in str(Entry.objects.latest("seq").payload)
    assert sign_in(Client(), "a.rivera", code).status_code == 422
    assert sign_in(Client(), "k.osei", code)["Location"] == "/"


def test_an_emergency_code_is_good_for_a_day(cast: Cast, settings):

    User.objects.filter(pk=cast.osei.pk).update(password="!")
    settings.EMERGENCY_SIGN_IN = True
    code = run("emergency", "k.osei").split()[0]
    EmergencyCode.objects.update(until=F("until") - timedelta(hours=24, seconds=1))
    assert sign_in(Client(), "k.osei", code).status_code == 422
