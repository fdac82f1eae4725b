"""`manage.py verifyaudit`: walk the ledger, or an export of it; one line says that it is whole, or names the first bad
entry (exit code 1). Exit code 2: it could not be checked.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from dashboard.audit import chain, guards, verifier
from dashboard.audit.models import Head
from dashboard.audit.verifier import Against, Checkpoints, Unreadable


class Command(BaseCommand):
    help = "Check that the audit trail is whole and in order. Exit code 1 names the first bad entry."
    requires_system_checks: tuple[str, ...] = ()  # it must speak above all where something else is wrong, too

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from", type=_number, default=1, dest="start", metavar="ENTRY", help="begin at this entry"
        )
        parser.add_argument("--to", type=_number, dest="last", metavar="ENTRY", help="end at this entry")
        parser.add_argument("--checkpoints", type=Path, metavar="FILE", help="signed checkpoints that must agree")
        parser.add_argument(
            "--key", action="append", default=[], type=verifier.key_of, help="the public key of these, ed25519:…"
        )
        parser.add_argument("--jsonl", type=Path, metavar="EXPORT", help="check this export instead of the database")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            keys = options["key"]
            with ExitStack() as stack:
                export, notes = (
                    stack.enter_context(options[name].open("rb")) if options[name] else None
                    for name in ("jsonl", "checkpoints")
                )
                whole = self._export(export, notes, keys) if export else self._database(notes, keys, options)
        except (OSError, Unreadable, ValueError) as error:
            self.stdout.write(f"Not checked: {error}")
            sys.exit(2)
        if not whole:
            sys.exit(1)

    def _export(self, export: Any, checkpoints: Any, keys: list[bytes]) -> bool:
        said, bad = verifier.check(export, checkpoints, keys=keys)
        for line in said if bad is None else [f"Bad entry {bad.seq} ({bad.kind}): {bad.words}"]:
            self.stdout.write(line)
        return bad is None

    def _database(self, file: Any, keys: list[bytes], options: dict[str, Any]) -> bool:
        notes = Checkpoints(file, keys) if file else None
        head = Head.objects.filter(pk=1).first()
        against = Against(notes, str(head.instance)) if notes and head else None
        report = chain.verify(start=options["start"], last=options["last"], against=against)
        if report.bad is not None:
            self.stdout.write(f"Bad entry {report.bad.seq} ({report.bad.kind}): {report.bad.words}")
            return False
        seq, digest = report.head
        whole = f"The audit trail is whole: {report.checked} entries checked, head {seq} {digest}."
        if notes is not None and against is not None:
            whole += f" {against.matched} checkpoints agree."
            if notes.believed:
                whole += f" Their key was believed; compare it: {verifier.key_text(notes.believed)}"
        if absent := guards.missing(connection):
            self.stdout.write(f"{whole} But the database no longer guards it: {', '.join(absent)} missing.")
            return False
        self.stdout.write(whole)
        return True


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of an entry")
    return int(text)
