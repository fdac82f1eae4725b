"""Processes that live and die together.

- **No orphans.** A child is killed by the kernel when its supervisor dies, however that happens (on Linux;
  elsewhere `kill -9` of the supervisor leaves the children running). Ctrl-C and SIGTERM give the children
  `GRACE` seconds to finish; what is left is killed. Killing a sender is safe: a failover whose make-writable
  is on record is only ever watched afterwards, never sent again.
- **No child stays down.** One that ends is started again: at once when it had lived for a minute, else after a pause
  that doubles from 1 s to 30 s.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GRACE = 8.0
GROWN = 60.0  # seconds after which the end of a child is an accident, not a habit
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Child:
    """A program to keep running, with its whole environment. `last`: the others need it until they end."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    last: bool = False


@dataclass(kw_only=True)
class _Run:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0


@dataclass(kw_only=True)
class Supervisor:
    """Keeps children running while its `with` block is open; to be used from the main thread.

    SIGINT, SIGTERM and (unless it was ignored, as under nohup) SIGHUP end the block by SystemExit(0),
    whatever it is doing. Leaving the block stops every child.
    """

    say: Callable[[str], None]
    _runs: list[_Run] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _leave)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _stop([run for run in self._runs if not run.child.last])
        _stop([run for run in self._runs if run.child.last])

    def start(self, child: Child) -> None:
        run = _Run(child=child)
        self._runs.append(run)
        self._spawn(run)

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Start again what ends, until `until()` holds (asked ten times a second) or a signal comes."""
        while not until():
            for run in self._runs:
                self._revive(run)
            time.sleep(0.1)

    def _revive(self, run: _Run) -> None:
        if run.process is not None and run.process.poll() is not None:
            lived = time.monotonic() - run.started
            run.pause = 0.0 if lived > GROWN else min(max(run.pause * 2, 1.0), 30.0)
            run.due = time.monotonic() + run.pause
            again = f"in {run.pause:g} s" if run.pause else "at once"
            self.say(f"{run.child.name} ended ({_ending(run.process.returncode)}); again {again}.")
            _kill_group(run.process)
            run.process = None
        if run.process is None and time.monotonic() >= run.due:
            self._spawn(run)

    def _spawn(self, run: _Run) -> None:
        supervisor = os.getpid()
        run.started = time.monotonic()
        run.process = subprocess.Popen(
            run.child.command,
            env=dict(run.child.environ),
            stdin=subprocess.DEVNULL,
            # Its own session: Ctrl-C at the terminal reaches the supervisor alone, which stops all in order.
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(supervisor, signal.SIGKILL),  # noqa: PLW1509 - one thread only
        )


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends (Linux; elsewhere this does nothing).

    The kernel means the *thread* that started this process, so parents start children from their main thread.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it ended before the line above
            os.kill(os.getpid(), number)


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _stop(runs: list[_Run]) -> None:
    processes = [run.process for run in runs if run.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        _kill_group(process)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's own session, its workers among them."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
