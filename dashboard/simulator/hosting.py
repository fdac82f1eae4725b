"""A whole world behind HTTPS: a port for each cluster, one for the control, and a manifest that names them.

Guarantee: whoever finds `manifest.json` while this runs finds every port in it listening. One from an earlier run
is removed first; the new one appears in one step, and only its owner can read it.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dashboard.simulator.certificates import Authority
from dashboard.simulator.control import Control
from dashboard.simulator.doors import Door, serve
from dashboard.simulator.faults import Connect

if TYPE_CHECKING:
    from dashboard.simulator.world import World


class Hosting:
    """Serves every listening cluster of a world on the ports from `port_base` on. Use it in a `with`.

    Raises OSError when a port is taken or `folder` cannot be written; then nothing is left open.
    """

    def __init__(self, world: World, folder: Path, *, port_base: int, host: str = "127.0.0.1") -> None:
        self._world, self._folder, self._port, self._host = world, folder, port_base, host
        self._stack = ExitStack()
        self.doors: dict[str, Door] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _open(self, stack: ExitStack) -> None:
        authority = Authority()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "manifest.json").unlink(missing_ok=True)
        ca_file = self._folder / "ca.pem"
        _write(ca_file, authority.pem)
        entries = []
        listening = [(name, cluster) for name, cluster in self._world.clusters.items() if cluster.listens]
        for port, (name, cluster) in enumerate(listening, start=self._port):
            leaf = authority.issue(name, self._host)
            self.doors[name] = door = stack.enter_context(serve(cluster, self._host, port, leaf=leaf))
            entries.append(
                {
                    "name": name,
                    "url": door.url,
                    "uuid": cluster.uuid,
                    "username": cluster.username,
                    "password": cluster.password,
                    "reader_token": cluster.reader_token,
                    "executor_token": cluster.executor_token,
                    "ca_file": str(ca_file),
                    "fingerprint": door.fingerprint,
                }
            )
        token = secrets.token_urlsafe(32)
        control = stack.enter_context(
            Door(
                Control(self._world, token).respond,
                lambda: Connect.OPENS,
                self._host,
                self._port + len(listening),
                authority.issue("control", self._host),
            )
        )
        manifest = {
            "clusters": entries,
            "control": {"url": control.url, "token": token, "ca_file": str(ca_file)},
        }
        _write(self._folder / "manifest.json", json.dumps(manifest, indent=2).encode())


def _write(path: Path, content: bytes) -> None:
    """Appears whole or not at all, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
