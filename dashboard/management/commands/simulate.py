"""`manage.py simulate`: simulated Qumulo clusters over HTTPS, for people, journeys and process tests."""

from __future__ import annotations

import ipaddress
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.simulator import scenarios
from dashboard.simulator.hosting import Hosting


class Command(BaseCommand):
    help = "Serves simulated Qumulo clusters on loopback ports and writes DIR/manifest.json when all of them listen."
    requires_system_checks = ()  # it needs neither database nor keys

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port-base", type=int, required=True, metavar="P", help="ports P, P+1, … are used")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where manifest.json goes")
        parser.add_argument("--scenario", choices=sorted(scenarios.NAMED), default="demo")
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address, such as 127.0.0.2")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            loopback = ipaddress.ip_address(options["host"]).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise CommandError("--host must be a loopback address: simulated clusters are not for a network.")
        if not 1 <= options["port_base"] <= 65000:
            raise CommandError("--port-base must be between 1 and 65000.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        world = scenarios.NAMED[options["scenario"]]()
        folder: Path = options["out"].resolve()
        try:
            with Hosting(world, folder, port_base=options["port_base"], host=options["host"]) as hosting:
                if options["verbosity"] > 0:
                    for name, door in hosting.doors.items():
                        self.stdout.write(f"{name}: {door.url}")
                    self.stdout.write(f"Manifest: {folder / 'manifest.json'}")
                    self.stdout.flush()
                stop.wait()
        except OSError as error:
            raise CommandError(f"The simulated clusters cannot be served: {error}") from None
