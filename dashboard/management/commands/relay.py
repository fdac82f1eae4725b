"""manage.py relay: carries what was recorded to the world outside. It signs the ledger, hands the signed notes on,
remembers how far the ledger had come, and tells people. Nothing that happens here can reach a failover.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections, connections

from dashboard import checks, database

log = logging.getLogger(__name__)

# Each has a thread of its own, so that a slow receiver delays nobody else. One round each; whatever a round raises is
# logged, and the next one tries again.
FOLLOWERS = (
    "dashboard.audit.checkpoints.once",
    "dashboard.audit.sinks.to_file",
    "dashboard.audit.sinks.to_syslog",
    "dashboard.audit.sinks.to_webhook",
    "dashboard.audit.fence.remember",
    "dashboard.notifications.follow.once",
)


class Command(BaseCommand):
    help = "Sign the audit trail, hand its checkpoints on, and tell people what happened, for ever."
    requires_system_checks: list[str] = []  # refuse_to_start says the same, in fewer words

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=2, help="seconds between two rounds of each follower")

    def handle(self, *args: Any, **options: Any) -> None:
        database.wait_at_most(database.FOR_DRIVERS)
        checks.refuse_to_start(role="relay")
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        signal.signal(signal.SIGINT, lambda *_: over.set())
        threads = [
            # Daemons: a receiver that never answers must not keep the program from ending.
            threading.Thread(target=follow, args=(name, over, options["every"]), name=name, daemon=True)
            for name in FOLLOWERS
        ]
        for thread in threads:
            thread.start()
        over.wait()
        for thread in threads:
            thread.join(timeout=2)


def follow(name: str, over: threading.Event, every: float) -> None:
    once = found(name)
    while not over.is_set():
        close_old_connections()
        try:
            once()
        except Exception:
            log.exception("A round of %s failed; the next one tries again", name)
        over.wait(every)
    connections.close_all()


def found(name: str) -> Callable[[], None]:
    module, _, function = name.rpartition(".")
    once: Callable[[], None] = getattr(import_module(module), function)
    return once
