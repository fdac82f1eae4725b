"""manage.py sweep --every 2: the one clock. Stops on SIGTERM and SIGINT, after the steps that are under way."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, close_old_connections

from dashboard import checks, database
from dashboard.failovers.sweep import Sweep

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Step open failovers, expire, re-grade, and hand out the reading of clusters, for ever."
    requires_system_checks: list[str] = []  # refuse_to_start says the same, in fewer words

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=2, help="seconds between two passes")
        parser.add_argument("--once", action="store_true", help="one pass, wait for its steps, then stop")

    def handle(self, *args: Any, **options: Any) -> None:
        database.wait_at_most(database.FOR_DRIVERS)
        checks.refuse_to_start(role="sweep")
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        signal.signal(signal.SIGINT, lambda *_: over.set())
        sweep = Sweep(with_broker=bool(settings.REDIS_URL))
        try:
            while not over.is_set():
                close_old_connections()
                try:
                    sweep.once()
                except Error:
                    log.exception("The database does not answer; the next pass tries again")
                if options["once"]:
                    break
                over.wait(options["every"])
        finally:
            sweep.close(forget=not options["once"])
