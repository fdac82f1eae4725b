"""`manage.py verifyaudit`: walk the ledger; one line says that it is whole, or names the first bad entry
(exit code 1).
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from dashboard.audit import chain, guards


class Command(BaseCommand):
    help = "Check that the audit trail is whole and in order. Exit code 1 names the first bad entry."
    requires_system_checks: tuple[str, ...] = ()  # it must speak above all where something else is wrong, too

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", type=int, default=1, dest="start", metavar="ENTRY", help="begin at this entry")

    def handle(self, *args: Any, start: int, **options: Any) -> None:
        report = chain.verify(start=max(start, 1))
        if report.bad is not None:
            self.stdout.write(f"Bad entry {report.bad.seq} ({report.bad.kind}): {report.bad.words}")
            sys.exit(1)
        seq, digest = report.head
        whole = f"The audit trail is whole: {report.checked} entries checked, head {seq} {digest}."
        if absent := guards.missing(connection):
            self.stdout.write(f"{whole} But the database no longer guards it: {', '.join(absent)} missing.")
            sys.exit(1)
        self.stdout.write(whole)
