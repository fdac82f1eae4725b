"""When a session is over: left alone, too old, or begun with what is no longer so. Polls keep none alive."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import Client

from dashboard.accounts.models import User
from dashboard.audit.models import Entry
from dashboard.database import database_now
from tests.conftest import Cast
from tests.web.fleet import browser
from tests.web.keys import add_app, hidden, sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.web.desk_urls")]


def left_alone(client: Client, **ago: float) -> None:
    """As if the last click had been so long ago."""
    session = client.session
    session["seen"] = (database_now() - timedelta(**ago)).isoformat()
    session.save()


def later(**passed: float) -> None:
    """As if the whole session had begun so much earlier."""
    Session.objects.update(expire_date=F("expire_date") - timedelta(**passed))


@pytest.fixture
def client(cast: Cast) -> Client:
    return browser(cast.osei)


def test_half_an_hour_without_a_click_ends_it(client: Client):
    left_alone(client, minutes=29, seconds=58)
    assert client.get("/form/").status_code == 200
    left_alone(client, minutes=30, seconds=1)
    answer = client.get("/form/")
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/?next=%2Fform%2F")


def test_a_click_keeps_it_and_a_poll_does_not(client: Client):
    left_alone(client, minutes=20)
    seen = client.session["seen"]
    assert client.get("/form/live/", headers={"HX-Request": "true"}).status_code == 200
    assert client.get("/form/live/").status_code == 200
    assert client.get("/wall/").status_code == 200
    assert client.session["seen"] == seen
    client.get("/form/")
    assert client.session["seen"] > seen


def test_a_click_is_written_down_once_a_minute(client: Client, django_assert_num_queries):
    client.get("/form/")
    with django_assert_num_queries(2):  # session, user
        client.get("/form/")


def test_a_poll_of_an_idle_session_gets_the_mark_and_typed_text_survives(client: Client):
    left_alone(client, minutes=31)
    answer = client.get("/form/live/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["X-Signed-Out"], answer.content) == (204, "1", b"")
    ours = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    page = client.post("/form/", {"reason": "typed"}, headers=ours)
    assert 'name="password"' in page.content.decode()
    answer = sign_in(client, "k.osei", next="/form/", kept=hidden(page, "kept"))
    assert answer["Location"] == "/form/"
    assert client.get("/form/").content == b"form [('reason', 'typed')]"


def test_the_wall_has_no_idle_limit_and_shows_nothing_else(client: Client):
    left_alone(client, hours=3)
    assert client.get("/wall/").status_code == 200
    assert client.get("/wall/live/").status_code == 200
    assert client.get("/form/").status_code == 302
    assert client.get("/wall/").status_code == 200  # the click elsewhere did not take it away


def test_twelve_hours_end_it_whatever_was_clicked_and_the_wall_too(client: Client):
    later(hours=11, minutes=59)
    assert client.get("/form/").status_code == 200
    client.session.save()
    later(minutes=2)
    assert client.get("/form/").status_code == 302
    assert "Signed out" in client.get("/wall/").content.decode()


def test_saving_it_does_not_move_its_end(client: Client):
    end = Session.objects.get().expire_date
    left_alone(client, minutes=2)
    client.get("/form/")
    assert Session.objects.get().expire_date == end


def test_signing_in_anew_begins_anew(client: Client):
    later(hours=11)
    left_alone(client, minutes=40)
    sign_in(client, "k.osei")
    assert client.get("/form/").status_code == 200
    assert Session.objects.latest("expire_date").expire_date > database_now() + timedelta(hours=11, minutes=58)


def test_the_end_of_an_idle_session_is_recorded_once(client: Client):
    left_alone(client, minutes=31)
    client.get("/form/live/")
    client.get("/wall/")
    assert not Entry.objects.filter(tag="session.ended").exists()
    client.get("/form/")
    client.get("/form/")
    entry = Entry.objects.get(tag="session.ended")
    assert (entry.actor, entry.record["words"]) == ("k.osei", "The session ended: no click for 30 min.")


@pytest.mark.parametrize("change", [{"password": "x"}, {"is_active": False}, {"epoch": 1}])
def test_a_new_password_a_removed_account_and_a_removed_factor_end_it(client: Client, cast: Cast, change):
    User.objects.filter(pk=cast.osei.pk).update(**change)
    assert client.get("/form/").status_code == 302
    assert client.get("/form/live/")["X-Signed-Out"] == "1"


def test_how_and_when_somebody_signed_in_is_kept_with_the_session(cast: Cast):
    client = Client()
    sign_in(client, "k.osei")
    assert client.session["signed_in"]["how"] == ["password"]


def test_rows_of_sessions_that_are_over_go_with_the_next_sign_in(client: Client):
    later(hours=13)
    sign_in(Client(), "a.rivera")
    assert Session.objects.count() == 1


def test_whoever_is_half_way_in_has_a_quarter_of_an_hour(cast: Cast):
    browsing = browser(cast.osei)
    add_app(browsing)
    Session.objects.all().delete()
    half = Client()
    sign_in(half, "k.osei")
    end = Session.objects.get().expire_date
    assert database_now() + timedelta(minutes=14) < end <= database_now() + timedelta(minutes=15)
