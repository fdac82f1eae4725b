"""manage.py hold REASON [--cluster NAME] | manage.py hold --lift [--cluster NAME]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.failovers import holds
from dashboard.failovers.lifecycle import Refused


class Command(BaseCommand):
    help = "Stop all sending (to one cluster, or to every one), or lift that again. Recorded in the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reason", nargs="?", default="")
        parser.add_argument("--cluster", default="", help="only this cluster; without it: every cluster")
        parser.add_argument("--lift", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["lift"]:
                ended = holds.lift(actor=cli(), scope=options["cluster"])
                self.stdout.write(f"Lifted. {ended} waiting failovers expired; they can be asked again.")
            else:
                holds.hold(actor=cli(), scope=options["cluster"], reason=options["reason"])
                self.stdout.write("Held: nothing is sent until this is lifted.")
        except Refused as error:
            raise CommandError(error.words) from None
