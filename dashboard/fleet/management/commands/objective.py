"""`manage.py objective CLUSTER PATH_PREFIX 15m`: how old the recovery points below a target path may be."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.env import parse_duration
from dashboard.fleet import registry


class Command(BaseCommand):
    help = "Say how old recovery points below a target path may be. The longest matching prefix wins."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER")
        parser.add_argument("prefix", metavar="PATH_PREFIX", help="whole path components: /dr/a does not cover /dr/ab")
        parser.add_argument("length", metavar="LENGTH", help="such as 15m, 4h or 1d; `default` takes the rule away")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            length = None if options["length"] == "default" else parse_duration(options["length"])
            changed = registry.set_objective(options["cluster"], options["prefix"], length, actor=cli())
        except (ValueError, registry.Refused) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{changed} relationships of {options['cluster']} have another objective now.")
