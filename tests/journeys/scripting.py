"""A page in a real browser, and the server that it believes in.

No server and no database: the page is rendered once, and the browser's requests are answered here, under the product's
own Content-Security-Policy. Nothing waits for a fixed time; a page that must go stale has a short --stale-after.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import time_machine
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template import engines
from django.test import RequestFactory

from dashboard.accounts.models import User

HOST = "http://127.0.0.1:9"  # nothing listens there; every request is answered by `Desk`


NOW = datetime(2026, 3, 14, 3, 16, 20, tzinfo=UTC)


def policy() -> str:
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives.items() if name != "report-uri")


class Desk:
    """A page in the browser, and the server that it believes in. `answers` is asked for each poll."""

    def __init__(self, page: Any, html: str, *, stale_after: str = "45s") -> None:
        self.page, self.html, self.stale_after = page, html, stale_after
        self.polls: list[str] = []
        self.answer: Callable[[], dict[str, Any]] = lambda: {"status": 204, "headers": fresh()}
        self.visited: list[str] = []
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.route("**/*", self._serve)
        page.goto(f"{HOST}/page/")

    def _serve(self, route: Any) -> None:
        path = route.request.url.removeprefix(HOST).partition("?")[0]
        if path.startswith("/static/"):
            body = Path(str(finders.find(path.removeprefix("/static/")))).read_text(encoding="utf-8")
            if path.endswith("tokens.css"):
                body = re.sub(r"--stale-after: \d+s", f"--stale-after: {self.stale_after}", body)
            kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rsplit(".", 1)[1]]
            route.fulfill(body=body, content_type=f"{kind}; charset=utf-8")
        elif path.endswith("/live/"):
            self.polls.append(route.request.url)
            route.fulfill(**self.answer())
        else:
            self.visited.append(path)
            route.fulfill(
                body=self.html,
                content_type="text/html; charset=utf-8",
                headers={"Content-Security-Policy": policy(), "Content-Type": "text/html; charset=utf-8"},
            )

    def poll(self) -> None:
        """One poll, from the request to the end of its answer."""
        with self.page.expect_response("**/live/**"):
            self.page.evaluate("htmx.trigger('[hx-trigger^=every]', 'poll')")
        self.page.wait_for_function("() => !document.querySelector('.htmx-request')")


def fresh(**more: str) -> dict[str, str]:
    return {"X-Build": "unhashed", "X-Observed-Age": "3.0", "Date": format_datetime(NOW, usegmt=True)} | more


def region(inside: str = "", seen: str = "1") -> str:
    return (
        f'<div class="live" id="list" hx-get="/x/live/?seen={seen}" hx-trigger="every 600s, poll" hx-swap="outerHTML">'
        f"{inside}</div>"
    )


def rendered(user: User, inside: str = "", *, base: str = "base.html", block: str = "main", root: str = "") -> str:
    """base.html (or another) as it is, with a polled root in it, made at NOW for this person."""
    request = RequestFactory().get("/page/")
    request.user = user
    source = "{% extends base %}{% block title %}Page{% endblock %}{% block BLOCK %}ROOT{% endblock %}"
    source = source.replace("BLOCK", block).replace("ROOT", root or region(inside))
    with time_machine.travel(NOW, tick=False):
        return str(engines["django"].from_string(source).render({"base": base}, request))


def let_it_run(page: Any, seconds: float) -> None:
    """As if so much time had passed for the watchdogs."""
    page.evaluate(
        "seconds => document.getAnimations().forEach(animation => { animation.currentTime += seconds * 1000 })", seconds
    )


def hold_the_clock(page: Any) -> None:
    """For a page that is loaded after this. What is written there stays as it was at `passed`, milliseconds after it
    came; the watchdogs are the browser's own and run."""
    page.add_init_script("window.passed = 0; performance.now = () => window.passed")
