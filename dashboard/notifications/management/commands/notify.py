"""`manage.py notify test`: one test notice to each channel, and what came of it (exit code 1 when one failed)."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.notifications import channels, news


class Command(BaseCommand):
    help = "Send a test notice to each channel of NOTIFY_URLS and NOTIFY_MAIL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["test"])

    def handle(self, *args: Any, **options: Any) -> None:
        targets = channels.configured()
        if not targets:
            raise CommandError("Nobody would be told: set NOTIFY_URLS, or NOTIFY_MAIL and the people's addresses.")
        message, failed = news.trial(), False
        for target in targets.values():
            try:
                target.send(message)
            except channels.Failed as error:
                failed = True
                self.stdout.write(f"{target.label}: not taken. {error.words}")
            else:
                self.stdout.write(f"{target.label}: taken")
        if failed:
            sys.exit(1)
