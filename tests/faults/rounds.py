"""Rounds in which four people and drivers act on one failover at the same moment, each on a connection of its own:
`python -m tests.faults.rounds 500 SEED`. After each round the outcome must be one that they could have reached one
after the other. The last line says how often each was reached.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from tests.faults import hands  # sets Django up

from django.db import connection  # isort: skip

from dashboard.audit import chain, triggers
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import execution, guards
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Failover, Request
from dashboard.simulator import ManualClock, World, scenarios
from tests.fleet.lookout import register

PER_CLUSTER = 8  # below AT_ONCE: those that were sent stay under way
FROZEN = [guard for guard in guards.GUARDS if guard.table == "failovers_request" and guard.event == "UPDATE"]
ENDS = {"request.cancelled": State.CANCELLED, "request.expired": State.EXPIRED, "request.rejected": State.REJECTED}
ENDS |= {"failover.sent": State.REVERTING}

Act = Callable[[], Any]


def main(rounds: int, seed: str) -> None:
    world = scenarios.large(-(-rounds // PER_CLUSTER), PER_CLUSTER, clock=ManualClock())
    for cluster in world.clusters.values():
        if cluster.listens:
            register(cluster)
    hands.observe()
    reached: Counter[str] = Counter()
    targets = [relationship.target for relationship in world.relationships.values()]
    with ThreadPoolExecutor(4) as threads:
        for number, target in zip(range(rounds), targets, strict=False):
            chance = random.Random(f"{seed}/{number}")
            try:
                reached[_play(chance, f"{target.cluster.name}:{target.path}", world, threads)] += 1
            except AssertionError as error:
                raise SystemExit(f"Round {number} of seed {seed}: {error}") from error
    assert chain.verify().ok
    print(json.dumps(reached))


def _play(chance: random.Random, path: str, world: World, threads: ThreadPoolExecutor) -> str:
    asked, failover = _request(path)
    acts: dict[str, Act] = {
        "expire": hands.expire,
        "send": partial(_send, failover),
        "cancel": partial(hands.cancel, asked),
    }
    if chance.random() < 0.5:
        hands.approve(asked)
        acts["send again"] = partial(_send, failover)
    else:
        acts["approve"] = partial(hands.approve, asked)
        if chance.random() < 0.3:
            acts["reject"] = partial(hands.reject, asked, by="j.lind")
            del acts["cancel"]
    if chance.random() < 0.5:
        _end_soon(asked, failover, chance.uniform(0, 0.08))
    said = _at_once(threads, acts, chance)
    return _judge(Failover.objects.get(pk=failover), said, world)


def _request(path: str) -> tuple[int, int]:
    made = hands.ask([hands._row(path)])
    return made.pk, made.failovers.get().pk


def _end_soon(asked: int, failover: int, seconds: float) -> None:
    """Both deadlines fall into the round. What a request says is frozen: its guard steps aside for this."""
    soon = database_now() + timedelta(seconds=seconds)
    triggers.drop(connection, FROZEN)
    Request.objects.filter(pk=asked).update(decide_by=soon)
    triggers.install(connection, FROZEN)
    Failover.objects.filter(pk=failover, run_by__isnull=False).update(run_by=soon)


def _send(failover: int) -> None:
    """As often as the bell and the sweep come, and without the politeness between them."""
    waiting = Failover.objects.filter(pk=failover, state__in=(State.REQUESTED, State.APPROVED))
    for _ in range(4):
        if not waiting.update(next_step_at=database_now()):
            return
        execution.execute(failover)
        time.sleep(0.005)


def _at_once(threads: ThreadPoolExecutor, acts: dict[str, Act], chance: random.Random) -> dict[str, bool]:
    """Whether each was allowed to. Anything but a refusal is an error."""
    barrier = threading.Barrier(len(acts))

    def run(act: Act, pause: float) -> bool:
        barrier.wait(30)
        time.sleep(pause)
        try:
            act()
        except Refused:
            return False
        return True

    names = chance.sample(sorted(acts), len(acts))
    begun = {name: threads.submit(run, acts[name], chance.choice((0, 0, chance.uniform(0, 0.04)))) for name in names}
    return {name: each.result(120) for name, each in begun.items()}


def _judge(failover: Failover, said: dict[str, bool], world: World) -> str:
    tags = list(Entry.objects.filter(object=failover.number).order_by("seq").values_list("tag", flat=True))
    ends = [tag for tag in tags if tag in ENDS]
    posts = len(world.make_writable_received(failover.relationship.relationship_id))
    told = f"{failover.number} is {failover.state} with {posts} posts; {tags}; {said}"
    assert len(ends) <= 1, told
    assert posts == tags.count("failover.sent") <= 1, told
    assert tags.count("request.approved") <= 1, told
    if ends:
        assert failover.state == ENDS[ends[0]], told
    else:
        assert failover.state in (State.REQUESTED, State.APPROVED), told
    for name in ("approve", "cancel", "reject"):
        if name in said:
            tag = {"approve": "request.approved", "cancel": "request.cancelled", "reject": "request.rejected"}[name]
            assert said[name] == (tag in tags), told
    return str(failover.state)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
