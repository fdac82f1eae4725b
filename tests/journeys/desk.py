"""A whole desk of real processes for a browser: `manage.py demo`, or `manage.py up` with clusters added by hand."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.faults.site import ROOT, wait_for
from tests.running.processes import free_port, free_ports

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_OURS = ("DJANGO_SETTINGS_MODULE", "TESTING", "SECRET_KEY", "READER_KEY", "EXECUTOR_KEY", "DATABASE_URL", "REDIS_URL")


class Processes:
    """Started here, ended here, with what they said in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.children = folder, list[subprocess.Popen[bytes]]()
        self.env = {name: value for name, value in os.environ.items() if name not in _OURS}
        self.env["FAILOVER_DESK_DATA"] = str(folder / "data")
        self.env["CLUSTER_ALLOWED_CIDRS"] = "127.0.0.0/8"

    def start(self, name: str, *arguments: str, **env: str) -> Path:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            command = [sys.executable, "manage.py", *arguments]
            self.children.append(subprocess.Popen(command, cwd=ROOT, env=self.env | env, stdout=out, stderr=out))
        return log

    def manage(self, *arguments: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            check=False,
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in reversed(self.children):
            with suppress(subprocess.TimeoutExpired):
                child.wait(20)
            if child.poll() is None:
                child.kill()
                child.wait(10)


class Desk:
    """`url` is where the pages are; `manifest` says what the simulated clusters are and how to look into them."""

    def __init__(self, url: str, manifest: Path, *, password: str) -> None:
        self.url, self.password = url.rstrip("/"), password
        self.manifest: dict[str, Any] = json.loads(manifest.read_text())

    def cluster(self, name: str) -> dict[str, str]:
        return next(cluster for cluster in self.manifest["clusters"] if cluster["name"] == name)

    def posts(self, cluster: str) -> list[dict[str, Any]]:
        """The make-writables that reached a cluster, from its own log."""
        control = self.manifest["control"]
        answer = httpx.get(
            f"{control['url']}/simulator/log",
            params={"cluster": cluster},
            headers={"Authorization": f"Bearer {control['token']}"},
            verify=ssl.create_default_context(cafile=control["ca_file"]),
            timeout=60,
        )
        return [entry for entry in answer.json()["entries"] if entry["path"].endswith("/make-writable")]

    def qq(self, cluster: str, *arguments: str) -> Any:
        """What the official client sees."""
        at = self.cluster(cluster)
        host, _, port = at["url"].removeprefix("https://").partition(":")
        store = Path(at["ca_file"]).with_name(f"{cluster}.qq")
        qq = [
            str(Path(sys.executable).with_name("qq")),
            "--host",
            host,
            "--port",
            port,
            "--credentials-store",
            str(store),
        ]
        for command in (["login", "-u", at["username"], "-p", at["password"]], list(arguments)):
            done = subprocess.run([*qq, *command], check=False, capture_output=True, text=True, timeout=180)
            assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def demo(processes: Processes) -> Desk:
    port = free_port()
    log = processes.start("demo", "demo", "--data", processes.env["FAILOVER_DESK_DATA"], PORT=str(port))
    wait_for("the demo's tour", lambda: "Ctrl-C stops it" in log.read_text(), 180)
    manifest = Path(processes.env["FAILOVER_DESK_DATA"]) / "simulated" / "manifest.json"
    desk = Desk(f"http://127.0.0.1:{port}", manifest, password="demo")
    wait_for("the first reading of all clusters", lambda: _has_read(processes, desk), 180)
    return desk


def up(processes: Processes) -> Desk:
    """As an admin does it: `up`, people, clusters with their tokens from files, one of them pinned by fingerprint."""
    port, base = free_port(), free_ports(12)
    out = processes.folder / "simulated"
    processes.start("simulate", "simulate", "--port-base", str(base), "--out", str(out))
    manifest = wait_for("the simulated clusters", lambda: (out / "manifest.json").exists() and out / "manifest.json")
    processes.start("up", "up", PORT=str(port), SECOND_FACTOR="optional")  # tests/journeys/test_keys.py has those
    url = f"http://127.0.0.1:{port}"
    wait_for("the sign-in page", lambda: _answers(f"{url}/sign-in/"), 180)
    desk = Desk(url, manifest, password="correct horse battery")
    password = processes.folder / "password"
    password.write_text(desk.password)
    keys = {f"{name}_FILE": str(Path(processes.env["FAILOVER_DESK_DATA"]) / "keys" / name) for name in _OURS[2:5]}
    for name, role in (("a.rivera", "operator"), ("j.lind", "approver"), ("m.okafor", "auditor")):
        processes.manage("person", "add", name, "--role", role, "--password-file", str(password), **keys)
    for cluster in desk.manifest["clusters"]:
        tokens = []
        for kind in ("reader", "executor"):
            file = processes.folder / f"{cluster['name']}.{kind}"
            file.write_text(cluster[f"{kind}_token"] + "\n")
            tokens += [f"--{kind}-token-file", str(file)]
        pinned = ["--fingerprint", cluster["fingerprint"]]
        trust = pinned if cluster["name"] == "dr-west" else ["--ca-file", cluster["ca_file"]]
        processes.manage("cluster", "add", cluster["name"], cluster["url"], *tokens, *trust, **keys)
    wait_for("the first reading of all clusters", lambda: _has_read(processes, desk), 180)
    return desk


def _has_read(processes: Processes, desk: Desk) -> bool:
    """Before that no list is whole, and one without a script does not come to be."""
    file = Path(processes.env["FAILOVER_DESK_DATA"]) / "desk.sqlite3"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        [(read,)] = database.execute(
            "SELECT count(*) FROM fleet_cluster WHERE last_read_at IS NOT NULL AND sources_read_at IS NOT NULL"
        )
    return bool(read == len(desk.manifest["clusters"]))


def _answers(url: str) -> bool:
    try:
        return "Failover Desk" in httpx.get(url).text
    except httpx.HTTPError:
        return False
