"""How a night goes: what happens next is drawn, by weights that are themselves drawn for each night.

Rules that are drawn evenly are worthless: hardly any night would come as far as a make-writable. So a night begins
with an approved failover, steps have weights, and each night weighs them differently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from dashboard.failovers import crashpoints
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, OPEN, State
from dashboard.failovers.models import Request
from dashboard.fleet import access
from dashboard.simulator import faults
from tests.model import clock, drivers
from tests.model.invariants import Auditor, Violation
from tests.model.night import DRIVERS_AT_MOST, Night, Pick
from tests.model.wire import FATES

STEPS = 45
WEIGHTS: dict[str, float] = {
    "tick": 4,
    "start": 5,
    "go_on": 14,
    "to_the_end": 5,
    "sweep": 2,
    "edge": 1.5,
    "quick": 1.5,
    "close": 2,
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


class Game:
    """The steps of one night, by name. A step that is not possible now is passed over."""

    def __init__(self, night: Night, pick: Pick, fates: Sequence[str] = _FATES) -> None:
        self.night, self.pick, self.fates = night, pick, fates

    # ── People ──

    def ask(self, *, whole: bool = False, by: Sequence[str] = ("rivera",)) -> None:
        night = self.night
        rows = night.rows
        wanted = self.pick([*([row] for row in rows), rows])
        asked = night.request(self.pick(by), wanted)
        if asked is not None and whole:
            for name in night.able(asked):
                if asked.failovers.filter(state=State.REQUESTED).exists():
                    night.approve(name, asked)

    def quick(self) -> None:
        self.ask(whole=True)

    def vote(self) -> None:
        asked = self._waiting()
        if asked is None:
            self.ask(by=("rivera", "tanaka", "lind"))
            return
        by = self.pick(("osei", "rivera-2", "lind", "chen", "tanaka"))
        digest = self.pick((asked.digest, asked.digest, "f" * 64))
        self.night.approve(by, asked, digest=digest, dies=self._dies())

    def reject(self) -> None:
        if asked := self._waiting():
            self.night.reject(self.pick(("osei", "rivera-2")), asked, dies=self._dies())

    def cancel(self) -> None:
        found = self.night.failovers(State.REQUESTED, State.APPROVED, State.SENT)
        if found:
            self.night.cancel(self.pick(("rivera", "lind", "admin")), self.pick(found).request, dies=self._dies())

    def close(self) -> None:
        if found := self.night.failovers(*ON_THE_CLUSTER):
            outcome = self.pick(("not_applied", "not_applied", "other"))
            self.night.close(self.pick(("osei", "osei", "rivera-2")), self.pick(found), outcome, dies=self._dies())

    def hold(self) -> None:
        self.night.hold(self.pick(("dr", "")))

    def lift(self) -> None:
        if self.night.holds:
            self.night.lift(self.pick(sorted(self.night.holds)), dies=self._dies())

    def role(self) -> None:
        name = self.pick(("lind", "osei", "chen"))
        held = self.night.users[name].roles
        self.night.role(name, "viewer" if "approver" in held else "approver")

    def _waiting(self) -> Request | None:
        found = self.night.failovers(State.REQUESTED)
        return self.pick(found).request if found else None

    def _dies(self) -> bool:
        return bool(self.pick((False, False, False, True)))

    # ── Drivers ──

    def start(self) -> None:
        started = self.night.started()
        if started and len(self.night.drivers) < DRIVERS_AT_MOST:
            self._step(self.night.start(self.pick(started)))

    def go_on(self) -> None:
        if self.night.drivers:
            self._step(self.pick(self.night.drivers))

    def to_the_end(self) -> None:
        if self.night.drivers:
            driver = self.pick(self.night.drivers)
            while not driver.dead:
                self._step(driver)

    def sweep(self) -> None:
        self.expire()
        for failover in self.night.started():
            driver = self.night.start(failover)
            while not driver.dead:
                self._step(driver)

    def kill(self) -> None:
        if self.night.drivers:
            self.night.kill(self.pick(self.night.drivers))

    def die_inside(self) -> None:
        if self.night.drivers:
            driver = self.pick(self.night.drivers)
            driver.dies_inside = True
            self.to_the_end()

    def database(self) -> None:
        """The database goes away around what a driver writes next."""
        if self.night.drivers:
            driver = self.pick(self.night.drivers)
            driver.database = [self.pick(("lost", "arrived", "away")), *("away",) * self.pick((0, 1, 2))]
            self._step(driver)

    def expire(self) -> None:
        self.night.expire()

    def notify(self) -> None:
        self.night.channel_is_dead = self.pick((False, False, True))
        self.night.notify(dies=self._dies())

    def _step(self, driver: Any) -> None:
        night, about = self.night, ""
        night.way.fate = "answered"
        if driver.at == "send.after_intent":
            night.way.fate = self.pick(self.fates)
            about = f": the make-writable is {night.way.fate}"
        night.go_on(driver, about)

    # ── Time, clusters, strangers ──

    def tick(self) -> None:
        self.night.tick(self.pick((1, 2, 3, 6)))

    def edge(self) -> None:
        """To just before, at or after the next moment at which something is over."""
        now, moments = self.night.clock.now, []
        for failover in self.night.failovers("requested", "approved", "sent", "reverting"):
            if failover.state == State.REQUESTED:
                moments.append(failover.request.decide_by)
            elif failover.state == State.APPROVED and failover.run_by:
                moments.append(failover.run_by)
            elif failover.sent_at:
                moments.append(failover.sent_at + TIMING.settle)
        ahead = [(moment - now).total_seconds() for moment in moments if moment > now]
        if ahead:
            self.night.tick(max(0, round(min(ahead)) + self.pick((-2, -1, 0, 1))))
        else:
            self.night.tick(self.pick((30, 60)))

    def net(self) -> None:
        script = self.night.dr.faults
        script.clear()
        how = self.pick(("up", "up", "refuses", "hangs", "cuts", "knows nothing", "garbles"))
        reads = {"method": "GET", "path": "/status", "count": None}
        made = {
            "refuses": faults.refused,
            "hangs": faults.silent,
            "cuts": lambda: faults.lost_request(**reads),
            "knows nothing": lambda: faults.refusal(404, "not_found", "No such thing.", **reads),
            "garbles": lambda: faults.garbage(**reads),
        }.get(how)
        if made:
            script.add(made())
        self.night.story.append(f"the network to dr: {how}")

    def stranger(self) -> None:
        """Somebody acts on the cluster by hand. (Whoever reconnects what a make-writable of ours has just disconnected,
        before anybody has read that, leaves no trace that the desk could find; that is not played.)"""
        night = self.night
        relationship = self.pick(list(night.dr.relationships.values()))
        on_its_way = any(f.relationship.relationship_id == relationship.id for f in night.failovers(State.SENT))
        with night.world.entered() as now:
            if relationship.state == "ESTABLISHED":
                relationship.make_writable(now)
            elif relationship.state == "DISCONNECTED" and not on_its_way:
                relationship.reconnect(now)
        night.story.append(f"somebody acts on {relationship.target.path}: it is {relationship.state}")

    def swap(self) -> None:
        """Another cluster answers at the address, with relationships of the same ids, and takes the same tokens."""
        night = self.night
        back = night.way.answers is night.other
        if not back and not night.other.relationships:
            for original in night.dr.relationships.values():
                twin = night.world.relate(night.world.clusters["prod"], original.source.path, night.other, "/dr/twin")
                self._rename(twin, original.id)
            night.other._accounts = night.dr._accounts
        night.way.answers = night.dr if back else night.other
        night.story.append(f"{night.way.answers.name} answers at the address of dr")

    def register(self) -> None:
        self.night.register_again()

    def reuse(self) -> None:
        """A relationship is deleted, and its id stands for another directory."""
        night = self.night
        old = self.pick(list(night.dr.relationships.values()))
        new = night.world.relate(
            night.world.clusters["prod"], f"{old.source.path}new", night.dr, f"{old.target.path}new"
        )
        self._rename(new, old.id)
        night.story.append(f"the id of {old.target.path} belongs to {new.target.path} now")

    def _rename(self, relationship: Any, key: str) -> None:
        night, cluster = self.night, relationship.target.cluster
        night.world.forget(relationship)
        relationship.id = key
        night.world.relationships[f"{cluster.name}:{key}:{relationship.target.root_id}"] = relationship
        cluster.relationships[key] = relationship

    def point(self) -> None:
        relationship = self.pick(list(self.night.dr.relationships.values()))
        relationship.move_recovery_point(self.pick((-60, 60)))
        self.night.story.append(f"the recovery point of {relationship.target.path} moves")

    # ── At the end ──

    def heal(self, check: Callable[[], None]) -> None:
        """Everybody is well: whatever is open ends by itself, or a person is called and closes it."""
        night = self.night
        night.story.append("all parts work again")
        for driver in list(night.drivers):
            night.kill(driver)
        night.dr.faults.clear()
        night.way.answers, night.channel_is_dead, self.pick = night.dr, False, _first
        for name in ("lind", "osei", "chen"):
            if "approver" not in night.users[name].roles:
                night.role(name, "approver")
        night.register_again()
        for seconds in (5, 60, 6, 6, TIMING.settle.total_seconds(), 3, 3, 1800, 3):
            if not night.failovers(*OPEN):
                break
            night.tick(seconds)
            self.sweep()
            check()
        for failover in night.failovers(*ON_THE_CLUSTER):
            by = "osei" if failover.request.requester_id != night.users["osei"].person_id else "lind"
            night.close(by, failover, "not_applied")
            failover.refresh_from_db()
            if failover.state in ON_THE_CLUSTER:
                night.close(by, failover, "other")
            check()
        while night.news():
            night.tick(60)
            night.notify()


def _first(options: Sequence[Any]) -> Any:
    return options[0]


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
    for number in range(count):
        story: list[str] = []
        try:
            play(random.Random(number).choice, story, focus)
        except Violation as violation:
            return {"violated": violation.name, "nights": number + 1, "words": str(violation), "story": story}
    return {"violated": "", "nights": count, "words": "", "story": []}
