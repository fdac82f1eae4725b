"""Every way to start a part of the desk refuses a wrong setting by name, and ends; none goes on with it."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.fernet import Fernet

from dashboard import embedded
from tests.running.processes import bare_environ, eventually, free_port, manage, running, runs

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.running.processes import Program

pytestmark = pytest.mark.faults

STARTS = {child.name: child.command for child in embedded.plan_desk("127.0.0.1", 8000, tls=None, environ={})}
STARTS |= {"up": manage("up"), "demo": manage("demo")}
RIGHT = {
    "SECRET_KEY": "x" * 64,
    "READER_KEY": Fernet.generate_key().decode(),
    "EXECUTOR_KEY": Fernet.generate_key().decode(),
    "CHECKPOINT_KEY": Fernet.generate_key().decode(),  # 32 random bytes, as any key
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
NOBODY_THERE = "postgresql://desk@127.0.0.1:1/desk"


def started(start: str, folder: Path, **wrong: str) -> AbstractContextManager[Program]:
    right = {**RIGHT, "FAILOVER_DESK_DATA": str(folder), "TMPDIR": str(folder), "PORT": str(free_port())}
    if start in ("web", "worker-observe", "relay"):
        del right["EXECUTOR_KEY"]
    if start not in ("relay", "up", "demo"):
        del right["CHECKPOINT_KEY"]
    environ = bare_environ(**(right | wrong))
    command = [word if word != "127.0.0.1:8000" else f"127.0.0.1:{environ['PORT']}" for word in STARTS[start]]
    return running(command, folder / "log", environ=environ)


def refusal_of(start: str, folder: Path, **wrong: str) -> str:
    """What it printed before it ended by itself, as it must."""
    with started(start, folder, **wrong) as program:
        assert program.process.wait(timeout=60) != 0, program.output()
        return program.output()


@pytest.mark.parametrize("start", sorted(set(STARTS) - {"demo"}))
def test_a_key_that_is_none_is_refused(tmp_path: Path, start: str) -> None:
    assert "READER_KEY is not a key." in refusal_of(start, tmp_path, READER_KEY="nonsense")


@pytest.mark.parametrize("start", sorted(STARTS))
def test_a_value_that_cannot_be_meant_is_refused(tmp_path: Path, start: str) -> None:
    assert "POLL_EVERY: 'often' is not a duration" in refusal_of(start, tmp_path, POLL_EVERY="often")


@pytest.mark.parametrize("start", ["up", "demo"])
def test_another_host_in_the_clear_is_refused(tmp_path: Path, start: str) -> None:
    output = refusal_of(start, tmp_path, HOST="0.0.0.0")  # noqa: S104 - refused
    assert "HOST is 0.0.0.0, and nothing encrypts what passes there." in output
    assert "Traceback" not in output
    assert not list(tmp_path.rglob("*.sqlite3")), "it touched a database before it looked at its settings"


def test_the_demo_is_not_for_a_proxy(tmp_path: Path) -> None:
    assert "DEMO is on" in refusal_of("demo", tmp_path, BEHIND_PROXY="1")


def test_a_key_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    assert "READER_KEY_FILE is '/nowhere'; it cannot be read" in refusal_of("up", tmp_path, READER_KEY_FILE="/nowhere")


@pytest.mark.parametrize("start", ["worker-send", "sweep"])
def test_a_sender_does_not_start_on_a_database_that_was_never_migrated(tmp_path: Path, start: str) -> None:
    assert "older than this program. Run: manage.py migrate" in refusal_of(start, tmp_path)


@pytest.mark.parametrize("start", ["up", "worker-send", "sweep"])
def test_a_sender_does_not_start_while_its_database_is_away(tmp_path: Path, start: str) -> None:
    output = refusal_of(start, tmp_path, DATABASE_URL=NOBODY_THERE)
    assert "The database of DATABASE_URL does not answer" in output
    assert "Traceback" not in output


def test_the_web_server_starts_and_says_that_its_database_is_away(tmp_path: Path) -> None:
    port = str(free_port())
    with started("web", tmp_path, DATABASE_URL=NOBODY_THERE, PORT=port) as web:

        def health() -> httpx.Response | None:
            assert runs(web.pid), web.output()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health/", timeout=30)
            except httpx.TransportError:
                return None

        assert eventually(health).status_code == 503


def test_all_start_on_a_database_without_its_guards_and_one_of_them_holds_it(tmp_path: Path) -> None:
    """Pages must be able to say it. `manage.py selfcheck` finds the same, and ends with 1."""
    file, port = tmp_path / "desk.sqlite3", str(free_port())
    place = {"DATABASE_URL": f"sqlite:///{file}", "FENCE_FILE": str(tmp_path / "fence"), "PORT": port}
    environ = bare_environ(**RIGHT, **place, FAILOVER_DESK_DATA=str(tmp_path))
    subprocess.run(manage("migrate", "--verbosity", "0"), env=environ, check=True)
    with closing(sqlite3.connect(file)) as database, ExitStack() as stack:
        database.execute("DROP INDEX one_open_failover_per_relationship")
        programs = []
        for start in ("web", "worker-send", "sweep"):
            folder = tmp_path / start
            folder.mkdir()
            programs.append(stack.enter_context(started(start, folder, **place)))
        health = f"http://127.0.0.1:{port}/health/"
        eventually(lambda: _answer_of(health) == {"ok": True, "status": "held"})
        assert all(runs(program.pid) for program in programs), [program.output() for program in programs]
        reasons = database.execute("SELECT reason FROM failovers_hold").fetchall()
    assert reasons == [("The database lacks its guards: one_open_failover_per_relationship.",)]
    asked = subprocess.run(manage("selfcheck"), env=environ, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "FAULT  guards      The database lacks its guards: one_open_failover_per_relationship." in asked.stdout
    assert "ok     chain " in asked.stdout
    assert "held   every cluster The database lacks its guards" in asked.stdout


def _answer_of(address: str) -> object:
    try:
        return httpx.get(address, timeout=30).json()
    except httpx.TransportError:
        return None
