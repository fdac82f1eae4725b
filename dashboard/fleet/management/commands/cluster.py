"""`manage.py cluster add|change|list|test|remove`: which clusters are watched. Tokens come from files, never from the
command line, where every process of the machine could read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit.chain import cli
from dashboard.database import database_now
from dashboard.fleet import registry
from dashboard.fleet.models import Cluster
from dashboard.words import clock, visible


class Command(BaseCommand):
    help = "Add, change, list, test and remove clusters."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|change|list|test|remove")
        add = verbs.add_parser("add", help="watch a cluster; with an executor token, failovers to it can be requested")
        add.add_argument("name", metavar="NAME", help="by which people here know it")
        add.add_argument("url", metavar="URL", help="https://host or https://host:port; port 8000 if none is given")
        add.add_argument("--reader-token-file", type=Path, required=True, metavar="FILE")
        add.add_argument("--executor-token-file", type=Path, metavar="FILE")
        _add_trust(add, required=True)
        change = verbs.add_parser("change", help="another address, certificate or token for the same cluster")
        change.add_argument("name", metavar="NAME")
        change.add_argument("--url", default="", metavar="URL")
        change.add_argument("--reader-token-file", type=Path, metavar="FILE")
        change.add_argument("--executor-token-file", type=Path, metavar="FILE")
        _add_trust(change, required=False)
        verbs.add_parser("list", help="all clusters, and when they were read last")
        test = verbs.add_parser("test", help="read a cluster now and try its tokens; exit code 1 if something is wrong")
        test.add_argument("name", metavar="NAME")
        remove = verbs.add_parser("remove", help="forget a cluster to which there was never a failover")
        remove.add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {
            "add": self._add,
            "change": self._change,
            "list": self._list,
            "test": self._test,
            "remove": self._remove,
        }
        try:
            verbs[options["verb"]](options)
        except registry.Refused as refused:
            raise CommandError(str(refused)) from None

    def _add(self, options: dict[str, Any]) -> None:
        admitted = registry.add(options["name"], options["url"], actor=cli(), **_given(options))
        cluster = admitted.cluster
        self.stdout.write(
            f"Added {cluster.name}: {visible(cluster.reported_name)}, Qumulo Core {visible(cluster.core_version)}, "
            f"{cluster.uuid}, {admitted.relationships} target relationships."
            + (" Watched only: it has no executor token." if cluster.watched_only else "")
        )
        self._note(admitted)

    def _change(self, options: dict[str, Any]) -> None:
        given = _given(options)
        if not any([options["url"], *given.values()]):
            raise CommandError("Say what is to change: --url, a token file, --ca-file or --fingerprint.")
        self._note(registry.change(options["name"], url=options["url"], actor=cli(), **given))
        self.stdout.write(f"Changed {options['name']}. It is read again at once.")

    def _note(self, admitted: registry.Admitted) -> None:
        for note in admitted.notes:
            self.stderr.write(f"Warning: {note}")

    def _list(self, options: dict[str, Any]) -> None:
        now = database_now()
        rows = [("NAME", "URL", "UUID", "VERSION", "LAST READ", "TROUBLE", "FAILOVERS")]
        for each in Cluster.objects.order_by("name"):
            trouble = f"{each.get_trouble_display()}: {each.trouble_words}" if each.trouble else each.executor_trouble
            read = clock(each.last_read_at, now) if each.last_read_at else "never"
            may = "watched only" if each.watched_only else "possible"
            rows.append((each.name, each.url, each.uuid, each.core_version, read, trouble or "none", may))
        shown = [[visible(cell) for cell in row] for row in rows]
        widths = [max(len(row[column]) for row in shown) for column in range(len(rows[0]))]
        for row in shown:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _test(self, options: dict[str, Any]) -> None:
        found = registry.examine(registry.find(options["name"]))
        for well, words in found:
            self.stdout.write(f"{'ok     ' if well else 'TROUBLE'}  {words}")
        if not all(well for well, _ in found):
            raise CommandError(f"{options['name']} is not as it should be.")

    def _remove(self, options: dict[str, Any]) -> None:
        registry.remove(options["name"], actor=cli())
        self.stdout.write(f"Removed {options['name']}.")


def _add_trust(parser: Any, *, required: bool) -> None:
    trust = parser.add_mutually_exclusive_group(required=required)
    trust.add_argument("--ca-file", type=Path, metavar="FILE", help="trust certificates that this authority issued")
    trust.add_argument("--fingerprint", default="", metavar="SHA256", help="trust this one certificate and no other")


def _given(options: dict[str, Any]) -> dict[str, str]:
    return {
        "reader_token": _read(options["reader_token_file"]),
        "executor_token": _read(options["executor_token_file"]),
        "ca": _read(options["ca_file"]),
        "fingerprint": options["fingerprint"] or "",
    }


def _read(path: Path | None) -> str:
    """ "" when no file was named. A file that was named must hold something."""
    if path is None:
        return ""
    try:
        content = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not a text file.") from None
    if not content:
        raise CommandError(f"{path} is empty.")
    return content
