"""`manage.py signin remove-factor|emergency|sso-only NAME`: for people who cannot get in. The shell is the root of
trust; its acts are in the ledger.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.accounts import emergency, enrolment, oidc
from dashboard.audit.chain import cli


class Command(BaseCommand):
    help = "Help people in: a lost phone, an identity provider that is down, an account that shall have no password."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="remove-factor|emergency|sso-only")
        for name, words in {
            "remove-factor": "all second factors of a lost phone or key; the password lets them in to add new ones",
            "emergency": "a code that signs an account without a password in, once, within 24 hours",
            "sso-only": "the account has no password any more and signs in through the identity provider",
        }.items():
            verbs.add_parser(name, help=words).add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            match options["verb"]:
                case "remove-factor":
                    user = enrolment.remove_all(name, actor=cli())
                    self.stdout.write(f"{user.username} has no second factor any more, and is signed out everywhere.")
                case "emergency":
                    code = emergency.make(name, actor=cli())
                    self.stdout.write(f"{code}\nGood for one sign-in or confirmation within 24 hours, as the password.")
                case "sso-only":
                    user = oidc.make_only(name, actor=cli())
                    self.stdout.write(f"{user.username} has no password any more, and is signed out everywhere.")
        except (enrolment.Refused, emergency.Refused, oidc.Refused) as refused:
            raise CommandError(str(refused)) from None
