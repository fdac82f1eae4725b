"""Real processes for the tests in this folder: started by us, looked at through /proc, never left behind."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dashboard.supervisor import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
PROGRAMS = {
    "redis": "unixsocket",
    "web": "gunicorn dashboard.wsgi",
    "worker-send": "--queues send",
    "worker-observe": "--queues observe",
    "sweep": "manage.py sweep",
    "relay": "manage.py relay",
}
"""What `manage.py up` starts, and what each is known by in its command."""


def eventually(ask: Callable[[], T | None], *, within: float = 60.0) -> T:
    """Ask until the answer is true, and return it. The limit is there to end a broken test, not to time a good one."""
    end = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {within:g} s: {ask}"
        time.sleep(0.05)
    return answer


def runs(pid: int) -> bool:
    """Whether the process does anything still; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in ("Z", "X"):
                found.append(int(stat.parent.name))
    return found


def family_of(pid: int) -> list[int]:
    return [one for child in children_of(pid) for one in (child, *family_of(child))]


def command_of(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def program_of(up: int, name: str) -> int | None:
    """Which child of that `manage.py up` is the program of PROGRAMS; None while there is none."""
    found = [pid for pid in children_of(up) if PROGRAMS[name] in command_of(pid)]
    return found[0] if found else None


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


# Below the ports from which the kernel takes those of outgoing connections: one that is free stays free.
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports that nobody listens on; of two tests at once hardly ever the same."""
    while True:
        first = _PORTS.start + secrets.randbelow(len(_PORTS) - count)  # `random` begins alike in every process
        with suppress(OSError), ExitStack() as doors:
            for port in range(first, first + count):
                doors.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


class Program:
    """A program under test. What it prints goes to a file, so that a full pipe can never stop it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, words: str) -> bool:
        """Whether it has printed the words; a program that ended without them fails the test at once."""
        if words in self.output():
            return True
        assert self.process.poll() is None, f"ended without saying {words!r}:\n{self.output()}"
        return False


@contextmanager
def running(
    command: list[str], log: Path, *, environ: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[Program]:
    """Start a program in a session of its own; whatever of its family is left at the end is killed, and
    it does not outlive the tests when those are killed."""
    tests = os.getpid()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(os.environ if environ is None else environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(tests, signal.SIGKILL),  # noqa: PLW1509
        )
    try:
        yield Program(process, log)
    finally:
        left = [process.pid, *family_of(process.pid)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def bare_environ(**more: str) -> dict[str, str]:
    """An environment in which nothing of the desk is set: what a person's shell has, and what the test adds."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **more}


def manage(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]
