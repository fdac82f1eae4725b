"""`manage.py person add|change|remove|list`: the people of the desk. The shell is the root of trust; its acts
are in the ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.accounts import people
from dashboard.accounts.models import User
from dashboard.accounts.roles import SCOPED, Role
from dashboard.audit.chain import cli
from dashboard.fleet import registry

_SCOPED = f"{', '.join(SCOPED[:-1])} and {SCOPED[-1]} can be limited to one cluster: approver@dr-west."


class Command(BaseCommand):
    help = (
        "Add, change, remove and list people. Roles: "
        + "; ".join(f"{role} {role.meaning}" for role in Role)
        + f". {_SCOPED}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|change|remove|list")
        add = verbs.add_parser("add", help="a new account, and the person it belongs to")
        add.add_argument("name")
        add.add_argument("--role", action="append", default=[], metavar="ROLE", help="again for each further role")
        add.add_argument("--password-file", type=Path, required=True, metavar="FILE")
        add.add_argument("--person", default="", help="the account belongs to this person, who exists already")
        add.add_argument("--email", default="")
        change = verbs.add_parser("change", help="other roles, a new password, or back after a removal")
        change.add_argument("name")
        change.add_argument("--role", action="append", metavar="ROLE", help="the roles it has from now on")
        change.add_argument("--password-file", type=Path, metavar="FILE")
        change.add_argument("--restore", action="store_true", help="a removed account can sign in again")
        remove = verbs.add_parser("remove", help="the account can no longer sign in; nothing is deleted")
        remove.add_argument("name")
        verbs.add_parser("list", help="everybody, with their roles")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = {"add": self._add, "change": self._change, "remove": self._remove, "list": self._list}[options["verb"]]
        try:
            verb(options)
        except (people.Refused, registry.Refused) as refused:
            raise CommandError(str(refused)) from None

    def _add(self, options: dict[str, Any]) -> None:
        _check_clusters(options["role"])
        user = people.add(
            options["name"],
            roles=options["role"],
            password=_password(options["password_file"]),
            actor=cli(),
            person=options["person"],
            email=options["email"],
        )
        self.stdout.write(f"Added {user.username} ({', '.join(user.role_names)}), an account of {user.person.label}.")

    def _change(self, options: dict[str, Any]) -> None:
        _check_clusters(options["role"] or [])
        user = people.change(
            options["name"],
            actor=cli(),
            roles=options["role"],
            password=_password(options["password_file"]) if options["password_file"] else None,
            restore=options["restore"],
        )
        self.stdout.write(f"Changed {user.username} ({', '.join(user.role_names)}).")

    def _remove(self, options: dict[str, Any]) -> None:
        user = people.remove(options["name"], actor=cli())
        self.stdout.write(f"{user.username} can no longer sign in.")
        others = User.objects.filter(person=user.person_id, is_active=True).values_list("username", flat=True)
        if others:
            self.stdout.write(f"The same person still has: {', '.join(others)}.")

    def _list(self, options: dict[str, Any]) -> None:
        for user in User.objects.select_related("person").order_by("username"):
            roles = ", ".join(user.role_names) if user.is_active else "removed"
            of = "" if user.person.label == user.username else f"  (of {user.person.label})"
            self.stdout.write(f"{user.username:<24} {roles}{of}")


def _check_clusters(roles: list[str]) -> None:
    """A name that is mistyped would limit somebody to nothing."""
    for cluster in people.clusters_of(people.known_roles(roles) if roles else []):
        registry.find(cluster)


def _password(path: Path) -> str:
    """The first line end is not part of it; spaces are. An editor's trailing newline is the only thing taken
    away.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise people.Refused(f"The password file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise people.Refused(f"The password file {path} is not text in UTF-8.") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise people.Refused(f"The password file {path} is empty.")
    return password
