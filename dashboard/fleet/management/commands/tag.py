"""`manage.py tag add|remove|list`: names for the relationships below a target path, by which policies are chosen."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.fleet import registry, tags
from dashboard.fleet.models import Tag
from dashboard.words import visible


class Command(BaseCommand):
    help = "Tag the relationships below a target path; policies can be chosen by tag."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|remove|list")
        for verb, help_text in (("add", "tag what lies below a target path"), ("remove", "take a tag away again")):
            wanted = verbs.add_parser(verb, help=help_text)
            wanted.add_argument("cluster", metavar="CLUSTER")
            wanted.add_argument(
                "prefix", metavar="PATH_PREFIX", help="whole path components: /dr/a does not cover /dr/ab"
            )
            wanted.add_argument("name", metavar="NAME", help="small letters, digits and dashes, such as patient-data")
        verbs.add_parser("list", help="all tags").add_argument("cluster", metavar="CLUSTER", nargs="?")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["verb"] == "list":
                self._list(options["cluster"])
                return
            change = {"add": tags.add, "remove": tags.remove}[options["verb"]]
            count = change(options["cluster"], options["prefix"], options["name"], actor=cli())
        except registry.Refused as refused:
            raise CommandError(str(refused)) from None
        done = "is tagged" if options["verb"] == "add" else "is no longer tagged"
        place = f"{options['cluster']}:{visible(options['prefix'])}"
        self.stdout.write(f"{place} {done} {options['name']} ({count} relationships).")

    def _list(self, cluster: str | None) -> None:
        found = Tag.objects.select_related("cluster")
        for each in found.filter(cluster=registry.find(cluster)) if cluster else found:
            self.stdout.write(f"{each.cluster.name}:{visible(each.path_prefix)}  {each.name}")
