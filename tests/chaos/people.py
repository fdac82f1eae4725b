"""What people do to a desk in a chaos run: they ask, approve, reject, cancel, close and hold, by clicks or past the
pages, two at once, and now and then against the rules. Whoever gets no answer has got none, and looks again later.
"""

from __future__ import annotations

import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.bench.browser import Browser
from tests.faults.site import Hands, Said, Site

OPERATORS, APPROVERS, BOTH = ("a.rivera", "s.tanaka"), ("k.osei", "j.lind"), "m.diaz"
AWAY = ("OperationalError", "InterfaceError", "DatabaseError: consuming input failed")
"""What an act may raise when its database was taken away under it; whatever else it raises is a finding."""


class NoAnswer(Exception):
    """Nobody knows what became of it."""


class Broken(AssertionError):
    """Something was allowed that must not be, or answered in a way that it must not."""


class People:
    """Each act is one of `tests.chaos.hands`, or a click on a page. Safe to use from several threads."""

    def __init__(self, site: Site) -> None:
        self._hands: queue.Queue[Hands] = queue.Queue()
        for _ in range(3):
            self._hands.put(site.hands("tests.chaos.hands"))
        self.act("join", name=BOTH, roles=["operator", "approver"])
        self.browsers = {name: Browser(site.url, name) for name in (*OPERATORS, *APPROVERS, BOTH)}

    def close(self) -> None:
        for browser in self.browsers.values():
            browser.http.close()

    def act(self, verb: str, **arguments: Any) -> Any:
        """Raises Said with the desk's refusal, NoAnswer when the database was away."""
        with self._somebody() as hands:
            try:
                return hands(verb, **arguments)
            except Said:
                raise
            except AssertionError as error:
                if any(name in str(error) for name in AWAY):
                    raise NoAnswer(str(error).strip().splitlines()[-1]) from None
                raise Broken(f"{verb} {arguments} raised: {error}") from None

    @contextmanager
    def _somebody(self) -> Iterator[Hands]:
        hands = self._hands.get()
        try:
            yield hands
        finally:
            self._hands.put(hands)

    def click(self, by: str, number: str, verb: str) -> None:
        """Approve, reject or cancel as the page has it. Raises Said, NoAnswer."""
        http = self.browsers[by].http
        try:
            page = http.get(f"/failovers/{number}/")
            fields = {"csrfmiddlewaretoken": _field(page.text, "csrfmiddlewaretoken")}
            if verb != "cancel":
                fields |= {name: _field(page.text, name) for name in ("digest", "changed", "confirm_ticket")}
                fields |= {"comment": "Go.", "seen": "yes", "decision": verb, "confirm_password": "demo"}
            answer = http.post(f"/failovers/{number}/{'cancel' if verb == 'cancel' else 'decide'}/", data=fields)
        except httpx.HTTPError as error:
            raise NoAnswer(type(error).__name__) from None
        if answer.status_code in (403, 404, 409, 422):
            told = re.search(r'role="alert"[^>]*>(.*?)</', answer.text, re.DOTALL)
            words = re.sub(r"<[^>]*>", " ", told[1]).strip() if told else ""
            raise Said(f"{answer.status_code} {words}")
        if answer.status_code == 503:
            raise NoAnswer("503")
        if answer.status_code not in (302, 303):
            raise Broken(f"{verb} of {number} was answered with {answer.status_code}: {answer.text[:2000]}")


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return found[1] if found else ""


class Errand(threading.Thread):
    """One request and what becomes of it. What happened stands in `words`; `broken` is a finding."""

    def __init__(self, people: People, chance: random.Random, paths: list[str]) -> None:
        super().__init__(daemon=True)
        self.people, self.paths = people, paths
        self.after, self.before_deciding = chance.uniform(0, 0.3), chance.uniform(0.2, 2.0)
        self.kind = chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        self.by = BOTH if self.kind == "their own" else chance.choice(OPERATORS)
        self.first, self.second = chance.sample(APPROVERS, 2)
        self.clicks = [chance.random() < 0.5 for _ in range(2)]
        self.words, self.broken, self.number = "not asked", "", "?"

    def run(self) -> None:
        try:
            time.sleep(self.after)
            made = self.people.act("request", paths=self.paths, by=self.by)
            self.request, self.number, self.words = made["request"], made["number"], "asked"
            time.sleep(self.before_deciding)
            KINDS[self.kind][1](self)
        except Said as refused:
            self.words = f"refused ({refused})"
        except NoAnswer as away:
            self.words = f"no answer ({away})"
        except Exception as error:  # noqa: BLE001 - told by the round
            self.broken = f"{type(error).__name__}: {error}"

    # ── Kinds ──

    def approved(self) -> None:
        self._decide("approve", self.first, 0)

    def rejected(self) -> None:
        self._decide("reject", self.first, 0)

    def withdrawn(self) -> None:
        self._decide("cancel", self.by, 0)

    def left(self) -> None:
        self.words = "left waiting"

    def two_approvals(self) -> None:
        self._together(("approve", self.first), ("approve", self.second))

    def yes_and_no(self) -> None:
        self._together(("approve", self.first), ("reject", self.second))

    def approved_and_withdrawn(self) -> None:
        self._together(("approve", self.first), ("cancel", self.by))

    def withdrawn_late(self) -> None:
        self.approved()
        self._decide("cancel", self.by, 1)

    def something_else(self) -> None:
        self._never(lambda: self.people.act("approve_other", request=self.request, by=self.first), "another digest")
        self.approved()

    def their_own(self) -> None:
        self._never(lambda: self.people.act("approve", request=self.request, by=self.by), "approved their own")
        self._never(lambda: self.people.click(self.by, self.number, "approve"), "approved their own by a click")
        self.approved()

    def _never(self, act: Callable[[], Any], what: str) -> None:
        try:
            act()
        except (Said, NoAnswer):
            return
        raise Broken(f"{self.number}: {what}, and the desk took it")

    def _decide(self, verb: str, by: str, nth: int) -> None:
        try:
            if self.clicks[nth]:
                self.people.click(by, self.number, verb)
            else:
                self.people.act(verb, request=self.request, by=by)
        except Said as refused:
            self.words += f", {verb} refused: {refused}"
        except NoAnswer as away:
            self.words += f", {verb}: no answer ({away})"
        else:
            self.words += f", {verb}"

    def _together(self, *decisions: tuple[str, str]) -> None:
        threads = [
            threading.Thread(target=self._guarded, args=(verb, by, nth), daemon=True)
            for nth, (verb, by) in enumerate(decisions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, verb: str, by: str, nth: int) -> None:
        try:
            self._decide(verb, by, nth)
        except Exception as error:  # noqa: BLE001 - told by the round
            self.broken = f"{type(error).__name__}: {error}"


KINDS: dict[str, tuple[int, Callable[[Errand], None]]] = {
    "approved": (12, Errand.approved),
    "rejected": (1, Errand.rejected),
    "withdrawn": (1, Errand.withdrawn),
    "left": (1, Errand.left),
    "two approvals": (2, Errand.two_approvals),
    "yes and no": (1, Errand.yes_and_no),
    "approved and withdrawn": (2, Errand.approved_and_withdrawn),
    "withdrawn late": (1, Errand.withdrawn_late),
    "something else": (1, Errand.something_else),
    "their own": (1, Errand.their_own),
}
"""Kind → how often, and what is done."""
