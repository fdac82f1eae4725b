"""How a night goes: what happens next is drawn, by weights that are themselves drawn for each night.

Rules that are drawn evenly are worthless: hardly any night would come as far as a make-writable. So a night begins
with an approved failover, steps have weights, and each night weighs them differently.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from dashboard.failovers import crashpoints
from dashboard.fleet import access
from tests.model import clock, drivers
from tests.model.game import Game
from tests.model.invariants import Auditor, Violation
from tests.model.night import Night, Pick
from tests.model.wire import FATES

STEPS = 40
WEIGHTS: dict[str, float] = {
    "tick": 4,
    "start": 5,
    "go_on": 14,
    "to_the_end": 5,
    "sweep": 2,
    "edge": 1.5,
    "quick": 1.5,
    "close": 2,
    "freeze": 0.7,
    "thaw": 0.7,
    "kill": 1,
    "die_inside": 0.5,
    "ask": 0.5,
    "vote": 1,
    "reject": 0.2,
    "cancel": 0.6,
    "hold": 0.5,
    "lift": 0.5,
    "role": 0.6,
    "expire": 0.6,
    "net": 0.7,
    "database": 0.5,
    "stranger": 1,
    "swap": 0.4,
    "register": 0.3,
    "reuse": 0.4,
    "point": 0.3,
    "notify": 0.5,
}
_FATES = (*FATES, *("answered",) * 6)
_SWARM = (0.2, 1, 1, 3)


def _lot(seed: int, focus: dict[str, float]) -> list[str]:
    """The names of the steps, each as often as this night weighs it."""
    chance = random.Random(seed)
    chosen = {name: weight * chance.choice(_SWARM) for name, weight in (WEIGHTS | focus).items()}
    whole = sum(chosen.values()) / 1000
    return [name for name in chosen for _ in range(round(chosen[name] / whole))]


@contextmanager
def stage() -> Iterator[clock.OneClock]:
    """A transaction around everything that is rolled back, and in it the time of the model. The product's own durable
    transactions are let pass inside of it, as inside of Django's TestCase."""
    outer = transaction.atomic()
    outer._from_testcase = True  # type: ignore[attr-defined]
    with outer:
        time, usual = clock.OneClock(), connection.settings_dict["AUTOCOMMIT"]
        # So that what drops old connections finds nothing strange about one that is in a transaction.
        connection.settings_dict["AUTOCOMMIT"], connection.close_at = False, None
        try:
            with clock.in_force(time, drivers.sleep), connection.execute_wrapper(drivers.statements):
                yield time
        finally:
            connection.settings_dict["AUTOCOMMIT"] = usual
            crashpoints.listen(None)
            access.forget_transports()
            transaction.set_rollback(True)


def play(pick: Pick, story: list[str], focus: dict[str, Any] | None = None) -> None:
    """One night. Raises Violation; `story` is filled on the way. `focus`: other weights; under "fates" what alone
    becomes of a make-writable, under "begun" whether the first request is approved already."""
    others = dict(focus or {})
    fates, begun = others.pop("fates", _FATES), others.pop("begun", True)
    lot = _lot(pick(range(1000)), others)
    with stage() as time:
        night = Night(time, pick, story)
        auditor, game = Auditor(night), Game(night, pick, fates)
        crashpoints.listen(auditor.reached)
        try:
            game.ask(whole=begun)
            auditor.check()
            for _ in range(pick((5, 15, 30, *(STEPS,) * 9))):
                getattr(game, pick(lot))()
                auditor.check()
            game.heal(auditor.check)
            auditor.nothing_is_left()
        finally:
            night.end()


def nights(count: int, focus: dict[str, Any]) -> dict[str, Any]:
    """So many of them, always the same, until one goes wrong: which invariant, in which night, and its story."""
    story: list[str] = []
    for number in range(count):
        try:
            play(random.Random(number).choice, story, focus)
        except Violation as violation:
            return {"violated": violation.name, "nights": number + 1, "words": str(violation), "story": story}
    return {"violated": "", "nights": count, "words": "", "story": story}
