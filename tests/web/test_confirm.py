"""Confirming that it is still the same person: for this operation on this digest, in this session, once."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from dashboard.accounts import signin
from dashboard.accounts.models import SignInFailures, User
from dashboard.failovers.lifecycle import Refused
from dashboard.web import confirm
from tests.conftest import Cast
from tests.web.confirming import asked_by, confirmed
from tests.web.fleet import browser

pytestmark = pytest.mark.django_db
USED = "This confirmation was used already. Confirm again."
ELSE = "This confirmation was made for something else, or before you signed in again. Confirm again."


def refused(client, operation="approve", digest="d1", **post) -> str:
    with pytest.raises(Refused) as caught:
        confirm.prove(asked_by(client, **post), operation, digest)
    assert (caught.value.field, caught.value.tag) == ("confirm", "confirm.refused")
    return caught.value.words


def test_a_password_confirms(cast: Cast):
    client = browser(cast.osei)
    proof = confirm.prove(asked_by(client, **confirmed(client, "approve", "d1")), "approve", "d1")
    assert proof.words == "Signed in; confirmed with password"


def test_the_proof_tells_how_and_when_the_person_signed_in(cast: Cast, client):
    client.post("/sign-in/", {"username": "k.osei", "password": "demo"})
    at = client.session["signed_in"]["at"][11:19]
    proof = confirm.prove(asked_by(client, **confirmed(client, "approve", "d1")), "approve", "d1")
    assert proof.words == f"Signed in with password at {at} UTC; confirmed with password"


def test_it_confirms_once(cast: Cast):
    client = browser(cast.osei)
    fields = confirmed(client, "approve", "d1")
    confirm.prove(asked_by(client, **fields), "approve", "d1")
    assert refused(client, **fields) == USED


@pytest.mark.parametrize(("operation", "digest"), [("policy", "d1"), ("approve", "d2"), ("", ""), ("approved", "1")])
def test_it_confirms_nothing_else(cast: Cast, operation, digest):
    client = browser(cast.osei)
    assert refused(client, operation, digest, **confirmed(client, "approve", "d1")) == ELSE


def test_it_is_worth_nothing_in_another_session(cast: Cast):
    here, there = browser(cast.osei), browser(cast.osei)
    assert refused(there, **confirmed(here, "approve", "d1")) == ELSE


def test_it_is_worth_nothing_for_another_account(cast: Cast):
    client = browser(cast.osei)
    fields = confirmed(client, "approve", "d1")
    request = asked_by(client, **fields)
    request.user = cast.lind
    with pytest.raises(Refused, match="made for something else"):
        confirm.prove(request, "approve", "d1")


def test_an_account_that_was_removed_meanwhile_confirms_nothing(cast: Cast):
    client = browser(cast.osei)
    request = asked_by(client, **confirmed(client, "approve", "d1"))
    User.objects.filter(pk=cast.osei.pk).update(is_active=False)
    with pytest.raises(Refused, match="removed"):
        confirm.prove(request, "approve", "d1")


@pytest.mark.parametrize("ticket", ["", "x", "x:y:z", "\0"])
def test_a_ticket_that_is_none_is_refused(cast: Cast, ticket):
    words = refused(browser(cast.osei), confirm_ticket=ticket, confirm_password="demo")
    assert words == "This page has no confirmation that can be used. Confirm again."


def test_nothing_typed_is_no_guess(cast: Cast):
    client = browser(cast.osei)
    assert refused(client, **confirmed(client, "approve", "d1", password="")) == (
        "Confirm that it is you: type your password."
    )
    assert not SignInFailures.objects.exists()


def test_wrong_tries_count_with_failed_sign_ins_and_a_right_one_is_then_refused_too(cast: Cast):
    client = browser(cast.osei)
    for _ in range(5):
        assert refused(client, **confirmed(client, "approve", "d1", password="wrong")) == "The password is wrong."
    for _ in range(5):
        signin.record_failure("k.osei", "127.0.0.1")
    assert "Too many failed sign-ins" in refused(client, **confirmed(client, "approve", "d1"))


def test_a_wrong_try_does_not_spend_the_ticket(cast: Cast):
    client = browser(cast.osei)
    fields = confirmed(client, "approve", "d1")
    refused(client, **fields | {"confirm_password": "wrong"})
    assert confirm.prove(asked_by(client, **fields), "approve", "d1")


def test_whoever_has_no_password_is_offered_nothing_and_refused(cast: Cast):
    cast.osei.set_unusable_password()
    cast.osei.save()
    client = browser(cast.osei)
    assert not confirm.offer(asked_by(client), "approve", "d1").possible
    assert "nothing to confirm with" in refused(client, **confirmed(client, "approve", "d1"))


@pytest.mark.django_db(transaction=True)
def test_of_two_who_send_it_at_the_same_time_one_has_confirmed(cast: Cast):
    client = browser(cast.osei)
    requests = [asked_by(client, **confirmed(client, "approve", "d1"))] * 2
    found: list[str] = []
    ready = threading.Barrier(2)

    def send(request) -> None:
        try:
            ready.wait(timeout=30)
            found.append(confirm.prove(request, "approve", "d1").words)
        except Refused as refused:
            found.append(refused.words)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["Signed in; confirmed with password", USED]
