"""What can happen in a night, step by step: what people, drivers, clusters, strangers and time do next. Whatever is
open about a step, `pick` decides; one that is not possible now is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.lifecycle import ON_THE_CLUSTER, OPEN, State
from dashboard.failovers.models import Request
from dashboard.simulator import faults
from tests.model.drivers import Driver
from tests.model.night import Night, Pick

DRIVERS_AT_MOST = 4


class Game:
    """The steps of one night, by name; `fates` are those that a make-writable may have."""

    def __init__(self, night: Night, pick: Pick, fates: Sequence[str]) -> None:
        self.night, self.pick, self.fates = night, pick, fates
        self.frozen: set[Driver] = set()

    # ── People ──

    def ask(self, *, whole: bool = False, by: Sequence[str] = ("rivera",)) -> None:
        night = self.night
        taken = {failover.relationship_id for failover in night.failovers(*OPEN)}
        rows = [row for row in night.rows if row.pk not in taken or self.pick((True, False, False, False))]
        if not rows:
            return
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
        if self.awake:
            self._step(self.pick(self.awake))

    def to_the_end(self) -> None:
        if self.awake:
            driver = self.pick(self.awake)
            while not driver.dead:
                self._step(driver)

    def sweep(self) -> None:
        self.expire()
        for failover in self.night.started():
            driver = self.night.start(failover)
            while not driver.dead:
                self._step(driver)

    @property
    def awake(self) -> list[Driver]:
        return [driver for driver in self.night.drivers if driver not in self.frozen]

    def freeze(self) -> None:
        """As by SIGSTOP, or a machine that is paused: it does nothing for long."""
        if self.awake:
            driver = self.pick(self.awake)
            self.frozen.add(driver)
            self.night.story.append(f"{driver.name} is frozen")

    def thaw(self) -> None:
        self.frozen.clear()

    def kill(self) -> None:
        if self.night.drivers:
            self.night.kill(self.pick(self.night.drivers))

    def die_inside(self) -> None:
        if self.awake:
            driver = self.pick(self.awake)
            driver.dies_inside = True
            self._step(driver)

    def database(self) -> None:
        """The database goes away around what a driver writes next."""
        if self.awake:
            about_to_write = [driver for driver in self.awake if driver.at == "send.before_intent"]
            driver = self.pick(about_to_write or self.awake)
            driver.database = [self.pick(("lost", "arrived", "away")), *("away",) * self.pick((0, 1, 2))]
            self._step(driver)

    def expire(self) -> None:
        self.night.expire()

    def notify(self) -> None:
        self.night.channel_is_dead = self.pick((False, False, True))
        self.night.notify(dies=self._dies())

    def _step(self, driver: Driver) -> None:
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
        makers: dict[str, Callable[[], faults.Fault]] = {
            "refuses": faults.refused,
            "hangs": faults.silent,
            "cuts": partial(faults.lost_request, method="GET", path="/status", count=None),
            "knows nothing": partial(faults.refusal, 404, "not_found", method="GET", path="/status", count=None),
            "garbles": partial(faults.garbage, method="GET", path="/status", count=None),
        }
        if how in makers:
            script.add(makers[how]())
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
        """Everybody is well: whatever is open ends by itself, or a person is called and closes it. Whoever stands still
        somewhere goes on when all is over."""
        night = self.night
        night.story.append("all parts work again")
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
        for driver in list(night.drivers):
            while not driver.dead:
                self._step(driver)
            check()
        while night.news():
            night.tick(60)
            night.notify()


def _first(options: Sequence[Any]) -> Any:
    return options[0]
