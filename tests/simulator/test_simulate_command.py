"""`manage.py simulate` as a process of its own: manifest, certificates, remote control, signals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
T = "/v2/replication/target-relationships"


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "manage.py"), "simulate", "--out", str(folder), *more]
    # Without keys and database settings: it needs none.
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=folder
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


@dataclass
class Running:
    folder: Path
    manifest: dict[str, Any]
    client: httpx.Client

    def cluster(self, name: str) -> dict[str, str]:
        return next(it for it in self.manifest["clusters"] if it["name"] == name)

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> httpx.Response:
        """A call to the remote control."""
        control = self.manifest["control"]
        headers = {"Authorization": f"Bearer {control['token'] if token is None else token}"}
        return self.client.request(method, control["url"] + path, json=body, headers=headers)

    def told(self, method: str, path: str, body: object = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    (folder / "manifest.json").write_text("{}")  # left over from an earlier run
    process = start(folder, "--port-base", str(free_ports(3)), "--scenario", "pair")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("Manifest:"):
                break
        manifest = wait_for(folder / "manifest.json", process)
        trust = ssl.create_default_context(cafile=manifest["control"]["ca_file"])
        with httpx.Client(verify=trust, trust_env=False, timeout=60) as client:
            yield Running(folder, manifest, client)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """For tests that only look."""
    with running(tmp_path_factory.mktemp("simulated")) as it:
        yield it


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """For tests that change something."""
    with running(tmp_path) as it:
        yield it


def test_the_manifest_names_everything_that_a_client_needs(served):
    clusters = served.manifest["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["prod", "dr"]
    ports = [int(cluster["url"].rsplit(":", 1)[1]) for cluster in clusters]
    assert ports == [ports[0], ports[0] + 1]
    for cluster in clusters:
        assert cluster.keys() == {
            "name", "url", "uuid", "username", "password", "reader_token", "executor_token", "ca_file", "fingerprint",
        }  # fmt: skip
        assert served.client.get(f"{cluster['url']}/v1/node/state").json()["cluster_id"] == cluster["uuid"]
        login = {"username": cluster["username"], "password": cluster["password"]}
        assert served.client.post(f"{cluster['url']}/v1/session/login", json=login).status_code == 200
        for token in (cluster["reader_token"], cluster["executor_token"]):
            headers = {"Authorization": f"Bearer {token}"}
            assert served.client.get(f"{cluster['url']}{T}/status/", headers=headers).status_code == 200
        host, port = cluster["url"].removeprefix("https://").split(":")
        pem = ssl.get_server_certificate((host, int(port)), ca_certs=cluster["ca_file"])
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
        assert digest == cluster["fingerprint"]
    assert len({cluster["fingerprint"] for cluster in clusters}) == 2


def test_only_the_owner_can_read_the_files(served):
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in served.folder.iterdir()} == {
        "manifest.json": 0o600,
        "ca.pem": 0o600,
    }


def test_the_control_tells_what_each_cluster_received(own):
    dr = own.cluster("dr")
    (relationship,) = own.told("GET", "/simulator/relationships")["entries"]
    own.told("POST", "/simulator/faults", {"cluster": "dr", "make": "lost_answer", "path": "/make-writable"})
    headers = {"Authorization": f"Bearer {dr['executor_token']}"}
    with pytest.raises(httpx.RemoteProtocolError):
        own.client.post(f"{dr['url']}{T}/{relationship['id']}/make-writable", headers=headers)
    (sent,) = own.told("GET", "/simulator/log?cluster=dr")["entries"]
    assert sent["path"].endswith(f"{relationship['id']}/make-writable")
    assert (sent["cluster"], sent["user"], sent["status"]) == ("dr", "desk-executor", 200)
    assert sent["applied_at"] >= sent["at"]
    assert own.told("GET", "/simulator/log?cluster=prod")["entries"] == []
    assert own.told("GET", "/simulator/log")["entries"] == [sent]
    assert own.told("GET", "/simulator/relationships")["entries"][0]["state"] in ("DISCONNECTING", "DISCONNECTED")


def test_faults_can_be_taken_away_again(own):
    version = own.cluster("dr")["url"] + "/v1/version"
    own.told("POST", "/simulator/faults", {"make": "error", "status": 500, "count": None})
    assert own.client.get(version).status_code == 500
    own.told("DELETE", "/simulator/faults?cluster=prod")
    assert own.client.get(version).status_code == 500
    own.told("DELETE", "/simulator/faults")
    assert own.client.get(version).status_code == 200


def test_the_control_changes_relationships_and_clusters(own):
    dr = own.cluster("dr")
    (relationship,) = own.told("GET", "/simulator/relationships")["entries"]
    handles = {"revert_ends": "HANGS", "move_recovery_point": -3600, "stalls": True, "every": 5}
    source = {"source_read_only": True, "replication_mode": "REPLICATION_SNAPSHOT_POLICY", "policy_snapshot": "hourly"}
    changed = own.told("PATCH", f"/simulator/relationships/{relationship['id']}", handles | source)
    assert changed["recovery_point"] < relationship["recovery_point"]
    assert changed["source_root_read_only"] is True
    prod = own.cluster("prod")
    headers = {"Authorization": f"Bearer {prod['reader_token']}"}
    answer = own.client.get(f"{prod['url']}/v2/replication/source-relationships/status/", headers=headers)
    (said,) = answer.json()
    assert (said["replication_mode"], said["queued_snapshot_count"]) == ("REPLICATION_SNAPSHOT_POLICY", 1)
    own.told("PATCH", "/simulator/clusters/dr", {"name": "dr-renamed", "clock_ahead": 7200})
    assert own.client.get(f"{dr['url']}/v1/cluster/settings").json() == {"cluster_name": "dr-renamed"}
    own.told("PATCH", "/simulator/clusters/dr", {"expire_tokens": True})
    headers = {"Authorization": f"Bearer {dr['reader_token']}"}
    assert own.client.get(f"{dr['url']}{T}/status/", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/simulator/faults", {"make": "earthquake"}, 400),
        ("POST", "/simulator/faults", {"make": "late"}, 400),
        ("POST", "/simulator/faults", {"make": "error", "colour": "red"}, 400),
        ("POST", "/simulator/faults", {"make": "error", "cluster": "elsewhere"}, 404),
        ("PATCH", "/simulator/relationships/finance", {}, 400),
        ("PATCH", "/simulator/relationships/00000000-0000-0000-0000-000000000000", {}, 404),
        ("PATCH", "/simulator/clusters/", {}, 404),
        ("PATCH", "/simulator/clusters/dr", {"password": "x"}, 400),
        ("GET", "/simulator/secrets", None, 404),
    ],
)
def test_the_control_refuses_what_cannot_be_meant(served, method, path, body, status):
    answer = served.ask(method, path, body)
    assert answer.status_code == status, answer.text


def test_the_control_has_its_own_token_and_the_clusters_know_nothing_of_it(served):
    dr = served.cluster("dr")
    for token in ("x", dr["executor_token"], dr["password"]):
        assert served.ask("GET", "/simulator/log", token=token).status_code == 401
    assert served.client.get(served.manifest["control"]["url"] + "/simulator/log").status_code == 401
    assert served.client.get(f"{dr['url']}/simulator/log").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_while_clients_are_connected(tmp_path, number):
    process = start(tmp_path, "--port-base", str(free_ports(3)), "--scenario", "pair")
    manifest = wait_for(tmp_path / "manifest.json", process)
    trust = ssl.create_default_context(cafile=manifest["control"]["ca_file"])
    with httpx.Client(verify=trust, trust_env=False, timeout=60) as client:
        assert client.get(manifest["clusters"][0]["url"] + "/v1/version").status_code == 200
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_a_taken_port_or_a_public_address_is_said_in_one_sentence(tmp_path):
    base = free_ports(3)
    with socket.create_server(("127.0.0.1", base + 1)):
        process = start(tmp_path, "--port-base", str(base), "--scenario", "pair")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be served" in output
    assert "Traceback" not in output
    assert not (tmp_path / "manifest.json").exists()

    process = start(tmp_path, "--port-base", str(base), "--host", "192.0.2.1")
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "loopback" in output) == (1, True)
