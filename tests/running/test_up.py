"""`manage.py up` and `manage.py demo` as people start them: real processes, real pages, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.running.processes import (
    PROGRAMS,
    Program,
    bare_environ,
    environment_of,
    eventually,
    family_of,
    free_port,
    free_ports,
    manage,
    program_of,
    running,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.faults


class Desk:
    def __init__(self, program: Program, folder: Path, environ: dict[str, str]) -> None:
        self.program, self.folder, self.environ = program, folder, environ
        self.url = f"http://127.0.0.1:{environ['PORT']}/"

    def page(self, path: str) -> str:
        return httpx.get(self.url + path, timeout=30).raise_for_status().text

    def pid_of(self, name: str) -> int | None:
        return program_of(self.program.pid, name)

    def manage(self, *arguments: str, **other: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(manage(*arguments), env=self.environ | other, capture_output=True, text=True, check=False)


@contextmanager
def desk(arguments: list[str], folder: Path, **more: str) -> Iterator[Desk]:
    environ = bare_environ(
        PORT=str(free_port()),
        STATIC_ROOT=str(folder.parent / "static"),
        FAILOVER_DESK_DATA=str(folder / "data"),
        TMPDIR=str(folder),
        **more,
    )
    with running(manage(*arguments), folder / "log", environ=environ) as program:
        eventually(lambda: program.says("Ctrl-C stops it"), within=120)
        yield Desk(program, folder, environ)


def test_up_runs_everything_for_clusters_added_by_hand_and_keeps_its_data(tmp_path: Path) -> None:
    simulate = manage(
        "simulate", "--scenario", "pair", "--port-base", str(free_ports(3)), "--out", f"{tmp_path}/simulated"
    )
    loopback = {"CLUSTER_ALLOWED_CIDRS": "127.0.0.0/8"}
    with running(simulate, tmp_path / "simulator.log", environ=bare_environ()) as simulator:
        eventually(lambda: simulator.says("Manifest:"))
        with desk(["up"], tmp_path, **loopback) as first:
            assert first.program.says(f"Failover Desk runs at {first.url}")
            assert all(first.pid_of(name) for name in PROGRAMS)
            add_person_and_cluster(first, tmp_path)
            with signed_in(first, "a.rivera", "correct horse battery") as browser:
                eventually(lambda: "/dr/finance" in browser.get(first.url).text)
            keys = {path.name: path.read_text() for path in (tmp_path / "data/keys").iterdir()}
            assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data/keys").iterdir()} == {0o600}
            family = family_of(first.program.pid)
            first.program.process.send_signal(signal.SIGTERM)
            assert first.program.process.wait(timeout=60) == 0, first.program.output()
            eventually(lambda: not any(runs(pid) for pid in family))
        with desk(["up"], tmp_path, **loopback) as second:
            assert keys == {path.name: path.read_text() for path in (tmp_path / "data/keys").iterdir()}
            with signed_in(second, "a.rivera", "correct horse battery") as browser:
                assert "/dr/finance" in browser.get(second.url).text


def add_person_and_cluster(here: Desk, folder: Path) -> None:
    (folder / "password").write_text("correct horse battery")
    added = here.manage("person", "add", "a.rivera", "--role", "operator", "--password-file", f"{folder}/password")
    assert added.returncode == 0, added.stderr
    [cluster] = [
        entry
        for entry in json.loads((folder / "simulated/manifest.json").read_text())["clusters"]
        if entry["name"] == "dr"
    ]
    for role in ("reader", "executor"):
        (folder / role).write_text(cluster[f"{role}_token"])
    tokens = ("--reader-token-file", f"{folder}/reader", "--executor-token-file", f"{folder}/executor")
    added = here.manage("cluster", "add", "dr", cluster["url"], *tokens, "--ca-file", cluster["ca_file"])
    assert added.returncode == 0, added.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One desk for the tests that only look at it."""
    with desk(["up"], tmp_path_factory.mktemp("undisturbed")) as here:
        yield here


def test_up_tells_the_executor_key_to_senders_alone(undisturbed: Desk) -> None:
    told = {}
    for name in PROGRAMS:
        pid = undisturbed.pid_of(name)
        assert pid
        told[name] = [environment_of(one) for one in (pid, *family_of(pid))]
    with_key = {
        name for name, family in told.items() if any("EXECUTOR_KEY" in str(list(environ)) for environ in family)
    }
    assert with_key == {"worker-send", "sweep"}
    key = (undisturbed.folder / "data/keys/EXECUTOR_KEY").read_text()
    assert not any(key in str(environ) for family in told.values() for environ in family)


def test_a_second_up_on_the_same_data_is_refused(undisturbed: Desk) -> None:
    second = undisturbed.manage("up", PORT=str(free_port()))
    assert second.returncode == 1
    assert f"already runs on {undisturbed.folder}/data" in second.stderr
    assert "Traceback" not in second.stderr
    assert "Failover Desk" in undisturbed.page("sign-in/")


