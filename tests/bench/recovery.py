"""SIGKILL to each process of the desk in the middle of failovers, under the supervisor of `up`: how long until the desk
does again what that process was there for.

One failover reverts all the time and is read every two seconds; for the others somebody clicks at the moment of the
kill. The pause that the supervisor makes is part of it, and it grows with each death of a young process: so a process
is killed again only when it is a minute old.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from tests.bench.browser import Browser
from tests.bench.storm import seconds
from tests.bench.table import row
from tests.bench.up import TICK, Up, up
from tests.running.processes import children_of, eventually

KILLS = 3
AIM = "≤ 5 s"
GROWN = 61.0  # seconds that a process must have lived

Back = Callable[[float], bool]


class Scene:
    def __init__(self, it: Up) -> None:
        self.it = it
        self.osei: Browser = it.browser("k.osei")
        long, *self.waiting = it.act("hands", "ask_each", str(1 + 3 * KILLS))  # a click for each that needs one
        it.control("PATCH", f"/simulator/relationships/{long['items'][0][2]}", {"revert_takes": 3600})
        self.osei.approve(long["number"])
        self.clicked = ""
        eventually(partial(self.read_again, time.time()))

    # ── What shows that it goes on ──

    def served(self, _at: float) -> bool:
        try:
            return httpx.get(f"{self.it.url}/sign-in/", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def read_again(self, at: float) -> bool:
        """A step of the failover that reverts was taken."""
        return self._later("SELECT max(at) FROM fleet_observation", at)

    def clusters_read(self, at: float) -> bool:
        return self._later("SELECT max(last_read_at) FROM fleet_cluster", at)

    def received(self, _at: float) -> bool:
        """The make-writable that was approved with the kill is at its cluster."""
        return self.clicked in self.it.posts()

    def written_down(self, at: float) -> bool:
        """The relay has noted how far the ledger has come."""
        note = Path(self.it.environ["FENCE_FILE"])
        return note.exists() and note.stat().st_mtime > at

    def _later(self, sql: str, at: float) -> bool:
        found = self.it.query(sql)[0][0]
        return found is not None and seconds(found) > at

    # ── One kill ──

    def kill(self, pid: int, back: Back, *, click: bool = False) -> float:
        """How long it took until it was `back`."""
        eventually(lambda: _age(pid) > GROWN, within=GROWN + 10)
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        if click:
            asked = self.waiting.pop()
            self.clicked = asked["items"][0][2]
            self.osei.approve(asked["number"])
        eventually(lambda: back(at))
        return time.time() - at

    def pid(self, name: str) -> int:
        return eventually(partial(self.it.pid_of, name))

    def web_worker(self) -> int:
        return eventually(lambda: children_of(self.pid("web")))[0]


def measure(engine: str) -> None:
    with tempfile.TemporaryDirectory(prefix="desk-recovery-") as name, up(Path(name), engine, "crowd") as it:
        scene = Scene(it)
        sender, redis = partial(scene.pid, "worker-send"), partial(scene.pid, "redis")
        ways: dict[str, Callable[[], float]] = {
            "the web server → a page served": lambda: scene.kill(scene.pid("web"), scene.served),
            "a web worker → a page served": lambda: scene.kill(scene.web_worker(), scene.served),
            "worker-send → make-writable received": lambda: scene.kill(sender(), scene.received, click=True),
            "worker-observe → a cluster read": lambda: scene.kill(scene.pid("worker-observe"), scene.clusters_read),
            "the sweep → next reading": lambda: scene.kill(scene.pid("sweep"), scene.read_again),
            "the relay → ledger followed": lambda: scene.kill(scene.pid("relay"), scene.written_down, click=True),
            "Redis → make-writable received": lambda: scene.kill(redis(), scene.received, click=True),
        }
        took: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(KILLS):
            for what, once in ways.items():
                took[what].append(once())
        for what, found in took.items():
            figure = f"median {statistics.median(found):.1f} s, worst {max(found):.1f} s of {KILLS}"
            row(f"SIGKILL of {what}, {engine}", figure, AIM)


def _age(pid: int) -> float:
    """How long the process has been running. Unlike its start, the boot clock knows no time zone and no step."""
    began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / TICK
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began
