"""A security key in a real browser: it is added, signs in, and approves. The browser's own virtual authenticator is the
key; the desk is the product behind Django's live server, under its own Content-Security-Policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from dashboard.failovers.models import Decision
from tests.conftest import PASSWORD, Cast
from tests.failovers.desk import Desk
from tests.web.keys import App

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module", autouse=True)
def beside_the_driver() -> Iterator[None]:
    """It leaves an event loop running, in which Django would not empty the tables after a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """With a security key plugged in. Whatever the browser complains about ends the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    devtools = context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield page
    assert not complaints
    context.close()


@pytest.fixture
def url(live_server: Any) -> str:
    return str(live_server.url).replace("127.0.0.1", "localhost")  # a key belongs to a name, never to a number


def signs_in(page: Any, url: str, name: str) -> None:
    page.goto(f"{url}/sign-in/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()


def test_a_key_is_added_signs_in_and_approves(page: Any, url: str, cast: Cast):
    number = Desk(cast).request().number
    signs_in(page, url, "k.osei")
    page.goto(f"{url}/account/key/")
    page.get_by_label("Name").fill("blue key")
    page.get_by_role("button", name="Touch the key").click()
    page.get_by_text("The key answered.").wait_for()
    page.get_by_label("Your password").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Add", exact=True).click()
    assert len(page.locator("#codes").inner_text().split()) == 10

    page.context.clear_cookies()
    signs_in(page, url, "k.osei")
    page.get_by_role("button", name="Use security key").click()
    page.wait_for_url(f"{url}/")

    page.goto(f"{url}/failovers/{number}/")
    assert not page.get_by_label("Your password").count()
    page.get_by_role("button", name="Confirm with security key").click()
    page.get_by_text("Confirmed. That is good for five minutes.").wait_for()
    page.get_by_label("Comment").fill("Go.")
    with page.expect_navigation():
        page.get_by_role("button", name=re.compile("^Approve")).click()
    words = Decision.objects.get().auth
    assert re.fullmatch(r"Signed in with password and security key at [\d:]{8} UTC; confirmed with security key", words)


def test_an_app_is_added_from_the_picture_and_confirms(page: Any, url: str, cast: Cast):
    signs_in(page, url, "k.osei")
    page.goto(f"{url}/account/app/")
    assert page.locator("img.qr").evaluate("image => image.complete && image.naturalWidth") > 0
    app = App(page.locator("code").inner_text().replace(" ", ""))
    page.get_by_label("Code that the app shows").fill(app.code())
    page.get_by_label("Your password").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("link", name="I have them").click()
    page.get_by_role("link", name="Make new ones").click()
    page.get_by_label("Code of your authenticator app").fill(
        app.code(1)
    )  # both are good still when the next step begins meanwhile
    with page.expect_navigation():
        page.get_by_role("button", name="Make new ones").click()
    assert len(page.locator("#codes").inner_text().split()) == 10


def test_a_key_that_does_not_answer_is_said_in_words(page: Any, url: str, cast: Cast):
    signs_in(page, url, "k.osei")
    page.goto(f"{url}/account/key/")
    refuse = "Promise.reject(new DOMException('x', 'NotAllowedError'))"
    page.evaluate(f"() => {{ navigator.credentials.create = () => {refuse} }}")
    page.get_by_role("button", name="Touch the key").click()
    page.get_by_text("The security key did not answer. Try again.").wait_for()
