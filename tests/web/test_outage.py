"""A database that is away, full, or may only be read: one clear sentence with 503, and what was typed is not lost."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, connection
from django.test import Client

from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import holds
from dashboard.failovers.models import Heartbeat, Hold
from dashboard.web.views import meta
from tests.conftest import Cast
from tests.fleet.lookout import Lookout
from tests.web.fleet import Page, browser

pytestmark = pytest.mark.django_db

OURS = {"Sec-Fetch-Site": "same-origin"}


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL = "The database takes no entry: its disk is full."
READ_ONLY = "The database takes no entry: it may only be read."
AWAY = "The database does not answer."
TROUBLES = {
    "SQLite, full": (OperationalError("database or disk is full"), FULL),
    "PostgreSQL, full": (caused(OperationalError("could not extend file"), psycopg.errors.DiskFull()), FULL),
    "SQLite, read-only": (OperationalError("attempt to write a readonly database"), READ_ONLY),
    "PostgreSQL, a standby": (
        caused(ProgrammingError("cannot execute"), psycopg.errors.ReadOnlySqlTransaction()),
        READ_ONLY,
    ),
    "away": (OperationalError("connection refused"), AWAY),
    "frozen": (caused(OperationalError("canceling statement"), psycopg.errors.QueryCanceled()), AWAY),
    "cut off": (InterfaceError("the connection is closed"), AWAY),
}
WRITES = ("INSERT", "UPDATE", "DELETE")


class Refusing:
    """Refuses what `begins` like this, as the database would."""

    def __init__(self, error: Exception, *begins: str) -> None:
        self.error, self.begins = error, begins

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(self.begins or ""):
            raise self.error
        return execute(sql, *rest)


def quiet(client: Client) -> Client:
    client.raise_request_exception = False
    return client


def last_click(client: Client, **ago: float) -> None:
    session = client.session
    session["seen"] = (database_now() - timedelta(**ago)).isoformat()
    session.save()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_whoever_clicks_gets_one_sentence_and_keeps_what_they_typed(pair: Lookout, cast: Cast, trouble: str) -> None:
    error, words = TROUBLES[trouble]
    client = quiet(browser(cast.lind))
    typed = {"scope": "dr", "reason": "The array <is> being looked at.", "csrfmiddlewaretoken": "t" * 64}
    with connection.execute_wrapper(Refusing(error, 'INSERT INTO "failovers_hold"')):
        answer = client.post("/holds/", typed, headers=OURS)
    assert answer.status_code == 503
    assert (answer["Retry-After"], answer["X-Unavailable"]) == ("5", words)
    shown = Page(answer.content.decode()).root
    assert shown.one("h1").text == words
    assert "Nothing was changed" in shown.text
    form = shown.one("form")
    assert (form.attrs["method"], form.attrs["action"]) == ("post", "/holds/")
    again = {field.attrs["name"]: field.attrs["value"] for field in form.all("input")}
    assert again == typed
    assert not Hold.objects.exists()
    assert client.post("/holds/", again, headers=OURS).status_code == 303
    assert Hold.objects.get().reason == "The array <is> being looked at."


@pytest.mark.parametrize("error", [ProgrammingError("no such column"), IntegrityError("a rule"), DataError("too long")])
def test_a_mistake_of_ours_is_not_called_a_state_of_the_database(pair: Lookout, cast: Cast, error: Exception) -> None:
    with connection.execute_wrapper(Refusing(error, 'INSERT INTO "failovers_hold"')):
        answer = quiet(browser(cast.lind)).post("/holds/", {"scope": "dr", "reason": "The array is looked at."})
    assert answer.status_code == 500
    assert "This page could not be made" in answer.content.decode()


def test_a_page_that_cannot_be_read_says_so(pair: Lookout, cast: Cast) -> None:
    client = quiet(browser(cast.viewer))
    for address in ("/", "/approvals/", "/wall/", "/holds/", "/live/"):
        with connection.execute_wrapper(Refusing(OperationalError("connection refused"))):
            answer = client.get(address)
        assert (answer.status_code, answer["X-Unavailable"]) == (503, AWAY), address
        assert answer["X-Build"], address
        assert "Try again" in answer.content.decode()


def test_a_full_disk_lets_pages_be_read(pair: Lookout, cast: Cast) -> None:
    client = quiet(browser(cast.viewer))
    for address in ("/", "/approvals/", "/wall/", "/holds/", "/live/"):
        last_click(client, minutes=2)  # so that this one would be written down
        with connection.execute_wrapper(Refusing(OperationalError("database or disk is full"), *WRITES)):
            assert client.get(address).status_code == 200, address


def test_passwords_and_what_another_site_posts_do_not_come_back(pair: Lookout, cast: Cast) -> None:
    client = quiet(browser(cast.admin))
    holds.hold(actor=SYSTEM, scope="dr", reason="The array is being looked at.")
    typed = {"seen": "1", "reason": "Right again, I think.", "confirm_password": "hunter2"}
    for headers, kept in ((OURS, True), ({"Sec-Fetch-Site": "cross-site"}, False)):
        with connection.execute_wrapper(Refusing(OperationalError("connection refused"), "SELECT")):
            body = client.post("/holds/lift/dr/", typed, headers=headers).content.decode()
        assert "hunter2" not in body
        assert ("Right again, I think." in body) is kept


@pytest.mark.django_db(transaction=True)
def test_what_was_committed_before_the_database_went_away_is_not_called_undone(cast: Cast) -> None:
    """The entry of a sign-out is committed before the session is deleted."""
    client = quiet(browser(cast.lind))
    with connection.execute_wrapper(Refusing(OperationalError("connection refused"), 'DELETE FROM "django_session"')):
        answer = client.post("/sign-out/", headers=OURS)
    assert Entry.objects.filter(tag="signout").count() == 1
    assert (answer.status_code, answer["X-Unavailable"], answer["X-Unknown"]) == (503, AWAY, "1")
    assert "Nothing was changed" not in answer.content.decode()
    assert "it may have been done, or not" in answer.content.decode()


def test_a_session_that_cannot_be_written_is_a_state_of_the_database_not_a_form_that_makes_no_sense(cast: Cast) -> None:
    """Of one that was left alone it is noted that this is on record."""
    client = quiet(browser(cast.lind))
    last_click(client, minutes=40)
    with connection.execute_wrapper(Refusing(OperationalError("database or disk is full"), 'UPDATE "django_session"')):
        answer = client.get("/")
    assert (answer.status_code, answer["X-Unavailable"]) == (503, FULL)


# ── For monitors ─────────────────────────────────────────────────────────────


def health(client: Client) -> dict[str, Any]:
    meta.forget()
    return dict(client.get("/health/").json())


def test_health_says_one_word_to_everybody(pair: Lookout, cast: Cast) -> None:
    assert health(Client()) == {"ok": True, "status": "late"}  # no sweep has come round
    Heartbeat.objects.create(driver="sweep", at=database_now())
    assert health(Client()) == {"ok": True, "status": "ok"}
    holds.hold(actor=SYSTEM, scope="dr", reason="The array is being looked at.")
    for client in (Client(), browser(cast.viewer), browser(cast.lind)):
        assert health(client) == {"ok": True, "status": "held"}


def test_health_says_late_when_the_ledger_takes_no_entry() -> None:
    now = database_now()
    Heartbeat.objects.create(driver="sweep", at=now)
    Heartbeat.objects.create(driver="ledger", at=now.replace(year=2020))
    assert health(Client())["status"] == "late"


def test_health_tells_admins_and_auditors_the_rest(pair: Lookout, cast: Cast) -> None:
    holds.hold(actor=SYSTEM, scope="dr", reason="The array is being looked at.")
    for user in (cast.admin, cast.okafor):
        told = health(browser(user))
        assert told["held"] == [{"scope": "dr", "reason": "The array is being looked at."}]
        assert set(told) > {"sweep_seconds_ago", "recorded_seconds_ago", "policies", "checkpoints"}


def test_health_costs_little_however_often_it_is_asked(django_assert_num_queries: Any) -> None:
    Heartbeat.objects.create(driver="sweep", at=database_now())
    client = Client()
    health(client)
    meta._last = (time.monotonic() + 60, meta._last[1])  # as if it had just been asked, for a minute
    with django_assert_num_queries(0):
        for _ in range(20):
            assert client.get("/health/").status_code == 200
    meta.forget()
    with django_assert_num_queries(3):  # the clock, the heartbeats, and, because all else is well, the holds
        client.get("/health/")
