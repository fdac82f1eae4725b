"""manage.py selfcheck: what the sweep asks each minute before it lets anything be sent, on a terminal. Exit code 1 when
something is wrong. It holds nothing, lifts nothing, and writes nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from dashboard.failovers import selfcheck
from dashboard.failovers.models import Hold


class Command(BaseCommand):
    help = "Check guards, durability, the audit trail, the fence and the keys. Exit code 1 when something is wrong."
    requires_system_checks: tuple[str, ...] = ()  # it must speak above all where something else is wrong, too

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = selfcheck.judged()
            standing = list(Hold.objects.filter(lifted_at=None).order_by("pk"))
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database does not answer: {error}") from error
        for name, faults in found.items():
            for fault in faults:
                self.stdout.write(f"{'FAULT':6} {name:11} {f'{fault.scope}: ' if fault.scope else ''}{fault.words}")
            if not faults:
                self.stdout.write(f"{'ok':6} {name:11} {self._about(name)}")
        for hold in standing:
            where = hold.scope or "every cluster"
            self.stdout.write(
                f"{'held':6} {where:11} {hold.reason} Since {hold.at:%Y-%m-%d %H:%M:%S} UTC, by {hold.by}."
            )
        if any(found.values()):
            sys.exit(1)

    def _about(self, name: str) -> str:
        if name == "keys" and not settings.EXECUTOR_KEY:
            return "not asked: EXECUTOR_KEY is not here; run it where the sweep runs"
        if name == "durability" and settings.TESTING:
            return "not asked of a database of tests"
        return selfcheck.CHECKS[name][0]
