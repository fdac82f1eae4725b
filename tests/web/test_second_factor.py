"""Second factors: adding them, signing in with them, confirming with them, and what each is good for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client
from django.urls import URLResolver, get_resolver
from fido2.utils import websafe_encode

from dashboard.accounts import factors, signin
from dashboard.accounts.models import SpentConfirmation, User
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers.lifecycle import Refused
from dashboard.web import confirm
from tests.conftest import PASSWORD, Cast
from tests.web.confirming import asked_by
from tests.web.fleet import Page, browser, parsed
from tests.web.keys import App, Key, add_app, add_key, hidden, options, sign_in, touched

pytestmark = pytest.mark.django_db


def codes_of(answer) -> list[str]:
    return parsed(answer).one("pre", "shell").text.split()


def tags() -> list[str]:
    return list(Entry.objects.order_by("seq").values_list("tag", flat=True))


def words() -> str:
    return str(Entry.objects.latest("seq").record["words"])


@pytest.fixture
def app(cast: Cast) -> App:
    """The app of k.osei, whose last code was used a step ago."""
    return add_app(browser(cast.osei))[0]


@pytest.fixture
def key(cast: Cast) -> Key:
    return add_key(browser(cast.osei))[0]


def half_way(name: str = "k.osei") -> Client:
    client = Client()
    assert sign_in(client, name)["Location"] == "/sign-in/second-factor/"
    return client


# ── Adding ──


def test_an_app_is_added_with_its_first_code_and_brings_recovery_codes(cast: Cast):
    client = browser(cast.osei)
    app, answer = add_app(client)
    assert len(set(codes_of(answer))) == 10
    assert tags()[-2:] == ["factor.added", "factor.added"]
    assert words() == "k.osei made 10 recovery codes."
    page = parsed(client.get("/account/"))
    assert "Authenticator app" in page.text
    assert "10 are left" in page.text
    assert app.secret not in str(list(Authenticator.objects.values_list("data", flat=True)))


def test_the_picture_is_an_image_and_holds_what_the_page_says(cast: Cast):
    page = parsed(browser(cast.osei).get("/account/app/"))
    assert page.one("img", "qr").attrs["src"].startswith("data:image/svg+xml;base64,")


def test_a_wrong_first_code_adds_nothing_and_keeps_the_picture(cast: Cast):
    client = browser(cast.osei)
    page = client.get("/account/app/")
    fields = {"secret": hidden(page, "secret"), "code": "000000", "confirm_ticket": hidden(page, "confirm_ticket")}
    answer = client.post("/account/app/", fields | {"confirm_password": PASSWORD})
    assert answer.status_code == 422
    secret = r'<code class="mono">([^<]*)'
    assert re.findall(secret, answer.content.decode()) == re.findall(secret, page.content.decode())
    assert not Authenticator.objects.exists()


def test_without_confirming_nothing_is_added_and_the_attempt_is_recorded(cast: Cast):
    client = browser(cast.osei)
    for given in ({"confirm_password": "wrong"}, {"confirm_password": ""}):
        assert add_app(client, **given)[1].status_code == 422
        assert add_key(client, **given)[1].status_code == 422
    assert not Authenticator.objects.exists()
    assert set(tags()[-4:]) == {"confirm.refused"}


def test_a_secret_of_another_account_is_refused(cast: Cast):
    there, here = browser(cast.lind), browser(cast.osei)
    theirs, mine = there.get("/account/app/"), here.get("/account/app/")
    fields = {"secret": hidden(theirs, "secret"), "code": "1", "confirm_ticket": hidden(mine, "confirm_ticket")}
    assert here.post("/account/app/", fields).status_code == 400
    assert here.post("/account/app/", fields | {"secret": "x"}).status_code == 400


def test_a_key_is_added_and_named(cast: Cast):
    client = browser(cast.osei)
    _, answer = add_key(client)
    assert len(codes_of(answer)) == 10
    assert "blue key" in parsed(client.get("/account/")).text
    assert "k.osei added the security key blue key." in [e.record["words"] for e in Entry.objects.all()]


def test_a_key_cannot_be_added_twice_or_from_another_site(cast: Cast):
    client = browser(cast.osei)
    key, _ = add_key(client)
    again = add_key(client, key, **touched(client, key, hidden(client.get("/account/key/"), "confirm_ticket")))[1]
    assert again.status_code == 422
    elsewhere = add_key(browser(cast.lind), Key("https://evil.example"))[1]
    assert "cannot be used" in Page(elsewhere.content.decode()).root.text
    assert Authenticator.objects.filter(type="webauthn").count() == 1


def answer_of(**parts: bytes) -> str:
    coded = {name: websafe_encode(part) for name, part in parts.items()}
    return json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": coded})


_CLIENT = b'{"type": "webauthn.get", "challenge": "AA", "origin": "http://testserver"}'


@pytest.mark.parametrize(
    "answer",
    [
        *("", "x", "{}", "[]", "null", '{"id": 1}', '{"response": {"clientDataJSON": 5}}', "[" * 100_000),
        answer_of(clientDataJSON=_CLIENT, attestationObject=b"", authenticatorData=b"", signature=b""),
        answer_of(
            clientDataJSON=_CLIENT,
            attestationObject=b"\x1b",
            authenticatorData=b"\0" * 32 + b"\x81" + b"\0" * 4,
            signature=b"",
        ),
    ],
)
def test_an_answer_that_no_key_gives_is_refused(cast: Cast, key: Key, answer: str):
    client = browser(cast.lind)
    page = client.get("/account/key/")
    fields = {"name": "", "challenge": hidden(page, "challenge"), "answer": answer}
    fields |= {"confirm_ticket": hidden(page, "confirm_ticket"), "confirm_password": PASSWORD}
    assert client.post("/account/key/", fields).status_code == 422
    door = half_way()
    assert door.post("/sign-in/second-factor/", {"answer": answer}).status_code == 422


# ── Signing in ──


def test_a_password_alone_leads_half_way_and_opens_nothing(app: App):
    client = half_way()
    assert client.get("/").status_code == 302
    assert client.get("/live/")["X-Signed-Out"] == "1"
    assert "signin.succeeded" not in tags()


def test_a_code_signs_in_once(app: App):
    client = half_way()
    code = app.code()
    assert client.post("/sign-in/second-factor/", {"code": code})["Location"] == "/"
    assert client.get("/").status_code == 200
    assert words() == "Signed in with password and TOTP."
    other = half_way()
    answer = other.post("/sign-in/second-factor/", {"code": code})
    assert (answer.status_code, other.get("/").status_code) == (422, 302)


def test_no_code_before_the_last_one_is_good(app: App):
    assert half_way().post("/sign-in/second-factor/", {"code": app.code(1)})["Location"] == "/"
    assert half_way().post("/sign-in/second-factor/", {"code": app.code(0)}).status_code == 422


@pytest.mark.parametrize("step", [-3, -2, 2, 3])
def test_a_clock_that_is_far_off_is_not_believed(app: App, step: int):
    assert half_way().post("/sign-in/second-factor/", {"code": app.code(step)}).status_code == 422


def test_a_recovery_code_signs_in_once(cast: Cast):
    code = codes_of(add_app(browser(cast.osei))[1])[3]
    assert half_way().post("/sign-in/second-factor/", {"code": code})["Location"] == "/"
    assert words() == "Signed in with password and recovery code."
    assert half_way().post("/sign-in/second-factor/", {"code": code}).status_code == 422


def test_a_key_signs_in(key: Key):
    client = half_way()
    page = client.get("/sign-in/second-factor/")
    assert client.post("/sign-in/second-factor/", {"answer": key.get(options(page))})["Location"] == "/"
    assert words() == "Signed in with password and security key."


def test_what_a_key_signed_is_good_for_the_way_in_that_asked_for_it_and_once(key: Key):
    key.counter = -1  # it does not count, as those in phones do not: no counter tells the second use
    client, other = half_way(), half_way()
    answer = key.get(options(client.get("/sign-in/second-factor/")))
    assert other.post("/sign-in/second-factor/", {"answer": answer}).status_code == 422
    assert client.post("/sign-in/second-factor/", {"answer": answer}).status_code == 302
    again = half_way()
    assert again.post("/sign-in/second-factor/", {"answer": answer}).status_code == 422


def test_a_key_of_somebody_else_a_copied_key_and_another_site_do_not(cast: Cast, key: Key):
    stranger, copy = Key(), Key()
    copy.__dict__ |= key.__dict__
    client = half_way()
    page = client.get("/sign-in/second-factor/")
    key.origin = "https://evil.example"
    for answer in (stranger.get(options(page)), key.get(options(page))):
        assert client.post("/sign-in/second-factor/", {"answer": answer}).status_code == 422
    key.origin = "http://testserver"
    assert client.post("/sign-in/second-factor/", {"answer": key.get(options(page))}).status_code == 302
    behind = half_way()
    page = behind.get("/sign-in/second-factor/")
    assert behind.post("/sign-in/second-factor/", {"answer": copy.get(options(page))}).status_code == 422


def test_ten_wrong_codes_are_the_end_for_five_minutes_with_the_right_one_too(app: App):
    client = half_way()
    for _ in range(10):
        assert client.post("/sign-in/second-factor/", {"code": "123"}).status_code == 422
    assert client.post("/sign-in/second-factor/", {"code": app.code()}).status_code == 429
    assert sign_in(Client(), "k.osei").status_code == 429
    assert "signin.failed" in tags()


def test_codes_guessed_from_many_addresses_end_codes_everywhere_and_no_keys(cast: Cast, app: App):
    client, inside = half_way(), browser(cast.osei)
    ticket = hidden(inside.get("/account/codes/"), "confirm_ticket")
    guess = {"confirm_ticket": ticket, "confirm_code": "000000", "confirm_answer": "x"}
    for number in range(15):
        client.post("/sign-in/second-factor/", {"code": "000000"}, REMOTE_ADDR=f"10.8.1.{number}")
        inside.post("/account/codes/", guess, REMOTE_ADDR=f"10.8.2.{number}")
    answer = client.post("/sign-in/second-factor/", {"code": app.code()}, REMOTE_ADDR="10.8.3.1")
    assert (answer.status_code, "Too many wrong codes" in answer.content.decode()) == (429, True)
    answer = inside.post("/account/codes/", guess | {"confirm_code": app.code()}, REMOTE_ADDR="10.8.3.1")
    assert (answer.status_code, "Too many wrong codes" in answer.content.decode()) == (422, True)
    answer = client.post("/sign-in/second-factor/", {"answer": "x"}, REMOTE_ADDR="10.8.3.1")
    assert (answer.status_code, "not a security key" in answer.content.decode()) == (422, True)


def test_half_way_lasts_five_minutes_and_no_longer_than_the_password(app: App):
    client = half_way()
    session = client.session
    session["half"] |= {"at": (database_now() - timedelta(minutes=5, seconds=1)).isoformat()}
    session.save()
    assert client.post("/sign-in/second-factor/", {"code": app.code()})["Location"] == "/sign-in/"
    client = half_way()
    user = User.objects.get(username="k.osei")
    user.set_password("another")
    user.save()
    assert client.post("/sign-in/second-factor/", {"code": app.code()})["Location"] == "/sign-in/"


def test_nobody_is_half_way_without_a_password():
    assert Client().get("/sign-in/second-factor/")["Location"] == "/sign-in/"


def test_what_was_typed_and_where_to_go_survive_the_second_step(cast: Cast, app: App):
    client = Client()
    carried = Client().post("/approvals/", {"comment": "typed"}, headers={"Sec-Fetch-Site": "same-origin"})
    sign_in(client, "k.osei", next="/approvals/", kept=hidden(carried, "kept"))
    answer = client.post("/sign-in/second-factor/", {"code": app.code()})
    assert answer["Location"] == "/approvals/"
    assert client.session["kept"]["fields"] == {"comment": "typed"}


def test_switched_off_nobody_is_asked(app: App, settings):
    settings.SECOND_FACTOR = "off"
    client = Client()
    assert sign_in(client, "k.osei")["Location"] == "/"
    assert client.get("/account/app/").status_code == 404
    assert "switched off" in parsed(client.get("/account/")).text


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_code_at_the_same_time_one_gets_in(cast: Cast):
    app, _ = add_app(browser(cast.osei))
    code, found, ready = app.code(), [], threading.Barrier(2)

    def use() -> None:
        try:
            ready.wait(timeout=30)
            found.append(factors.check_code(cast.osei, code))
        finally:
            connection.close()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["", "TOTP"]


# ── Confirming ──


def refusal(client: Client, **post: str) -> str:
    with pytest.raises(Refused) as caught:
        confirm.prove(asked_by(client, **post), "approve", "d1")
    return caught.value.words


def test_with_a_second_factor_a_password_confirms_nothing(cast: Cast, app: App):
    client = browser(cast.osei)
    offered = confirm.offer(asked_by(client), "approve", "d1")
    assert (offered.password, offered.code) == (False, True)
    fields = {"confirm_ticket": offered.ticket}
    assert refusal(client, **fields, confirm_password=PASSWORD) == "Confirm that it is you: type a code."
    proof = confirm.prove(asked_by(client, **fields, confirm_code=app.code()), "approve", "d1")
    assert proof.words == "Signed in; confirmed with TOTP"


def test_a_code_that_signed_in_does_not_confirm_as_well(cast: Cast, app: App):
    code = app.code()
    client = half_way()
    client.post("/sign-in/second-factor/", {"code": code})
    ticket = confirm.ticket(asked_by(client), "approve", "d1")
    assert refusal(client, confirm_ticket=ticket, confirm_code=code) == "The code is wrong, or was used before."


def remove(client: Client, pk: int, **fields: str):
    address = f"/account/factors/{pk}/remove/"
    return client.post(address, {"confirm_ticket": hidden(client.get(address), "confirm_ticket")} | fields)


def test_a_key_confirms_within_five_minutes_for_this_ticket_once(cast: Cast, key: Key):
    client = browser(cast.osei)
    pk = Authenticator.objects.get(type="webauthn").pk
    address = f"/account/factors/{pk}/remove/"
    ticket = hidden(client.get(address), "confirm_ticket")
    other = hidden(client.get("/account/codes/"), "confirm_ticket")
    assert remove(client, pk, **touched(client, key, other)).status_code == 422  # for another operation
    unasked = key.get({"publicKey": {"rpId": "testserver", "challenge": "AAAA"}})
    assert remove(client, pk, confirm_answer=unasked).status_code == 422
    fields = touched(client, key, ticket)
    assert client.post(address, fields)["Location"] == "/account/"
    assert SpentConfirmation.objects.count() == 2  # the one that added the key, and this one


def test_a_touch_that_is_stale_by_a_second_is_refused(cast: Cast, key: Key):
    client = browser(cast.osei)
    request = asked_by(client)
    held = confirm._held(confirm.ticket(request, "approve", "d1"))
    page = client.get("/confirm/challenge/", {"ticket": held.signed()}).json()
    made = confirm._held(page["ticket"])
    for seconds, said in ((301, "more than five minutes ago"), (299, "not a security key")):
        at = (database_now() - timedelta(seconds=seconds)).isoformat()
        old = confirm._Ticket(bound=made.bound, nonce=made.nonce, page=made.page, challenge=made.challenge, at=at)
        assert said in refusal_with_key(client, old.signed(), "{}")


def refusal_with_key(client: Client, ticket: str, answer: str) -> str:
    from allauth.core import context

    request = asked_by(client, confirm_ticket=ticket, confirm_answer=answer)
    with pytest.raises(Refused) as caught, context.request_context(request):
        confirm.prove(request, "approve", "d1")
    return caught.value.words


def test_a_challenge_is_given_to_the_page_of_this_session_only(cast: Cast, key: Key):
    client = browser(cast.osei)
    answer = client.get("/confirm/challenge/", {"ticket": "forged"})
    assert (answer.status_code, answer.json()["words"]) == (
        422,
        "This page has no confirmation that can be used. Confirm again.",
    )


# ── Removing ──


def test_removing_a_factor_ends_the_other_sessions_and_is_recorded(cast: Cast, app: App):
    here, there = browser(cast.osei), browser(cast.osei)
    pk = Authenticator.objects.get(type="totp").pk
    assert remove(here, pk, confirm_code=app.code())["Location"] == "/account/"
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert not Authenticator.objects.exists()  # the recovery codes went with the last one
    assert (tags()[-1], words()) == ("factor.removed", "k.osei removed the authenticator app.")
    assert sign_in(Client(), "k.osei")["Location"] == "/"


def test_a_factor_of_somebody_else_is_not_there(cast: Cast, app: App):
    pk = Authenticator.objects.get(type="totp").pk
    client = browser(cast.lind)
    assert client.get(f"/account/factors/{pk}/remove/").status_code == 404
    assert client.post(f"/account/factors/{pk}/remove/", {}).status_code == 404


def test_new_recovery_codes_make_the_old_ones_void(cast: Cast):
    client = browser(cast.osei)
    app, answer = add_app(client)
    old = codes_of(answer)
    ticket = hidden(client.get("/account/codes/"), "confirm_ticket")
    new = codes_of(client.post("/account/codes/", {"confirm_ticket": ticket, "confirm_code": app.code()}))
    assert not set(new) & set(old)
    assert half_way().post("/sign-in/second-factor/", {"code": old[0]}).status_code == 422
    assert half_way().post("/sign-in/second-factor/", {"code": new[0]}).status_code == 302


def test_there_are_no_recovery_codes_without_a_second_factor(cast: Cast):
    client = browser(cast.osei)
    ticket = hidden(client.get("/account/codes/"), "confirm_ticket")
    answer = client.post("/account/codes/", {"confirm_ticket": ticket, "confirm_password": PASSWORD})
    assert (answer.status_code, Authenticator.objects.count()) == (422, 0)


# ── Doors that are not ours ──


def callbacks(patterns) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from callbacks(pattern.url_patterns)
        else:
            yield pattern.callback.__module__


def test_no_page_of_the_libraries_is_reachable(cast: Cast):
    assert {module.rsplit(".", 1)[0] for module in callbacks(get_resolver().url_patterns)} == {"dashboard.web.views"}
    client = browser(cast.osei)
    for path in ("accounts/login", "accounts/signup", "accounts/password/reset", "accounts/2fa", "accounts/email"):
        assert client.get(f"/{path}/").status_code == 404


# ── Required ──


def test_where_one_is_required_forms_lead_to_the_account_and_back_filled(cast: Cast, settings):
    settings.SECOND_FACTOR = "required"
    client = browser(cast.rivera)
    assert client.get("/").status_code == 200  # they can read
    answer = client.post("/approvals/", {"reason": "typed", "confirm_password": "secret"})
    assert answer["Location"] == "/account/?next=%2Fapprovals%2F"
    assert "needs a second factor" in parsed(client.get(answer["Location"])).text
    done = add_app(client)[1]
    assert 'href="/approvals/"' in done.content.decode()
    assert client.session["kept"] == {"form": "/approvals/", "fields": {"reason": "typed"}}
    assert client.post("/approvals/", {}).status_code == 405  # through to the page itself


def test_htmx_is_led_there_without_a_redirect(cast: Cast, settings):
    settings.SECOND_FACTOR = "required"
    answer = browser(cast.osei).post("/approvals/", {}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/account/?next=%2Fapprovals%2F")


def test_it_is_required_of_those_who_ask_decide_or_administer(cast: Cast, settings):
    settings.SECOND_FACTOR = "required"
    for user in (cast.rivera, cast.osei, cast.admin):
        assert browser(user).post("/approvals/", {}).status_code == 302
    for user in (cast.viewer, cast.okafor):
        assert browser(user).post("/approvals/", {}).status_code == 405
    assert browser(cast.osei).post("/sign-out/").status_code == 302
    assert "signout" in tags()


def test_the_limit_of_one_address_does_not_shut_out_another(cast: Cast, app: App):
    for _ in range(10):
        signin.record_failure("k.osei", "192.0.2.7")
    assert half_way().post("/sign-in/second-factor/", {"code": app.code()})["Location"] == "/"
