"""Doors: who gets in, what a session that ended does to a page and to typed text, and what an error page gives away."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from dashboard.accounts.models import User
from dashboard.audit.models import Entry
from tests.conftest import PASSWORD, Cast
from tests.web import desk_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.web.desk_urls")]

HTMX = {"HX-Request": "true"}
OURS = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
OPEN = {"sign-in", "second-factor", "sign-in-with", "sign-in-return", "health", "csp-report"}


@pytest.fixture(autouse=True)
def _forget() -> None:
    desk_urls.sent.clear()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def strict() -> Client:
    """A client that Django does not excuse from CSRF, as browsers are not."""
    return Client(enforce_csrf_checks=True)


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    return found[1] if found else ""


def sign_in(client: Client, name: str = "a.rivera", password: str = PASSWORD, **fields: str) -> Any:
    return client.post("/sign-in/", {"username": name, "password": password, **fields})


def tags() -> list[str]:
    return list(Entry.objects.order_by("seq").values_list("tag", flat=True))


# ── Closed by default ──


def addresses(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield (
                "/" + re.sub(r"<(?:(\w+):)?\w+>", lambda found: _SAMPLES.get(found[1] or "str", "x"), route),
                (pattern.name or ""),
            )


_SAMPLES = {"int": "1001", "uuid": "7f3c2a9e-51d4-4b0e-9a77-0c6f1e8d2b35"}


@pytest.mark.urls("dashboard.urls")
def test_every_address_of_the_product_is_closed_but_the_doors() -> None:
    found = dict(addresses(get_resolver().url_patterns))
    assert set(found.values()) >= OPEN
    for address, name in found.items():
        if name in OPEN:
            continue
        for answer in (Client().get(address), Client().post(address, {"x": "1"})):
            body = answer.content.decode()
            if address.endswith("/live/"):
                assert (answer.status_code, answer["X-Signed-Out"], body) == (204, "1", ""), address
            elif address.startswith("/wall/"):
                assert "Signed out" in body or "sign-in" in body, address
            elif answer.status_code == 302:
                assert answer["Location"].startswith("/sign-in/?next="), address
            else:
                assert 'name="password"' in body, address


def test_a_page_leads_through_the_sign_in_and_back() -> None:
    answer = Client().get("/form/?a=1&b=2")
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/?next=%2Fform%2F%3Fa%3D1%26b%3D2")
    page = Client().get(answer["Location"])
    assert hidden(page, "next") == "/form/?a=1&amp;b=2"
    assert "Failover Desk" in page.content.decode()


def test_going_on_leads_to_this_desk_only(cast: Cast) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil", "evil", ""):
        assert sign_in(Client(), next=elsewhere)["Location"] == "/", elsewhere
    assert sign_in(Client(), next="/form/?a=1")["Location"] == "/form/?a=1"


def test_somebody_who_is_signed_in_is_sent_on(cast: Cast) -> None:
    answer = signed_in(cast.rivera).get("/sign-in/?next=/form/")
    assert (answer.status_code, answer["Location"]) == (302, "/form/")


@pytest.mark.parametrize("address", ["/form/live/", "/wall/live/", "/form/"])
def test_htmx_is_never_redirected(address: str) -> None:
    answer = Client().get(address, headers=HTMX)
    assert (answer.status_code, answer["X-Signed-Out"], answer.content) == (204, "1", b"")
    assert answer["X-Build"]
    assert "X-Observed-Age" not in answer


def test_a_poll_is_marked_even_when_it_does_not_say_that_it_is_htmx() -> None:
    assert Client().get("/form/live/")["X-Signed-Out"] == "1"


def test_a_wall_that_is_signed_out_shows_neither_data_nor_a_form() -> None:
    answer = Client().get("/wall/")
    body = answer.content.decode()
    assert answer.status_code == 200
    assert "This screen shows nothing." in body
    assert "<form" not in body
    assert "hx-get" not in body
    assert 'href="/sign-in/?next=/wall/"' in body


def test_an_account_that_is_removed_is_out_with_its_next_click(cast: Cast) -> None:
    client = signed_in(cast.rivera)
    assert client.get("/form/").status_code == 200
    User.objects.filter(pk=cast.rivera.pk).update(is_active=False)
    assert client.get("/form/").status_code == 302


# ── Signing in and out ──


def test_a_sign_in_is_in_the_ledger_under_the_reference_of_its_answer(cast: Cast) -> None:
    client = Client()
    answer = sign_in(client)
    assert answer["Location"] == "/"
    assert client.get("/form/").status_code == 200
    entry = Entry.objects.latest("seq")
    assert entry.tag == "signin.succeeded"
    assert json.loads(entry.payload)["request_id"] == answer["X-Request-Id"]
    assert json.loads(entry.payload)["actor"]["ip"] == "127.0.0.1"


@pytest.mark.parametrize(("name", "password"), [("a.rivera", "wrong"), ("nobody", PASSWORD), ("a.rivera", "")])
def test_a_wrong_sign_in_keeps_the_name_and_says_nothing_more(cast: Cast, name: str, password: str) -> None:
    answer = sign_in(Client(), name, password, next="/form/")
    assert answer.status_code == 422
    body = answer.content.decode()
    assert "The name or the password is wrong." in body
    assert f'value="{name}"' in body
    assert hidden(answer, "next") == "/form/"
    assert password == "" or f'value="{password}"' not in body
    assert tags()[-1] == "signin.failed"


def test_a_name_that_no_database_can_hold_is_just_wrong(cast: Cast) -> None:
    assert sign_in(Client(), "a.rivera\0").status_code == 422
    assert signed_in(cast.rivera).get("/form/%00/").status_code == 404
    assert signed_in(cast.admin).get("/clusters/x%00/").status_code == 404


def test_guessing_is_stopped_even_for_the_right_password(cast: Cast) -> None:
    for _ in range(10):
        sign_in(Client(), password="wrong")
    answer = sign_in(Client())
    assert answer.status_code == 429
    assert "Too many failed sign-ins" in answer.content.decode()
    assert sign_in(Client(REMOTE_ADDR="10.9.0.21")).status_code == 302


def test_the_address_is_the_one_that_our_own_proxy_saw(cast: Cast, settings: Any) -> None:
    claimed = {"X-Forwarded-For": "1.2.3.4, 10.9.0.21"}
    sign_in(Client(headers=claimed))
    assert json.loads(Entry.objects.latest("seq").payload)["actor"]["ip"] == "127.0.0.1"
    settings.BEHIND_PROXY = True
    sign_in(Client(headers=claimed))
    assert json.loads(Entry.objects.latest("seq").payload)["actor"]["ip"] == "10.9.0.21"


def test_signing_out_takes_a_form_and_is_recorded(cast: Cast) -> None:
    client = signed_in(cast.rivera)
    assert client.get("/sign-out/").status_code == 405
    assert client.get("/form/").status_code == 200
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get("/form/").status_code == 302
    assert tags()[-1] == "signout"


# ── Typed text survives ──

TYPED = {"typed": "/dr/dc1/finance", "reason": 'Row C lost "power" <now>.'}


def test_a_form_sent_after_the_session_ended_comes_back_filled_and_sends_nothing(cast: Cast) -> None:
    client = Client()
    page = client.post("/form/", TYPED)
    assert page.status_code == 200
    body = page.content.decode()
    assert "Nothing was sent." in body
    assert 'name="password"' in body
    answer = sign_in(client, next=hidden(page, "next"), kept=hidden(page, "kept"))
    assert answer["Location"] == "/form/"
    assert client.get("/form/").content.decode() == f"form {sorted(TYPED.items())}"
    assert client.get("/form/").content.decode() == "form []"
    assert desk_urls.sent == []


def test_it_survives_a_wrong_password_in_between(cast: Cast) -> None:
    client = Client()
    page = client.post("/form/", TYPED)
    page = sign_in(client, password="wrong", next=hidden(page, "next"), kept=hidden(page, "kept"))
    sign_in(client, next=hidden(page, "next"), kept=hidden(page, "kept"))
    assert client.get("/form/").content.decode() == f"form {sorted(TYPED.items())}"


def test_the_form_of_a_verb_stands_one_level_up(cast: Cast) -> None:
    client = Client()
    page = client.post("/form/decide/", TYPED)
    assert sign_in(client, next=hidden(page, "next"), kept=hidden(page, "kept"))["Location"] == "/form/"
    assert client.get("/form/").content.decode() == f"form {sorted(TYPED.items())}"
    assert desk_urls.sent == []


def test_another_page_does_not_take_what_was_typed_for_this_one(cast: Cast) -> None:
    client = Client()
    page = client.post("/form/", TYPED)
    sign_in(client, next=hidden(page, "next"), kept=hidden(page, "kept"))
    assert client.get("/wall/").content.decode() == "form []"
    assert "Row C" in client.get("/form/").content.decode()


def test_passwords_and_tokens_are_not_carried_and_what_is_carried_cannot_be_changed(cast: Cast) -> None:
    client = Client()
    page = client.post("/form/", TYPED | {"password": "hunter2", "csrfmiddlewaretoken": "abc"})
    carried = hidden(page, "kept")
    sign_in(client, next="/form/", kept=carried)
    assert client.get("/form/").content.decode() == f"form {sorted(TYPED.items())}"
    other = Client()
    changed = ("A" if carried[0] != "A" else "B") + carried[1:]
    assert sign_in(other, next="/form/", kept=changed).status_code == 302
    assert other.get("/form/").content.decode() == "form []"


def test_more_than_a_form_can_hold_is_not_carried(cast: Cast) -> None:
    assert hidden(Client().post("/form/", {"reason": "x" * 20_001}), "kept") == ""


def test_a_form_from_before_the_last_sign_in_comes_back_filled(cast: Cast) -> None:
    client = strict()
    client.force_login(cast.rivera)
    answer = client.post("/form/", TYPED, headers=OURS)
    assert (answer.status_code, answer["Location"]) == (302, "/form/")
    assert client.get("/form/").content.decode() == f"form {sorted(TYPED.items())}"
    assert desk_urls.sent == []


def test_htmx_is_led_to_the_filled_form_without_a_redirect(cast: Cast) -> None:
    client = strict()
    client.force_login(cast.rivera)
    answer = client.post("/form/decide/", TYPED, headers=OURS | HTMX)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/form/")
    assert "Row C" in client.get("/form/").content.decode()


def test_signed_out_and_without_a_token_the_fields_are_carried_too() -> None:
    page = strict().post("/form/", TYPED, headers=OURS)
    assert hidden(page, "kept")
    assert strict().post("/form/", TYPED, headers=OURS | HTMX)["X-Signed-Out"] == "1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
@pytest.mark.parametrize("somebody", [True, False], ids=["signed in", "signed out"])
def test_a_form_from_elsewhere_is_refused_and_not_carried(cast: Cast, headers: dict[str, str], somebody: bool) -> None:
    client = strict()
    if somebody:
        client.force_login(cast.rivera)
    answer = client.post("/form/", TYPED, headers=headers)
    assert answer.status_code == 403
    assert "not sent by a page of this desk" in answer.content.decode()
    assert "Row C" not in answer.content.decode()
    client.force_login(cast.rivera)
    assert client.get("/form/").content.decode() == "form []"


# ── Roles and refusals ──


def test_a_page_for_some_roles_says_which(cast: Cast) -> None:
    assert signed_in(cast.lind).get("/approvers/").content == b"in"
    assert signed_in(cast.admin).get("/approvers/").content == b"in"
    answer = signed_in(cast.rivera).get("/approvers/")
    assert answer.status_code == 403
    assert "This needs the role approver or admin." in answer.content.decode()


def test_a_refusal_is_recorded_although_its_verb_was_rolled_back(cast: Cast) -> None:
    before = Entry.objects.count()
    signed_in(cast.rivera).get("/refuse/")
    entry = Entry.objects.latest("seq")
    assert Entry.objects.count() == before + 1
    record = json.loads(entry.payload)
    assert (entry.tag, entry.object, record["words"]) == ("request.refused", "FO-1042", "The path does not match.")
    assert record["detail"] == {"field": "typed"}
    assert record["actor"]["label"] == "a.rivera"


# ── Errors ──


def test_an_error_says_that_the_clusters_are_well_and_gives_nothing_away(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    client = signed_in(cast.rivera)
    client.raise_request_exception = False
    answer = client.get("/broken/")
    body = answer.content.decode()
    assert answer.status_code == 500
    assert f"Replication goes on. Reference {answer['X-Request-Id']}." in body
    assert "hunter2" not in body
    assert any(answer["X-Request-Id"] in line for line in caplog.messages)
    assert answer["X-Build"]


def test_a_missing_page_does_not_list_the_others(cast: Cast) -> None:
    answer = signed_in(cast.rivera).get("/nowhere/")
    assert answer.status_code == 404
    assert "form/" not in answer.content.decode()


def test_a_refused_page_shows_its_sentence_escaped(cast: Cast) -> None:
    answer = signed_in(cast.rivera).get("/no/")
    assert answer.status_code == 403
    assert "Not &lt;b&gt;today&lt;/b&gt;." in answer.content.decode()


def test_every_answer_has_a_build_a_policy_and_is_kept_by_nobody(cast: Cast) -> None:
    client = signed_in(cast.rivera)
    for address in ("/form/", "/form/live/", "/sign-in/", "/nowhere/", "/health/", "/no/"):
        answer = client.get(address)
        assert answer["X-Build"], address
        assert answer["Cache-Control"] == "no-store", address
        assert "default-src 'none'" in answer["Content-Security-Policy"], address
        assert "unsafe" not in answer["Content-Security-Policy"], address


# ── For machines ──


def test_health_says_that_pages_can_be_made() -> None:
    answer = Client().get("/health/")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "status": "late"})


def test_health_fails_without_a_database_and_names_no_secret(settings: Any) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("could not connect to postgresql://desk:hunter2@db/desk")

    with connection.execute_wrapper(gone):
        answer = Client().get("/health/")
    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "status": "down"}


def test_what_a_browser_refused_goes_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = strict().post("/csp-report/", '{"csp-report": "x\\n\u202ey"}', content_type="application/csp-report")
    assert answer.status_code == 204
    said = next(line for line in caplog.messages if line.startswith("Content-Security-Policy"))
    assert "csp-report" in said
    assert said.isascii()
    assert "\n" not in said


def test_a_long_report_is_refused_unread(caplog: pytest.LogCaptureFixture) -> None:
    assert Client().post("/csp-report/", "x" * 8193, content_type="text/plain").status_code == 413
    assert Client().get("/csp-report/").status_code == 405
    assert not [line for line in caplog.messages if line.startswith("Content-Security-Policy")]
