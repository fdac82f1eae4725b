"""Everything on one machine, for real clusters: `make up`."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connections

from dashboard import embedded
from dashboard.checks import refuse_to_start, refuse_wrong_settings
from dashboard.supervisor import Supervisor, end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Command(BaseCommand):
    help = "Runs Redis, the web server, the workers and the sweep on this machine until it is told to stop."
    requires_system_checks = ()  # the keys may have to be made first; refuse_to_start asks the same and more

    def add_arguments(self, parser: CommandParser) -> None:
        offer_to_end_with_parent(parser)

    def handle(self, *, with_parent: bool, **_: Any) -> None:
        again = ["up", *obey_parent(with_parent=with_parent)]
        make_missing_keys_and_start_over(again, os.environ)
        run_desk(announcement=f"Failover Desk runs at {shown_url()}\nCtrl-C stops it. Its data is in {settings.DATA}.")


def offer_to_end_with_parent(parser: CommandParser) -> None:
    parser.add_argument(
        "--with-parent",
        action="store_true",
        help="stop when the program that started this one ends (make does)",
    )


def obey_parent(*, with_parent: bool) -> list[str]:
    """Returns the argument again, for a program that starts over."""
    if with_parent:
        end_with_parent(os.getppid(), signal.SIGTERM)
    return ["--with-parent"] if with_parent else []


def make_missing_keys_and_start_over(arguments: list[str], environ: Mapping[str, str]) -> None:
    """Returns at once when the environment names all keys, which it does in the program that starts over."""
    if names := embedded.missing_keys(environ):
        data = embedded.data_folder(environ)
        with embedded.own(data):
            embedded.make_keys(data, names)
        embedded.start_over(arguments, environ)


def run_desk(*, announcement: str, furnish: Callable[[Supervisor], None] = lambda _: None) -> None:
    """Start everything in order, tell people once pages are served, and keep it running until a signal comes.

    `furnish` is called when the database is ready, while the programs are starting.
    """
    refuse_wrong_settings(role="up")
    with embedded.own(settings.DATA), Supervisor(say=_say) as desk:
        embedded.refuse_taken_port(settings.HOST, settings.PORT)
        environ = {**os.environ, "FAILOVER_DESK_DATA": str(settings.DATA), "PYTHONPATH": _pythonpath()}
        if not settings.REDIS_URL:
            redis, environ["REDIS_URL"] = embedded.plan_redis(settings.DATA, environ)
            desk.start(redis)
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            raise CommandError(f"The database of DATABASE_URL does not answer: {error}") from error
        refuse_to_start(role="up")
        collect_stale_static_files()
        tls = (settings.TLS_CERT, settings.TLS_KEY) if settings.TLS_CERT else None
        for child in embedded.plan_desk(settings.HOST, settings.PORT, tls=tls, environ=environ):
            desk.start(child)
        furnish(desk)
        connections.close_all()
        desk.watch(until=lambda: embedded.answers(settings.HOST, settings.PORT, tls=tls is not None))
        _say(announcement)
        desk.watch()


def shown_url() -> str:
    """Where people find the desk: the first name they were promised, else this machine's own."""
    host = settings.HOST
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        promised = [name for name in settings.ALLOWED_HOSTS if name not in ("127.0.0.1", "localhost", "[::1]")]
        host = next(iter(promised), socket.gethostname())
    return f"{'https' if settings.TLS_CERT else 'http'}://{embedded.address(host, settings.PORT)}/"


def collect_stale_static_files() -> None:
    """Run collectstatic unless everything it would take is older than what it made last time."""
    if settings.WHITENOISE_USE_FINDERS:  # files are served from where they lie
        return
    made = settings.STATIC_ROOT / "staticfiles.json"
    sources = [storage.path(path) for finder in get_finders() for path, storage in finder.list([])]
    if not made.exists() or max(Path(path).stat().st_mtime for path in sources) >= made.stat().st_mtime:
        call_command("collectstatic", interactive=False, verbosity=0)


def _pythonpath() -> str:
    """Children find the program from any folder they run in, so that relative paths in settings stay true."""
    return os.pathsep.join(filter(None, [str(embedded.ROOT), os.environ.get("PYTHONPATH")]))


def _say(line: str) -> None:
    print(line, flush=True)
