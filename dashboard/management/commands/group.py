"""`manage.py group add|remove|list`: the groups whose share a policy can ask for. Persons are named by their labels;
the acts of the shell are in the ledger.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from dashboard.accounts import rights
from dashboard.accounts.models import Group
from dashboard.accounts.people import Refused
from dashboard.audit.chain import cli
from dashboard.failovers import policies


class Command(BaseCommand):
    help = "Groups of persons whose share a policy can ask for. Being in one grants no role."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|remove|list")
        add = verbs.add_parser("add", help="persons join a group; it is made when it is not there")
        add.add_argument("group")
        add.add_argument("persons", nargs="*", metavar="PERSON")
        remove = verbs.add_parser("remove", help="persons leave a group; without any, the group is removed")
        remove.add_argument("group")
        remove.add_argument("persons", nargs="*", metavar="PERSON")
        verbs.add_parser("list", help="every group with its members")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = {"add": self._add, "remove": self._remove, "list": self._list}[options["verb"]]
        try:
            verb(options)
        except Refused as refused:
            raise CommandError(str(refused)) from None

    def _add(self, options: dict[str, Any]) -> None:
        name, persons = options["group"], options["persons"]
        if Group.objects.filter(name=name).exists() and persons:
            group = rights.change_group(name, actor=cli(), add=persons)
        else:
            group = rights.make_group(name, actor=cli(), members=persons)
        self.stdout.write(f"{group.name}: {_members(group)}.")

    def _remove(self, options: dict[str, Any]) -> None:
        name, persons = options["group"], options["persons"]
        if persons:
            group = rights.change_group(name, actor=cli(), remove=persons)
            self.stdout.write(f"{group.name}: {_members(group)}.")
            return
        with transaction.atomic():
            if needing := [p.name for p in policies.standing() if name in {share.group for share in p.rules.shares}]:
                raise Refused(f"{name} is needed by the policy {', '.join(needing)}; change that first.")
            rights.remove_group(name, actor=cli())
        self.stdout.write(f"The group {name} was removed.")

    def _list(self, options: dict[str, Any]) -> None:
        for group in Group.objects.prefetch_related("members"):
            self.stdout.write(f"{group.name:<24} {_members(group)}")


def _members(group: Group) -> str:
    return ", ".join(sorted(person.label for person in group.members.all())) or "nobody"
