"""`manage.py policy set|remove|list|lint`: who must approve what. The shell is the root of trust: a change holds at
once, even one that weakens, and the ledger tells.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.failovers import amending, drafts, policies
from dashboard.failovers.drafts import Draft
from dashboard.failovers.lifecycle import Refused
from dashboard.failovers.policy import DEFAULT, Policy
from dashboard.failovers.policy_lint import lint, summary, survey
from dashboard.failovers.weakening import lines
from dashboard.words import visible


class Command(BaseCommand):
    help = "Say who must approve failovers of which relationships."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="set|remove|list|lint")
        put = verbs.add_parser("set", help="a new policy, or another content of one; what is not said stays")
        put.add_argument("name")
        put.add_argument("--cluster", metavar="NAME", help="of the target; empty: any")
        put.add_argument("--path", metavar="PREFIX", help="of the target path, whole components; empty: any")
        put.add_argument("--tag", metavar="TAG", help="empty: any")
        put.add_argument(
            "--share",
            action="append",
            metavar="[GROUP=]COUNT",
            help="so many of this group must approve, or of any approver; again for each further group",
        )
        put.add_argument("--wait", metavar="MINUTES", help="how long a request waits for its decision")
        put.add_argument("--start", metavar="MINUTES", help="how long an approval is good for starting")
        put.add_argument("--break-glass", action=argparse.BooleanOptionalAction)
        put.add_argument("--prompt", metavar="TEXT", help="shown above the reason; empty: none")
        put.add_argument("--ticket", metavar="PATTERN", help="the whole ticket must match it; empty: no pattern")
        remove = verbs.add_parser("remove", help="what it covers falls to the next policy, or to the default")
        remove.add_argument("name")
        verbs.add_parser("list", help="every policy, and how many relationships it rules")
        verbs.add_parser("lint", help="what would fail in the night; ends with 1 when something is red")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = {"set": self._set, "remove": self._remove, "list": self._list, "lint": self._lint}[options["verb"]]
        try:
            verb(options)
        except Refused as refused:
            raise CommandError(refused.words) from None

    def _set(self, options: dict[str, Any]) -> None:
        before = policies.find(options["name"])
        draft = _draft(options, before)
        change = amending.propose(user=None, actor=cli(), draft=draft, version=policies.version_of(before))
        self._tell(change.words)

    def _remove(self, options: dict[str, Any]) -> None:
        before = policies.find(options["name"])
        version = policies.version_of(before)
        change = amending.remove(user=None, actor=cli(), name=options["name"], version=version)
        self._tell(change.words)

    def _tell(self, words: str) -> None:
        changed, _, weakens = words.partition("\n\n")
        self.stdout.write(changed)
        for line in weakens.splitlines():
            self.stdout.write(f"Weaker: {line}")

    def _list(self, options: dict[str, Any]) -> None:
        found = survey()
        for policy in [*found.policies, Policy(name="(default)", rules=DEFAULT)]:
            count = found.count("" if policy.rules is DEFAULT else policy.name)
            self.stdout.write(f"{policy.name}: {count} relationship{'' if count == 1 else 's'}")
            for label, words in lines(policy).items():
                self.stdout.write(f"  {label}: {words}")

    def _lint(self, options: dict[str, Any]) -> None:
        findings = lint()
        for each in findings:
            self.stdout.write(f"{each.level}: {each.words}")
        self.stdout.write(f"Policies: {summary(findings)}.")
        if any(each.level == "red" for each in findings):
            raise SystemExit(1)


def _draft(options: dict[str, Any], before: Policy | None) -> Draft:
    there = drafts.of(before) if before else Draft(name=options["name"])
    named = {
        "cluster": options["cluster"],
        "path_prefix": options["path"],
        "tag": options["tag"],
        "shares": tuple(map(_share, options["share"])) if options["share"] else None,
        "decide_minutes": options["wait"],
        "run_minutes": options["start"],
        "break_glass": options["break_glass"],
        "prompt": options["prompt"],
        "ticket_pattern": options["ticket"],
    }
    return dataclasses.replace(there, **{name: value for name, value in named.items() if value is not None})


def _share(text: str) -> tuple[str, str]:
    group, equals, count = text.rpartition("=")
    if not count.isdigit():
        raise CommandError(f"{visible(text)!r} is not a share; write for example storage=2, or 1 for any approver.")
    return group if equals else "", count
