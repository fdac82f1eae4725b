"""A whole desk of real processes in a folder of its own: simulated clusters over HTTPS, a real broker, workers, sweep.

Times are a fifth of the real ones, so that the settle window fits into a test. Every wait is for a condition, bounded.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

from dashboard import embedded
from tests.running.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


def wait_for(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true value of `condition`; an AssertionError that names `what` when none comes."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what}")


class Site:
    def __init__(self, folder: Path, *, database: str | None = None) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []
        self.env = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"} | {
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "TESTING": "1",
            "TIME_SCALE": "0.2",
            "POLL_EVERY": "1s",
            "SECRET_KEY": "only-for-tests-" + "x" * 40,
            "READER_KEY": Fernet.generate_key().decode(),
            "EXECUTOR_KEY": Fernet.generate_key().decode(),
            "FAILOVER_DESK_DATA": str(folder),
            "DATABASE_URL": database or f"sqlite:///{folder / 'desk.sqlite3'}",
            "CLUSTER_ALLOWED_CIDRS": "127.0.0.0/8",
            "PYTHONUNBUFFERED": "1",
        }

    # ── Processes ──

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

    def manage(self, *arguments: str) -> None:
        done = self.run("manage.py", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def act(self, *arguments: str, **env: str) -> dict[str, Any]:
        done = self.run("-m", "tests.faults.act", *arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def start(self, name: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(arguments, cwd=ROOT, env=self.env | env, stdout=log, stderr=log)
        self.children.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGCONT)
            child.send_signal(number)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(15)

    def close(self) -> None:
        for child in reversed(self.children):
            if child.poll() is None:
                self.stop(child, signal.SIGKILL)

    # ── The parts ──

    def simulate(self, scenario: str = "pair", *, clusters: int = 5) -> None:
        port = free_ports(clusters + 1)
        out = self.folder / "sim"
        python = sys.executable
        self.start(
            "simulate",
            python,
            "manage.py",
            "simulate",
            "--port-base",
            str(port),
            "--out",
            str(out),
            "--scenario",
            scenario,
        )
        manifest = wait_for(
            "the simulated clusters", lambda: (out / "manifest.json").exists() and out / "manifest.json"
        )
        self.manifest = json.loads(manifest.read_text())

    def prepare(self) -> None:
        """Tables, the cast, the target clusters."""
        self.manage("migrate", "--verbosity", "0")
        password = self.folder / "password"
        password.write_text("demo")
        for name, role in (("a.rivera", "operator"), ("k.osei", "approver")):
            self.manage("person", "add", name, "--role", role, "--password-file", str(password))
        for cluster in self.manifest["clusters"]:
            self.register(cluster)

    def register(self, cluster: dict[str, str]) -> None:
        files = []
        for kind in ("reader", "executor"):
            path = self.folder / f"{cluster['name']}.{kind}"
            path.write_text(cluster[f"{kind}_token"])
            files += [f"--{kind}-token-file", str(path)]
        self.manage("cluster", "add", cluster["name"], cluster["url"], *files, "--ca-file", cluster["ca_file"])

    def redis(self) -> subprocess.Popen[bytes]:
        child, url = embedded.plan_redis(self.folder, {})
        self.env["REDIS_URL"] = url
        started = self.start("redis", *child.command)
        wait_for("the broker's socket", lambda: Path(url.removeprefix("unix://")).exists())
        return started

    def worker(self, **env: str) -> subprocess.Popen[bytes]:
        celery = str(Path(sys.executable).with_name("celery"))
        log = self.folder / "worker.log"
        before = log.stat().st_size if log.exists() else 0
        child = self.start(
            "worker", celery, "-A", "dashboard", "worker", "-Q", "send", "-P", "threads", "-c", "4", "-l", "INFO", **env
        )
        wait_for("the worker", lambda: b" ready." in log.read_bytes()[before:])
        return child

    def sweep(self, **env: str) -> subprocess.Popen[bytes]:
        return self.start("sweep", sys.executable, "manage.py", "sweep", "--every", "0.3", **env)

    # ── What really happened ──

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        control = self.manifest["control"]
        context = ssl.create_default_context(cafile=control["ca_file"])
        headers = {"Authorization": f"Bearer {control['token']}"}
        answer = httpx.request(method, control["url"] + path, json=body, headers=headers, verify=context, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def fault(self, make: str, **values: Any) -> None:
        self.control("POST", "/simulator/faults", {"cluster": "dr", "make": make, **values})

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Make-writable requests that reached a cluster, from the cluster's own log."""
        entries = self.control("GET", "/simulator/log")["entries"]
        return [entry for entry in entries if entry["path"].endswith("/make-writable")]

    def look(self, failover: int) -> dict[str, Any]:
        return self.act("look", str(failover))

    def see(self, failover: int, *states: str) -> dict[str, Any]:
        """Wait until the failover is in one of these states."""

        def there() -> dict[str, Any] | None:
            seen = self.look(failover)
            return seen if seen["state"] in states else None

        return dict(wait_for(f"FO in {states}, it is {self.look(failover)}", there))
