"""Somebody who clicks."""

from __future__ import annotations

import re
import time

import httpx


class Browser:
    """Signed in, with the fields of the page's own form."""

    def __init__(self, url: str, name: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Referer": url}, timeout=60)
        page = self.http.get("/sign-in/").text
        fields = {"csrfmiddlewaretoken": _hidden(page, "csrfmiddlewaretoken"), "username": name, "password": "demo"}
        answer = self.http.post("/sign-in/", data=fields | {"next": "/"})
        assert answer.status_code == 302, answer.status_code

    def form(self, number: str) -> dict[str, str]:
        """What a click on Approve would send of the page as it is now."""
        page = self.http.get(f"/failovers/{number}/").text
        names = ("csrfmiddlewaretoken", "digest", "changed", "confirm_ticket")
        typed = {"comment": "Go.", "seen": "on", "decision": "approve", "confirm_password": "demo"}
        return {name: _hidden(page, name) for name in names} | typed

    def click(self, number: str, form: dict[str, str]) -> httpx.Response:
        return self.http.post(f"/failovers/{number}/decide/", data=form)

    def approve(self, number: str) -> float:
        """Click; gives the moment of the click (epoch seconds)."""
        form = self.form(number)
        clicked = time.time()
        answer = self.click(number, form)
        assert answer.status_code in (200, 302, 303), answer.text
        return clicked


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return found[1] if found else ""
