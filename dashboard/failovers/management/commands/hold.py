"""manage.py hold REASON [--cluster NAME] | manage.py hold --lift REASON [--cluster NAME]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.failovers import holds
from dashboard.failovers.lifecycle import Refused
from dashboard.fleet import registry


class Command(BaseCommand):
    help = "Stop all sending (to one cluster, or to every one), or lift that again. Recorded in the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reason", help="why, in a few words")
        parser.add_argument("--cluster", default="", help="only this cluster; without it: every cluster")
        parser.add_argument("--lift", action="store_true", help="lift it; what waited behind it expires first")

    def handle(self, *args: Any, **options: Any) -> None:
        scope, reason = options["cluster"], options["reason"]
        try:
            if options["lift"]:
                ended = holds.lift(actor=cli(), scope=scope, reason=reason)
                self.stdout.write(f"Lifted. {ended} waiting failovers expired; they can be asked again.")
            else:
                if scope:
                    registry.find(scope)  # a name mistyped would hold nothing, and nobody would know
                holds.hold(actor=cli(), scope=scope, reason=reason)
                self.stdout.write("Held: nothing is sent until this is lifted.")
        except registry.Refused as error:
            raise CommandError(str(error)) from None
        except Refused as error:
            raise CommandError(error.words) from None
