"""Two hundred failovers at once, on two hundred clusters of which ten hang and twenty answer late: what the others
notice of it. The desk runs as `up` runs it; one person asks for all, another approves with one click.

The clusters share the machine with the desk, so the processor's seconds are told too, program by program.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.table import row
from tests.bench.up import Up, up
from tests.running.processes import ROOT

CLUSTERS = 200
SLOW = range(3, CLUSTERS, 10)  # positions of the clusters that answer each question after 6 or 8 seconds
DEAD = range(8, CLUSTERS, 20)  # and of those that accept a connection and say nothing
SOME = 10  # polls a second, by others who look at the list meanwhile
MANY = 100  # as 500 browsers make them, each every five seconds


def measure(engine: str, looks: int = SOME) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="desk-storm-") as name,
        up(Path(name), engine, "crowd") as it,
    ):
        asked = it.act("hands", "ask", str(CLUSTERS))
        items = [tuple(item) for item in asked["items"]]
        bad = _break(it, [cluster for *_, cluster in items])
        healthy = {pk: relationship for pk, _number, relationship, cluster in items if cluster not in bad}
        osei, polls = it.browser("k.osei"), _poll(it, looks)
        before, began = it.cpu(), time.time()
        clicked = osei.approve(asked["number"])
        answered = time.time()
        assert _verified(it, healthy, 240) == len(healthy)
        ended, after = time.time(), it.cpu()
        polls.send_signal(signal.SIGTERM)
        seen = json.loads(polls.communicate(timeout=60)[0])
        slow = [pk for pk, *_, cluster in items if bad.get(cluster) == "slow"]
        what = f"Storm, {engine}, {looks} polls/s: {len(healthy)} healthy of {len(items)}: click answered"
        row(what, f"{answered - clicked:.2f} s", "< 1 s")
        _tell(engine, it, items, healthy, clicked)
        figure = f"{seen['spread']}; {seen['rate']:.0f}/s, {seen['failed']} of {seen['polls']} failed"
        row(f"… page polled meanwhile, {engine}", figure, "p95 < 300 ms" if looks == MANY else "")
        late = _verified(it, slow, 120)
        row(f"… slow ones verified {time.time() - clicked:.0f} s after the click, {engine}", f"{late} of {len(slow)}")
        _once_each(engine, it, items)
        used = ", ".join(f"{program} {after[program] - before[program]:.1f}" for program in before)
        row(f"… processor seconds in {ended - began:.0f} s, {engine}", used)


def _break(it: Up, clusters: list[str]) -> dict[str, str]:
    """Cluster → what is wrong with it, from now on."""
    for position in SLOW:
        late = {"make": "slow_before", "seconds": 5 + position % 4, "count": None}
        it.control("POST", "/simulator/faults", {"cluster": clusters[position], **late})
    for position in DEAD:
        it.control("POST", "/simulator/faults", {"cluster": clusters[position], "make": "silent"})
    return {clusters[p]: "slow" for p in SLOW} | {clusters[p]: "dead" for p in DEAD}


def _poll(it: Up, looks: int) -> subprocess.Popen[str]:
    sessions = [it.browser(name).http.cookies["session"] for name in ("a.rivera", "k.osei")]
    command = [sys.executable, "-m", "tests.bench.pollers", it.url, str(looks), *sessions]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _verified(it: Up, failovers: Any, within: float) -> int:
    """How many of these have succeeded, when all have or the time is over."""
    wanted, end = set(failovers), time.monotonic() + within
    while True:
        found = it.query("SELECT id FROM failovers_failover WHERE state = 'succeeded'")
        done = len(wanted & {pk for (pk,) in found})
        if done == len(wanted) or time.monotonic() > end:
            return done
        time.sleep(0.5)


def _once_each(engine: str, it: Up, items: list[Any]) -> None:
    posts = it.posts()
    sent = [len(posts.get(relationship, ())) for _pk, _number, relationship, _cluster in items]
    figure = f"{max(sent)} at most; {sum(map(bool, sent))} of {len(items)} sent"
    row(f"… make-writables for one failover, by the clusters' own journal, {engine}", figure, "1")
    assert max(sent) == 1, sent


def _tell(engine: str, it: Up, items: list[Any], healthy: dict[int, str], clicked: float) -> None:
    posts = it.posts()
    revert = 3.0  # of the scenario
    first = [posts[relationship][0] - clicked for relationship in healthy.values()]
    numbers = {number for pk, number, *_ in items if pk in healthy}
    told = it.query("SELECT at, tag, object FROM audit_entry ORDER BY seq")
    entries = [(seconds(at), tag, about) for at, tag, about in told]
    done = [at - clicked for at, tag, about in entries if tag == "failover.succeeded" and about in numbers]
    storm = [at for at, *_ in entries if clicked <= at <= clicked + max(done)]
    busiest = max(sum(second <= at < second + 1 for at in storm) for second in storm)

    figure = f"{max(first):.1f} s (median {_median(first):.1f} s)"
    row(f"… click → last make-writable received, {engine}", figure, "≤ 10 s")
    figure = f"{max(done):.1f} s (median {_median(done):.1f} s)"
    row(f"… click → last one verified, the revert of {revert:g} s included, {engine}", figure, f"≤ {30 + revert:g} s")
    row(f"… ledger, {engine}", f"{len(storm) / max(done):.0f} entries/s, {busiest} in the busiest second")


def _median(found: list[float]) -> float:
    return sorted(found)[len(found) // 2]


def seconds(at: datetime | str) -> float:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at
    return moment.timestamp()
