"""All processes of a desk as production has them, two of each driver, kept alive: what ends is started again.

Processes are started, signalled and looked at from the main thread only: the kernel ends a child with the thread that
started it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults.site import Site, wait_for

AGAIN_AFTER = 0.3
PAGE = os.sysconf("SC_PAGE_SIZE")
STEPS = tuple(f"send.{step}" for step in ("before_read", "after_read", "before_intent", "in_intent"))
STEPS += tuple(f"send.{step}" for step in ("after_intent", "after_answer", "after_record"))
READS = tuple(f"watch.{step}" for step in ("after_read", "before_success", "after_success"))
MOVES = tuple(f"{move}.changed" for move in ("stop", "send", "take_back", "refuse", "revert", "succeed", "expire"))
POINTS = {
    "send-1": (*STEPS, *READS, *MOVES),
    "send-2": (*STEPS, *READS, *MOVES),
    "sweep-1": (*STEPS, *READS, *MOVES),
    "sweep-2": (*STEPS, *READS, *MOVES),
    "web": ("approve.after_commit", "approve.changed", "reject.changed", "cancel.changed", "close.changed"),
}
"""Where each may be killed by its own hand."""
PAUSES = ("send.before_read", "send.after_read", "send.after_intent", "send.after_answer", "watch.after_read")
"""Where a driver may be stopped for long: outside of transactions, or it would keep a lock from everybody."""


@dataclass
class Kept:
    """A process that is to run. `pauses`: how long it stays stopped when it stops itself."""

    name: str
    start: Callable[..., subprocess.Popen[bytes]]
    child: subprocess.Popen[bytes] | None = None
    armed: str = ""  # CRASH_AT of the one that runs
    next_armed: str = ""
    born: float = 0.0
    due: float = 0.0
    thaw_at: float | None = None
    first: tuple[float, int, int] | None = None  # when it was looked at first: kibibytes, open files
    lives: list[tuple[float, int, int, int, int]] = field(default_factory=list)


class Desk:
    """`long`: seconds for which a process that stopped itself stays so; more than the settle window."""

    def __init__(self, site: Site, *, long: float) -> None:
        self.site, self.long = site, long
        starts: dict[str, Callable[..., subprocess.Popen[bytes]]] = {
            "redis": site.redis,
            "web": partial(site.web, wait=False),
            "send-1": partial(site.worker, "send", wait=False),
            "send-2": partial(site.worker, "send", wait=False),
            "observe": partial(site.worker, "observe", wait=False),
            "sweep-1": site.sweep,
            "sweep-2": site.sweep,
            "relay": site.relay,
        }
        self.kept = {name: Kept(name, start) for name, start in starts.items()}
        self.tick()

    def tick(self) -> None:
        """Start what has ended; wake up what has slept long enough."""
        now = time.monotonic()
        for each in self.kept.values():
            if each.child is None or each.child.poll() is not None:
                self._start_again(each, now)
            elif each.thaw_at is None and each.armed.endswith(":STOP") and _is_stopped(each.child.pid):
                each.thaw_at = now + self.long
            elif each.thaw_at is not None and now >= each.thaw_at:
                self._signal(each, signal.SIGCONT)
                each.thaw_at = None
            elif each.first is None and now - each.born > 10:
                each.first = (now, *_figures(each.child.pid))

    def _start_again(self, each: Kept, now: float) -> None:
        if each.child is not None:
            if not each.due:
                each.due, each.thaw_at = now + AGAIN_AFTER, None
            if now < each.due:
                return
            self.site.stop(each.child, signal.SIGKILL)  # whatever is left of its group
        env = {"CRASH_AT": each.next_armed} if each.next_armed else {}
        each.child = each.start(**env)
        each.armed, each.next_armed = each.next_armed, ""
        each.born, each.due, each.first = now, 0.0, None

    # ── Faults ──

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self._note(self.kept[name])
        self._signal(self.kept[name], number)

    def freeze(self, name: str, seconds: float) -> None:
        self._signal(self.kept[name], signal.SIGSTOP)
        self.kept[name].thaw_at = time.monotonic() + seconds

    def arm(self, name: str, crash_at: str) -> None:
        """Kill it; the next one has a place at which it dies or stops."""
        self.kept[name].next_armed = crash_at
        self.kill(name)

    def heal(self, *, entirely: bool = False) -> None:
        """Wake up whoever sleeps. `entirely`: also those that are to sleep for long, and disarm all."""
        for each in self.kept.values():
            if each.thaw_at is not None and (entirely or not each.armed.endswith(":STOP")):
                self._signal(each, signal.SIGCONT)
                each.thaw_at = None
            if each.armed and (entirely or each.name == "web"):  # gunicorn would start each worker with it again
                self.kill(each.name)
        self.tick()

    def _signal(self, each: Kept, number: int) -> None:
        if each.child is not None:
            with suppress(ProcessLookupError):
                os.killpg(each.child.pid, number)

    # ── Looking ──

    def ready(self) -> None:
        """Wait until pages are served; the others say nothing when they begin."""
        from dashboard import embedded

        def serves() -> bool:
            self.tick()
            return hasattr(self.site, "port") and embedded.answers("127.0.0.1", self.site.port, tls=False)

        wait_for("the web server", serves)

    def growth(self) -> list[str]:
        """The longest life of each process: what it needed ten seconds after its start, and at its end or now."""
        for each in self.kept.values():
            self._note(each)
        lines = []
        for each in self.kept.values():
            if each.lives:
                lived, memory, files, memory_now, files_now = max(each.lives)
                figures = f"{memory // 1024} → {memory_now // 1024} MiB, {files} → {files_now} open files"
                lines.append(f"{each.name}: {lived:.0f} s, {figures}")
        return lines

    def _note(self, each: Kept) -> None:
        if each.child is not None and each.first is not None and each.child.poll() is None:
            at, memory, files = each.first
            each.lives.append((time.monotonic() - at, memory, files, *_figures(each.child.pid)))


def _is_stopped(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _figures(pid: int) -> tuple[int, int]:
    """Kibibytes in memory, and how many files are open. Gunicorn's only worker counts for it."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pid = int(children[0]) if children else pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * PAGE // 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0, 0
