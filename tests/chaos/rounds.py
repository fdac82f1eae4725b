"""A run: rounds on one desk, each with people, troubles, healing, a rest, and the auditor.

What happens in a round is a function of the seed and of its number, applied to the relationships that are free.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dashboard.simulator import Relationship, World, scenarios
from dashboard.simulator.terms import State as OnCluster
from tests.chaos import nemesis
from tests.chaos.desk import Desk
from tests.chaos.people import APPROVERS, Broken, Errand, NoAnswer, People
from tests.faults.auditor import ENDED, SETTLE, audit
from tests.faults.site import Said, Site

CLUSTERS, EACH = 20, 3
SCALE = 0.1
REST = 90.0  # seconds in which everything that can come to rest must have
QUIET = 0.4  # seconds for which it must stay so


def world(seed: str) -> World:
    """Twenty clusters, three relationships each, whose reverts take from a moment to two seconds."""
    made, chance = scenarios.large(CLUSTERS, EACH), random.Random(seed)
    for it in made.relationships.values():
        it.revert_takes, it.reconnect_takes = chance.uniform(0.1, 2.0), 0.3
    return made


class Run:
    """`say` takes each line of the report. A finding is raised as AssertionError; the processes then still run."""

    def __init__(self, site: Site, seed: str, say: Callable[[str], None]) -> None:
        self.site, self.seed, self.say = site, seed, say
        site.env["POLL_EVERY"] = "5s"
        self.desk = Desk(site, long=SETTLE * SCALE * 1.3)
        self.desk.ready()
        self.people = People(site)
        self.story: list[str] = []  # of this round
        self.outcomes: Counter[str] = Counter()

    def round(self, number: int) -> None:
        began, chance = time.monotonic(), random.Random(f"{self.seed}/{number}")
        self.story, before, posts = [], self._outcomes(), len(self.site.posts)
        free = self._free()
        sizes = [chance.choice((1, 1, 1, 2, 4)) for _ in range(chance.randint(1, 4))]
        targets = chance.sample(free, min(len(free), sum(sizes)))
        errands, at = [], 0
        for size in sizes:
            items = targets[at : at + size]
            at += size
            if items:
                paths = [f"{it.target.cluster.name}:{it.target.path}" for it in items]
                errands.append(Errand(self.people, chance, paths))
        stage = nemesis.Stage(self.site, self.desk, self.people, targets)
        troubles = nemesis.plan(chance, stage)
        hasty = Hasty(self, [chance.uniform(0.5, 4.0) for _ in range(2)])
        busy: list[Errand | Hasty] = [*errands, hasty]
        for each in busy:
            each.start()
        self._play(troubles, busy)
        self._tell(troubles, errands)
        self._heal()
        self.close_what_can_be()
        self._rest()
        for each in busy:
            if each.broken:
                raise Broken(f"{each.number} ({each.kind}): {each.broken}")
        audit(self.site, ended=False)
        self._use_again(chance)
        new = self._outcomes() - before
        ends = ", ".join(f"{count} {state}" for state, count in sorted(new.items())) or "none ended"
        self.say(
            f"round {number}: {ends}; {len(self.site.posts) - posts} POSTs; {self._open()} open; "
            f"{time.monotonic() - began:.1f} s; " + "; ".join(self.story)
        )

    def finish(self) -> None:
        """Everything wakes up, people close what is in doubt when its time has come, and nothing stays open."""
        self.desk.heal(entirely=True)
        self._heal()
        end = time.monotonic() + REST + SETTLE * SCALE
        while self._open():
            assert time.monotonic() < end, f"never ended: {self.standing()}"
            self._end_what_waits()
            self.close_what_can_be()
            self._pass(0.5)
        audit(self.site)
        self.say("processes: " + "; ".join(self.desk.growth()))

    # ── Parts of a round ──

    def _play(self, troubles: list[nemesis.Trouble], busy: list[Errand | Hasty]) -> None:
        began = time.monotonic()
        agenda = [(it.at, it.begin) for it in troubles]
        agenda += [(it.at + it.lasts, it.end) for it in troubles if it.end is not None]
        for at, act in sorted(agenda, key=lambda entry: entry[0]):
            self._pass(began + at - time.monotonic())
            act()
        while any(errand.is_alive() for errand in busy):
            self._pass(0.05)
            if time.monotonic() > began + REST:
                raise AssertionError("people never came to an end: " + str([errand.words for errand in busy]))

    def _pass(self, seconds: float) -> None:
        """Let time pass, and keep the processes running meanwhile."""
        end = time.monotonic() + seconds
        while True:
            self.desk.tick()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.02, left))

    def _tell(self, troubles: list[nemesis.Trouble], errands: list[Errand]) -> None:
        self.story += [f"{errand.number} ×{len(errand.paths)} {errand.kind}: {errand.words}" for errand in errands]
        self.story += [f"[{it.at:.1f} s: {it.words}]" for it in troubles]

    def _heal(self) -> None:
        for cluster in self.site.world.clusters.values():
            cluster.faults.clear()
        for proxy in self.site.proxies.values():
            proxy.heal()
        self.desk.heal()
        self.desk.ready()
        end = time.monotonic() + REST
        while holds := self.site.query("SELECT scope, reason FROM failovers_hold WHERE lifted_at IS NULL"):
            ours = [hold for hold in holds if hold["reason"].startswith("Somebody has a bad feeling")]
            assert len(ours) == len(holds), f"the desk holds itself: {holds}"
            assert time.monotonic() < end, f"never lifted: {holds}"
            with suppress(Said, NoAnswer):
                self.people.act("lift", scope=holds[0]["scope"])

    def _rest(self) -> None:
        """Until nothing is on its way: what is still open waits for people."""
        end, since = time.monotonic() + REST, time.monotonic()
        while time.monotonic() - since < QUIET:
            moving = self._moving()
            if moving:
                since = time.monotonic()
                assert since < end, f"never came to rest: {moving}"
            self._pass(0.1)

    def _moving(self) -> list[dict[str, Any]]:
        found = []
        for failover in self.standing():
            it = self.site.world.relationships[failover["on_cluster"]]
            with self.site.world.entered() as now:
                it.advance(now)
            at_rest = failover["state"] != "approved" and it.state in (OnCluster.ESTABLISHED, OnCluster.ENDED)
            if failover["state"] != "requested" and not at_rest:
                found.append(failover | {"there": str(it.state)})
        return found

    def close_what_can_be(self) -> None:
        """Try it with each that is on the cluster, however soon: the desk must know when."""
        for failover in self.standing():
            if failover["state"] in ("sent", "reverting"):
                for outcome, reason in (("not_applied", ""), ("other", "It is clear enough what happened.")):
                    with suppress(Said, NoAnswer):
                        by = APPROVERS[failover["id"] % 2]
                        self.people.act("close", failover=failover["id"], outcome=outcome, reason=reason, by=by)
                        break

    def _waiting(self) -> list[tuple[int, str]]:
        """Key and number of each request that nobody has decided on."""
        for _ in range(3):  # each of those who act may have lost a connection to the database
            with suppress(NoAnswer):
                return [(key, number) for key, number in self.people.act("waiting")]
        return []

    def _end_what_waits(self) -> None:
        for request, _number in self._waiting():
            with suppress(Said, NoAnswer):
                self.people.act("cancel", request=request, by="admin")

    def _use_again(self, chance: random.Random) -> None:
        """What was failed over is brought back by its cluster's administrator; what is gone is replaced. Requests that
        nobody decided on are decided on, or wait for another round."""
        for request, number in self._waiting():
            choice = chance.random()
            with suppress(Said, NoAnswer):
                if choice < 0.3:
                    self.people.click(APPROVERS[0], number, "approve")
                elif choice < 0.8:
                    self.people.act("cancel", request=request, by="admin")
        taken = {failover["on_cluster"] for failover in self.standing()}
        world = self.site.world
        for it in list(world.relationships.values()):
            if it.id in taken:
                continue
            if it.state is OnCluster.DISCONNECTED:
                nemesis.by_hand(self.site, it, "reconnect")
            elif it.state is OnCluster.ENDED and it.target.path[-1] == "/" and not it.source.gone:
                it.source.gone = True
                path = f"/dr/{len(world.relationships):04d}"
                new = world.relate(it.source.cluster, path, it.target.cluster, path, every=600, takes=5)
                new.revert_takes, new.reconnect_takes = it.revert_takes, it.reconnect_takes

    # ── Looking ──

    def _free(self) -> list[Relationship]:
        """Relationships that somebody may ask to fail over."""
        self.site.world.advance()
        taken = {failover["on_cluster"] for failover in self.standing()}
        there = self.site.world.relationships.values()
        return [it for it in there if it.state is OnCluster.ESTABLISHED and it.id not in taken and not it.target.gone]

    def standing(self) -> list[dict[str, Any]]:
        rows = (
            "SELECT f.id, f.request_id, f.state, f.answer, t.relationship_id AS on_cluster FROM failovers_failover f "
            "JOIN fleet_relationship t ON t.id = f.relationship_id "
            "WHERE f.state IN ('requested', 'approved', 'sent', 'reverting') ORDER BY f.id"
        )
        return self.site.query(rows)

    def _open(self) -> int:
        return len(self.standing())

    def _outcomes(self) -> Counter[str]:
        rows = self.site.query("SELECT state, COUNT(*) AS n FROM failovers_failover GROUP BY state")
        return Counter({row["state"]: row["n"] for row in rows if row["state"] in ENDED})


class Hasty(threading.Thread):
    """Somebody who tries to close whatever is on a cluster, as soon as it is there."""

    number, kind, words = "-", "closing", ""

    def __init__(self, run: Run, moments: list[float]) -> None:
        super().__init__(daemon=True)
        self._run, self._moments, self.broken = run, moments, ""

    def run(self) -> None:
        began = time.monotonic()
        try:
            for moment in sorted(self._moments):
                time.sleep(max(0.0, began + moment - time.monotonic()))
                self._run.close_what_can_be()
        except Exception as error:  # noqa: BLE001 - told by the round
            self.broken = f"{type(error).__name__}: {error}"


def play(run: Run, first: int, count: int) -> bool:
    """Whether the auditor was content with every round. A finding ends it; all that is known of it is said."""
    number, site = first, run.site
    try:
        for number in range(first, first + count):
            run.round(number)
        run.finish()
    except AssertionError as finding:
        run.say(f"FINDING in round {number} of seed {run.seed}: {finding}")
        for line in [*run.story, *evidence(site, str(finding))]:
            run.say(line)
        return False
    finally:
        run.people.close()
    run.say(f"{count} rounds of seed {run.seed} ended clean; {len(site.posts)} POSTs")
    return True


def evidence(site: Site, finding: str) -> list[str]:
    """What the ledger and the clusters' journal say about the failovers and relationships that a finding names."""
    lines = []
    numbers = set(re.findall(r"FO-\d+", finding))
    ids = set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", finding))
    for number in sorted(numbers):
        rows = site.query(
            "SELECT f.id, f.state, t.relationship_id AS it FROM failovers_failover f "
            "JOIN fleet_relationship t ON t.id = f.relationship_id WHERE f.request_id = ? ORDER BY f.position",
            int(number[3:]),
        )
        ids |= {row["it"] for row in rows}
        lines += [f"{number}: {row}" for row in rows]
        entries = site.query(
            "SELECT seq, payload FROM audit_entry WHERE object = ? OR object LIKE ? ORDER BY seq", number, f"{number}/%"
        )
        lines += [f"  entry {row['seq']}: {row['payload'][:600]}" for row in entries]
    for name in sorted(ids):
        lines += [f"{name}: {post}" for post in site.world.make_writable_received(name)]
        if it := site.world.relationships.get(name):
            lines += [
                f"  {at:.3f} {state} {'read-only' if read_only else 'writable'}" for at, state, read_only in it.past
            ]
    return lines
