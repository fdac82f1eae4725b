"""The whole desk on simulated clusters, with a cast of people and a tour: `make demo`.

It begins with an empty data folder of its own, and no key, database or Redis of a real desk reaches it: the cast's
password is printed, so it must never meet anything but simulated clusters on this machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import tempfile
from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard import embedded
from dashboard.management.commands.up import (
    make_missing_keys_and_start_over,
    obey_parent,
    offer_to_end_with_parent,
    run_desk,
    shown_url,
)
from dashboard.simulator.scenarios import OBJECTIVES, TAGS
from dashboard.supervisor import Child, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "demo"  # noqa: S105 - printed, and good on this machine alone
CAST = {
    "a.rivera": "operator",
    "s.tanaka": "operator",
    "j.lind": "approver",
    "k.osei": "approver",
    "m.okafor": "auditor",
    "n.adeyemi": "admin",
    "p.novak": "admin",
    "wall": "viewer",
}
GROUPS = {"storage": ("j.lind",), "security": ("k.osei",)}
POLICIES = {  # what `manage.py policy set` is given
    "dc1": "--cluster dr-west --path /dr/dc1 --share 1 --break-glass",
    "tills": "--cluster edge-hub --path /hub/pos-14 --share storage=1 --share security=1 --ticket INC-[0-9]{1,8}",
}
_NOT_FOR_A_DEMO = (*embedded.KEYS, "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")
_PORTS = range(9443, 65000, 10)  # the simulator's clusters and its control fit into ten

TOUR = """
Failover Desk runs at {url}

  Sign in (password {password}):
{cast}

  1. Sign in as a.rivera. Every relationship is on the list, the worst first: dc1-prod has lost its power.
  2. Open /dr/dc1/finance on dr-west and choose Fail over: type its path, say why, and ask.
  3. Copy the link of the request. In a private window sign in as j.lind, see what has changed, and approve.
  4. Watch either window: make-writable is sent once, the target reverts, and in about half a minute it says
     "The target is writable".
  5. A whole site: "Select several…" on the list, one request, one decision, each on its own course. Nobody
     awake? The policy of /dr/dc1 allows break-glass; that of /hub/pos-14 wants storage and security.
  6. Sign in as m.okafor: who did what at {url}audit/, and the evidence pack on the failover's page. As
     n.adeyemi: {url}policies/, where p.novak confirms what weakens. Put {url}wall/ on a screen.

Ctrl-C stops it{forgets}.
"""


class Command(BaseCommand):
    help = "Runs the desk on simulated clusters, on this machine alone, with people to sign in as and a tour."
    requires_system_checks = ()  # run_desk asks the same and more, once there are keys

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data", type=Path, metavar="DIR", help="an empty folder to keep (default: a temporary one)"
        )
        offer_to_end_with_parent(parser)
        parser.add_argument("--prepared", action="store_true", help=SUPPRESS)
        parser.add_argument("--temporary", action="store_true", help=SUPPRESS)

    def handle(self, *, data: Path | None, with_parent: bool, prepared: bool, temporary: bool, **_: Any) -> None:
        parent = obey_parent(with_parent=with_parent)
        if not prepared:
            _start_over_in(data, parent)
        with _removed_afterwards(settings.DATA) if temporary else contextlib.nullcontext():
            run_desk(announcement=_tour(temporary=temporary), furnish=_furnish)


def _start_over_in(data: Path | None, parent: list[str]) -> None:
    folder = data.resolve() if data else Path(tempfile.mkdtemp(prefix="failover-desk-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise CommandError(f"{folder} is not empty; the demo begins with a folder of its own.")
    environ = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in _NOT_FOR_A_DEMO}
    environ |= {"FAILOVER_DESK_DATA": str(folder), "DEMO": "1", "CLUSTER_ALLOWED_CIDRS": "127.0.0.0/8"}
    environ.setdefault("LOG_LEVEL", "ERROR")  # two of its clusters fall silent, and the tour should stay in sight
    # Celery says so to whoever is root; here it would only push the tour off the screen.
    environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges")
    make_missing_keys_and_start_over(["demo", "--prepared", *parent, *([] if data else ["--temporary"])], environ)


@contextlib.contextmanager
def _removed_afterwards(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder)


def _furnish(desk: Supervisor) -> None:
    """Simulated clusters, registered as real ones are; people, added as real ones are; objectives and tags."""
    folder = settings.DATA / "simulated"
    command = embedded.manage("simulate", "--port-base", str(_free_ports()), "--out", str(folder), "--verbosity", "0")
    desk.start(Child(name="simulator", command=command, environ=embedded.hide_keys(os.environ)))
    for name, role in CAST.items():
        _call("person", "add", name, "--role", role, "--password-file", _write(settings.DATA / "password", PASSWORD))
    manifest = folder / "manifest.json"
    desk.watch(until=manifest.exists)
    for cluster in json.loads(manifest.read_text())["clusters"]:
        reader = _write(folder / f"{cluster['name']}.reader", cluster["reader_token"])
        executor = _write(folder / f"{cluster['name']}.executor", cluster["executor_token"])
        tokens = ("--reader-token-file", reader, "--executor-token-file", executor)
        _call("cluster", "add", cluster["name"], cluster["url"], *tokens, "--ca-file", cluster["ca_file"])
    for cluster_name, prefix, objective in OBJECTIVES:
        _call("objective", cluster_name, prefix, objective)
    for cluster_name, prefix, tag in TAGS:
        _call("tag", "add", cluster_name, prefix, tag)
    for name, members in GROUPS.items():
        _call("group", "add", name, *members)
    for name, said in POLICIES.items():
        _call("policy", "set", name, *said.split())


def _call(*arguments: str) -> None:
    call_command(*arguments, stdout=io.StringIO())


def _write(path: Path, secret: str) -> str:
    path.touch(mode=0o600)
    path.write_text(secret)
    return str(path)


def _free_ports() -> int:
    """The first of ten neighbouring ports that nobody listens on."""
    for base in _PORTS:
        with contextlib.suppress(OSError), contextlib.ExitStack() as doors:
            for port in range(base, base + _PORTS.step):
                doors.enter_context(socket.create_server(("127.0.0.1", port)))
            return base
    raise CommandError("No ten neighbouring ports are free on 127.0.0.1 for the simulated clusters.")


def _tour(*, temporary: bool) -> str:
    cast = "\n".join(f"    {name:<10} {role}" for name, role in CAST.items())
    forgets = ", and everything here is forgotten" if temporary else f"; {settings.DATA} keeps what happened"
    return TOUR.format(url=shown_url(), password=PASSWORD, cast=cast, forgets=forgets)
