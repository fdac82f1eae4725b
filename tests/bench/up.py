"""The desk as `manage.py up` runs it, beside simulated clusters in a process of their own: for what only all the
processes together can show. The clusters' own journal says what reached them, `/proc` what each process used.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography.fernet import Fernet

from tests.bench.browser import Browser
from tests.postgres import running_postgres
from tests.running.processes import (
    PROGRAMS,
    ROOT,
    Program,
    bare_environ,
    eventually,
    family_of,
    free_port,
    free_ports,
    manage,
    program_of,
    running,
)

TICK = os.sysconf("SC_CLK_TCK")


class Up:
    desk: Program

    def __init__(self, folder: Path, simulator: Program, environ: dict[str, str]) -> None:
        self.folder, self.simulator, self.environ = folder, simulator, environ
        self.manifest: dict[str, Any] = json.loads((folder / "sim/manifest.json").read_text())
        self.url = f"http://127.0.0.1:{environ['PORT']}"
        self.redis = f"unix://{environ['FAILOVER_DESK_DATA']}/redis.sock"

    def act(self, module: str, *arguments: str, **env: str) -> Any:
        """What that module of the bench does, in a process of its own; it prints JSON."""
        command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
        done = subprocess.run(command, env=self.environ | env, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    @contextmanager
    def running(self) -> Iterator[None]:
        """`manage.py up`, from its first page until it has ended."""
        with running(manage("up"), self.folder / "up.log", environ=self.environ) as self.desk:
            eventually(lambda: self.desk.says("Ctrl-C stops it"), within=120)
            yield
            self.desk.process.send_signal(signal.SIGTERM)
            self.desk.process.wait(timeout=60)

    # ── Processes ──

    def pid_of(self, name: str) -> int | None:
        return program_of(self.desk.pid, name)

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time so far, by program."""
        found = {name: _seconds(pid) for name in PROGRAMS if (pid := self.pid_of(name))}
        return found | {"simulator": _seconds(self.simulator.pid)}

    def browser(self, name: str) -> Browser:
        return Browser(self.url, name)

    # ── What really happened ──

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Asked past all of our code. `?` stands for a value on either engine."""
        url = self.environ["DATABASE_URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True, timeout=30)) as db:
                return list(db.execute(sql, values))
        with psycopg.connect(url, autocommit=True) as server:
            return list(server.execute(sql.replace("?", "%s").encode(), values))

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        control = self.manifest["control"]
        context = ssl.create_default_context(cafile=control["ca_file"])
        headers = {"Authorization": f"Bearer {control['token']}"}
        answer = httpx.request(method, control["url"] + path, json=body, headers=headers, verify=context, timeout=30)
        return answer.raise_for_status().json()

    def posts(self) -> dict[str, list[float]]:
        """When make-writable reached the cluster, by relationship."""
        found: dict[str, list[float]] = {}
        for entry in self.control("GET", "/simulator/log")["entries"]:
            if entry["path"].endswith("/make-writable"):
                found.setdefault(entry["path"].split("/")[-2], []).append(entry["at"])
        return found


@contextmanager
def built(folder: Path, engine: str, scenario: str) -> Iterator[Up]:
    """Simulated clusters, and a desk that knows all of them and a.rivera (operator) and k.osei (approver), but does not
    run yet."""
    with ExitStack() as stack:
        database = f"sqlite:///{folder / 'desk.sqlite3'}"
        if engine == "postgres":
            database = stack.enter_context(running_postgres(durable=True))
        environ = bare_environ(
            DJANGO_SETTINGS_MODULE="dashboard.settings",
            TESTING="1",  # people sign in without a second factor; what is measured is the same without it
            SECRET_KEY="x" * 60,
            READER_KEY=Fernet.generate_key().decode(),
            EXECUTOR_KEY=Fernet.generate_key().decode(),
            PORT=str(free_port()),
            FAILOVER_DESK_DATA=str(folder / "data"),
            FENCE_FILE=str(folder / "fence"),
            DATABASE_URL=database,
            CLUSTER_ALLOWED_CIDRS="127.0.0.0/8",
        )
        simulate = manage("simulate", "--scenario", scenario, "--out", f"{folder}/sim")
        simulate += ["--port-base", str(free_ports(201))]
        simulator = stack.enter_context(running(simulate, folder / "simulator.log", environ=bare_environ()))
        eventually(lambda: simulator.says("Manifest:"))
        subprocess.run(manage("migrate", "--verbosity", "0"), env=environ, check=True)
        it = Up(folder, simulator, environ)
        it.act("hands", "furnish", f"{folder}/sim/manifest.json")
        yield it


@contextmanager
def up(folder: Path, engine: str, scenario: str) -> Iterator[Up]:
    """The same, and it runs and has read every cluster."""
    with built(folder, engine, scenario) as it, it.running():
        eventually(lambda: it.query("SELECT count(*) FROM fleet_cluster WHERE last_read_at IS NULL")[0][0] == 0)
        yield it


def _seconds(pid: int) -> float:
    total = 0
    for one in (pid, *family_of(pid)):
        columns = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(columns[11]) + int(columns[12])
    return total / TICK