def test_a_second_up_on_the_same_port_is_refused(undisturbed: Desk, tmp_path: Path) -> None:
    second = undisturbed.manage("up", FAILOVER_DESK_DATA=str(tmp_path))
    assert second.returncode == 1
    assert f"127.0.0.1:{undisturbed.environ['PORT']} cannot be used: Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_up_starts_again_whatever_is_killed(tmp_path: Path) -> None:
    with desk(["up"], tmp_path) as here:
        said = {}
        for name in PROGRAMS:
            before = here.pid_of(name)
            assert before
            said[name] = len(here.program.output())
            os.kill(before, signal.SIGKILL)
            eventually(partial(has_another_pid, here, name, before))
        for queue in ("send", "observe"):
            eventually(partial(is_ready, here, queue, said[f"worker-{queue}"]))
        eventually(lambda: answers(here))


def test_nothing_of_up_survives_its_being_killed(tmp_path: Path) -> None:
    with desk(["up"], tmp_path) as here:
        eventually(lambda: len(family_of(here.program.pid)) >= len(PROGRAMS) + 2)  # gunicorn's workers too
        family = family_of(here.program.pid)
        here.program.process.kill()
        eventually(lambda: not any(runs(pid) for pid in family))


def test_up_serves_tls_when_it_is_given_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run([sys.executable, "-c", MAKE_CERTIFICATE, certificate, key], check=True)
    with desk(["up"], tmp_path, TLS_CERT=str(certificate), TLS_KEY=str(key)) as here:
        url = here.url.replace("http:", "https:")
        answer = httpx.get(f"{url}sign-in/", verify=ssl.create_default_context(cafile=certificate), timeout=30)
        assert answer.headers["Set-Cookie"].startswith("__Host-csrf")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert here.program.says(f"Failover Desk runs at {url}")


def test_the_demo_has_clusters_people_and_a_tour_and_forgets_everything(tmp_path: Path) -> None:
    real = f"sqlite:///{tmp_path}/real.sqlite3"
    with desk(["demo"], tmp_path, DATABASE_URL=real) as here:
        [data] = tmp_path.glob("failover-desk-demo-*")
        assert here.program.says(f"Failover Desk runs at {here.url}")
        assert [number for number in range(1, 6) if f"\n  {number}. " in here.program.output()] == [1, 2, 3, 4, 5]
        for name in ("a.rivera", "s.tanaka", "j.lind", "k.osei", "m.okafor", "n.adeyemi", "p.novak", "wall"):
            assert name in here.program.output()
        with signed_in(here, "a.rivera", "demo") as browser:
            eventually(lambda: "/dr/dc1/finance" in browser.get(here.url).text)
        family = family_of(here.program.pid)
        here.program.process.send_signal(signal.SIGINT)
        assert here.program.process.wait(timeout=60) == 0, here.program.output()
        eventually(lambda: not any(runs(pid) for pid in family))
        assert not data.exists()
        assert not (tmp_path / "real.sqlite3").exists()


def test_the_demo_wants_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "desk.sqlite3").write_text("somebody's")
    refused = subprocess.run(
        manage("demo", "--data", str(tmp_path)), env=bare_environ(), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert f"{tmp_path} is not empty" in refused.stderr
    assert (tmp_path / "desk.sqlite3").read_text() == "somebody's"


def test_make_takes_the_desk_with_it_when_it_is_killed(tmp_path: Path) -> None:
    """As `make demo` starts it: a parent that does nothing but wait."""
    script = f'"{sys.executable}" manage.py up --with-parent & wait'
    environ = bare_environ(
        PORT=str(free_port()), STATIC_ROOT=str(tmp_path.parent / "static"), FAILOVER_DESK_DATA=str(tmp_path / "data")
    )
    with running(["sh", "-c", script], tmp_path / "log", environ=environ) as make:
        eventually(lambda: make.says("Ctrl-C stops it"), within=120)
        family = family_of(make.pid)
        make.process.kill()
        eventually(lambda: not any(runs(pid) for pid in family))


def answers(here: Desk) -> bool:
    try:
        return "Failover Desk" in here.page("sign-in/")
    except httpx.HTTPError:
        return False


def is_ready(here: Desk, queue: str, since: int) -> bool:
    """Whether the worker of this queue has said so, in what was printed since then."""
    return bool(re.search(rf"\b{queue}@\S+ ready\.", here.program.output()[since:]))


def has_another_pid(here: Desk, name: str, before: int) -> bool:
    return here.pid_of(name) not in {None, before}


@contextmanager
def signed_in(here: Desk, name: str, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30, follow_redirects=True) as browser:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(f"{here.url}sign-in/").text)
        assert token
        fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
        answer = browser.post(f"{here.url}sign-in/", data=fields).raise_for_status()
        assert name in answer.text
        yield browser


MAKE_CERTIFICATE = """
import datetime, ipaddress, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "desk")])
now = datetime.datetime.now(datetime.UTC)
made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
open(sys.argv[1], "wb").write(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
open(sys.argv[2], "wb").write(key.private_bytes(serialization.Encoding.PEM, *private))
"""
