"""A whole desk of real processes in a folder of its own: web, workers, sweep, relay, a real broker, a database of
either engine, and simulated clusters over HTTPS in this process, so that their journal is at hand and cannot be lost.

Between the desk and each cluster stands a `Proxy`. Times are a part of the real ones (TIME_SCALE), so that the settle
window fits into a test. Every wait is for a condition, bounded. Processes are signalled by the pid that this kit keeps,
and the kernel ends them when the tests end.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from dashboard import embedded
from dashboard.simulator import World, scenarios
from dashboard.simulator.hosting import Hosting
from dashboard.supervisor import end_with_parent
from tests.faults.proxy import Proxy
from tests.running.processes import free_port, free_ports

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds; to end a broken test, not to time a good one
KEYS = {"READER_KEY": Fernet.generate_key().decode(), "EXECUTOR_KEY": Fernet.generate_key().decode()}
CHECKPOINT_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
# The whole first pass: it proves that the ledger takes an entry, and leaves that mark before its own.
SWEPT = "SELECT * FROM failovers_heartbeat WHERE driver = 'sweep'"
SECRET_KEY = "only-for-tests-" + "x" * 40


def wait_for(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true value of `condition`; an AssertionError that names `what` when none comes."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


def is_stopped(child: subprocess.Popen[bytes]) -> bool:
    """Whether SIGSTOP has struck it."""
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def has_answered(child: subprocess.Popen[bytes]) -> bool:
    """Whether there is something to read of what it says."""
    assert child.stdout is not None
    return bool(select.select([child.stdout], [], [], 0)[0])


class Said(AssertionError):
    """The desk refused an act; the words are its sentence."""


class Hands:
    """A process that acts for people and drivers (`tests.faults.hands`)."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        assert self.finish() == "ready"

    def __call__(self, verb: str, **arguments: Any) -> Any:
        self.begin(verb, **arguments)
        return self.finish()

    def begin(self, verb: str, **arguments: Any) -> None:
        """Ask for it, and do not wait: `finish` does."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps([verb, arguments]).encode() + b"\n")
        self.child.stdin.flush()

    def finish(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise ProcessLookupError(f"the hands ended with {self.child.wait(10)}")
        said = json.loads(line)
        if "refused" in said:
            raise Said(said["refused"])
        assert "error" not in said, said["error"]
        return said["answer"]


class Site:
    """`database`: a URL of its own to use; else SQLite in the folder, copied from `ground` when one is given."""

    def __init__(
        self, folder: Path, *, database: str | None = None, ground: Path | None = None, scale: float = 0.1
    ) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []
        self.proxies: dict[str, Proxy] = {}
        self.world = World()
        self._stack = ExitStack()
        self._hands: Hands | None = None
        self._prepared = ground is not None
        if ground is not None and database is None:
            shutil.copyfile(ground, folder / "desk.sqlite3")
        self.env = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"} | {
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "TESTING": "1",
            "TIME_SCALE": str(scale),
            "POLL_EVERY": "1s",
            "SECRET_KEY": SECRET_KEY,
            **KEYS,
            "FAILOVER_DESK_DATA": str(folder),
            "DATABASE_URL": database or f"sqlite:///{folder / 'desk.sqlite3'}",
            "CLUSTER_ALLOWED_CIDRS": "127.0.0.0/8",
            "PYTHONUNBUFFERED": "1",
        }
        # Known from the start, whether anybody listens there or not: as after a broker that died.
        self._broker, self.env["REDIS_URL"] = embedded.plan_redis(folder, {})
        self.socket = Path(self.env["REDIS_URL"].removeprefix("unix://"))

    # ── Processes ──

    def start(self, name: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """In a session of its own, so that `killpg` takes its children along. What it prints is in NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return self._spawn(arguments, env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _spawn(self, arguments: tuple[str, ...], env: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
        tests = os.getpid()
        child: subprocess.Popen[bytes] = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=self.env | env,
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(tests, signal.SIGKILL),  # noqa: PLW1509
            **more,
        )
        self.children.append(child)
        return child

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def manage(self, *arguments: str, **env: str) -> str:
        done = self.run("manage.py", *arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hands(self, module: str = "tests.faults.hands", **env: str) -> Hands:
        """Somebody new; `self.act` has one of its own."""
        with (self.folder / "hands.log").open("ab") as log:
            command = (sys.executable, "-m", module)
            return Hands(self._spawn(command, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log))

    def stopped_at(self, place: str, failover: int, **env: str) -> Hands:
        """Hands that stand still in a step of this failover, at one of the crash points. They step until they come
        there: it may not be its turn yet, and where the machine stood still, a window may have been over before."""
        hands = self.hands(CRASH_AT=f"{place}:1:STOP", **env)

        def stand() -> bool:
            hands.begin("execute", failover=failover)
            wait_for("an end of the step", lambda: is_stopped(hands.child) or has_answered(hands.child))
            if has_answered(hands.child):
                hands.finish()
                return False
            return True

        wait_for(f"a sender at {place}", stand)
        return hands

    def act(self, verb: str, **arguments: Any) -> Any:
        if self._hands is None or self._hands.child.poll() is not None:
            self._hands = self.hands()
        return self._hands(verb, **arguments)

    def stop(self, child: subprocess.Popen[bytes], number: int = signal.SIGTERM, *, patience: float = PATIENCE) -> None:
        """Signal the whole group, and wait for its end; one that has not ended by then is killed."""
        for each in (number, signal.SIGCONT):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, each)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(PATIENCE)
        for pipe in filter(None, (child.stdin, child.stdout)):
            pipe.close()

    def close(self) -> None:
        for child in reversed(self.children):
            self.stop(child, signal.SIGKILL)
        self._stack.close()

    # ── The parts ──

    def simulate(self, world: World | None = None) -> None:
        """Serve this world (the pair, when none is given), each of its clusters behind a proxy."""
        self.world = world or scenarios.pair()
        names = [name for name, cluster in self.world.clusters.items() if cluster.listens]
        base = free_ports(len(names) + 1)
        self._stack.enter_context(Hosting(self.world, self.folder / "sim", port_base=base))
        self.manifest: dict[str, Any] = json.loads((self.folder / "sim" / "manifest.json").read_text())
        for it in self.manifest["clusters"]:
            name, upstream = it["name"], urlsplit(it["url"]).port
            self.proxies[name] = self._stack.enter_context(Proxy(free_port(), upstream))
            it["url"] = f"https://127.0.0.1:{self.proxies[name].port}"

    def prepare(self) -> None:
        """Tables and the cast (unless they came with the ground), and the clusters, each read once."""
        if not self._prepared:
            self.manage("migrate", "--verbosity", "0")
            self.act("cast")
        if self.world.clusters:
            self.act("register", clusters=self.manifest["clusters"])
            self.act("observe")

    def redis(self, *options: str) -> subprocess.Popen[bytes]:
        """A broker on a socket in the folder; after a kill, the next one is found at the same place."""
        self.socket.unlink(missing_ok=True)
        started = self.start("redis", *self._broker.command, *options)
        wait_for("the broker", lambda: self._broker_answers() or started.poll() is not None)
        return started

    def _broker_answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket)) as broker, suppress(redis.RedisError):
            return bool(broker.ping())
        return False

    def worker(self, queue: str = "send", *, wait: bool = True, **env: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"worker-{queue}.log"
        before = log.stat().st_size if log.exists() else 0
        keys = {} if queue == "send" else {"EXECUTOR_KEY": ""}
        command = [sys.executable, "-m", "celery", "-A", "dashboard", "worker", "-Q", queue, "-P", "threads"]
        command += ["-c", "8", "-l", "INFO", "-n", f"{queue}-{uuid.uuid4().hex[:8]}@%h"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        child = self.start(f"worker-{queue}", *command, **keys, **env)
        if wait:
            wait_for("the worker", lambda: b" ready." in log.read_bytes()[before:] or child.poll() is not None)
        return child

    def sweep(self, **env: str) -> subprocess.Popen[bytes]:
        return self.start("sweep", sys.executable, "manage.py", "sweep", "--every", "0.3", **env)

    def relay(self, **env: str) -> subprocess.Popen[bytes]:
        keys = {"EXECUTOR_KEY": "", "CHECKPOINT_KEY": CHECKPOINT_KEY}
        return self.start("relay", sys.executable, "manage.py", "relay", **keys, **env)

    def at_work(self) -> None:
        """Wait until the first sweep and the first relay have come round: they say nothing when they begin, and what
        strikes them before that finds a program that refuses to start."""
        for sign in (SWEPT, "SELECT * FROM audit_sink"):
            wait_for("a first round", partial(self.query, sign))

    def web(self, *, wait: bool = True, **env: str) -> subprocess.Popen[bytes]:
        """Gunicorn with one worker; its address is in `self.url`."""
        if not hasattr(self, "port"):
            self.port = free_port()
            self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "gunicorn", "dashboard.wsgi", "--worker-class", "gthread", "--workers", "1"]
        command += ["--threads", "8", "--bind", f"127.0.0.1:{self.port}", "--no-control-socket"]
        child = self.start("web", *command, EXECUTOR_KEY="", **env)
        if wait:
            wait_for("the web server", lambda: embedded.answers("127.0.0.1", self.port, tls=False))
        return child

    # ── What people do ──

    def asked(self, *paths: str) -> dict[str, Any]:
        """A request of a.rivera for these targets (`/dr/finance` when none is named)."""
        return dict(self.act("request", paths=list(paths) or ["/dr/finance"]))

    def approved(self, *paths: str) -> int:
        """The first failover of a request that k.osei has approved. Nobody is there to hear the bell before."""
        made = self.asked(*paths)
        self.act("approve", request=made["request"])
        return int(made["failovers"][0])

    # ── What really happened ──

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows as the database has them, asked past all of our code. `?` stands for a value on either engine."""
        url = self.env["DATABASE_URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True, timeout=30)) as db:
                db.row_factory = sqlite3.Row
                return [dict(row) for row in db.execute(sql, values)]
        with psycopg.connect(url, row_factory=dict_row, autocommit=True) as server:
            return list(server.execute(sql.replace("?", "%s").encode(), values))

    def failover(self, pk: int) -> dict[str, Any]:
        return self.query("SELECT * FROM failovers_failover WHERE id = ?", pk)[0]

    def state(self, pk: int) -> str:
        return str(self.failover(pk)["state"])

    def see(self, pk: int, *states: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until the failover is in one of these states."""
        try:
            wait_for("a state", lambda: self.state(pk) in states, patience)
        except AssertionError:
            raise AssertionError(f"failover {pk} never was {' or '.join(states)}; it is {self.state(pk)}") from None
        return self.failover(pk)

    def tags(self, pk: int) -> list[str]:
        """What the ledger says of the failover, in order."""
        number = self.act("number", failover=pk)
        return [row["tag"] for row in self.query("SELECT tag FROM audit_entry WHERE object = ? ORDER BY seq", number)]

    def sendings(self, pk: int) -> int:
        """How many are in the ledger that were not taken back. (A machine that stands still for longer than the send
        window makes more of those, and nobody hears of them.)"""
        tags = self.tags(pk)
        return tags.count("failover.sent") - tags.count("failover.notsent")

    @property
    def posts(self) -> list[Any]:
        """Make-writable requests that reached a cluster, from the clusters' own journal."""
        return self.world.make_writable_received()

    def fault(self, fault: Any, cluster: str = "dr") -> None:
        self.world.clusters[cluster].faults.add(fault)

    def logs(self) -> Iterator[tuple[str, str]]:
        """What the processes of this site have printed, by name."""
        for path in sorted(self.folder.glob("*.log")):
            yield path.name, path.read_text(errors="replace")


def own_database(server: str, template: str | None = None) -> str:
    """A new database on that PostgreSQL, empty or copied from another, for one site alone."""
    url, name = urlsplit(server), f"faults_{uuid.uuid4().hex}"  # a name of hexadecimal digits
    with psycopg.connect(server, autocommit=True) as connection:
        copied = f" TEMPLATE {template}" if template else ""
        connection.execute(f"CREATE DATABASE {name}{copied}".encode())
    return urlunsplit(url._replace(path=f"/{name}"))
