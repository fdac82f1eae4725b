"""What a running desk must not be. Every message names the setting and says what to write instead.

`manage.py` runs Django's system checks before most commands. gunicorn and Celery do not, so `wsgi.py`, the
start of a worker and the sweep call `refuse_to_start`, which also knows what each role needs: a sender cannot
work without EXECUTOR_KEY; a reader that has it is one stolen process away from a failover nobody approved.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from dashboard import durability
from dashboard.qumulo.addresses import AddressRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

Role: TypeAlias = Literal["web", "worker-observe", "worker-send", "sweep", "relay", "up"]
READERS = ("web", "worker-observe", "relay")

_LEAST_SECRET = 50
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "testserver")
_NEW_FERNET_KEY = (
    "Make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)
_NEW_SIGNING_KEY = "Make one with: manage.py checkpoint new-key"
_log = logging.getLogger(__name__)


def refuse_to_start(*, role: Role) -> None:
    """Raise ImproperlyConfigured with one line for each thing that is wrong, or let the role start.

    A database that does not answer stops a sender, which must ask it whether anything may be sent. A web server
    starts all the same: its pages say for themselves what they cannot show, and nothing is sent from there.

    What is wrong with the database itself (a guard that is gone, commits that do not last, a broken ledger, one that
    went back in time) stops nobody from starting: it holds (`failovers.selfcheck`), so that pages can say so.
    """
    refuse_wrong_settings(role=role)
    try:
        _refuse(role, [*_judge_ownership(connection), *_judge_schema(connection)])
    except OperationalError as error:
        if role not in READERS:
            raise ImproperlyConfigured(f"The database of DATABASE_URL does not answer: {error}") from error
        _log.warning("The database does not answer yet: %s", error)
    finally:
        if not connection.in_atomic_block:
            connection.close()  # the threads that serve will open their own


def refuse_wrong_settings(*, role: Role) -> None:
    """The part of `refuse_to_start` that needs no database."""
    _refuse(role, [*check_settings(), *_judge_presence(role)])


def _refuse(role: Role, found: list[CheckMessage]) -> None:
    for message in found:
        if message.level < ERROR:
            _log.warning("%s %s (%s)", message.msg, message.hint, message.id)
    if wrong := [message for message in found if message.level >= ERROR]:
        sentences = "\n".join(f"  {message.msg} {message.hint} ({message.id})" for message in wrong)
        raise ImproperlyConfigured(f"Failover Desk does not start as {role}:\n{sentences}")


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    return [*_judge_keys(), *_judge_reach(), *_judge_tls(), *_judge_addresses(), *_judge_sign_in()]


@register(Tags.security, deploy=True)
def check_presence(**_: Any) -> list[CheckMessage]:
    return list(_judge_presence("up"))


@register(Tags.database)
def check_durability(*, databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A warning: the desk runs on such a database, and sends nothing (`failovers.selfcheck`)."""
    if settings.TESTING:  # the tests' databases are thrown away, and quick because they do not last
        return []
    return [
        Warning(words, hint="Nothing is sent until it outlasts a power cut.", id="dashboard.W011")
        for alias in databases or ()
        for words in durability.faults(connections[alias])
    ]


# --- one rule per function


def _judge_presence(role: Role) -> Iterator[CheckMessage]:
    from dashboard.audit import fence

    if not _secret_key():
        yield _error(
            1,
            "SECRET_KEY is missing.",
            f"Set SECRET_KEY or SECRET_KEY_FILE: {_LEAST_SECRET} random characters.",
        )
    if not settings.READER_KEY:
        yield _error(2, "READER_KEY is missing.", f"Set READER_KEY or READER_KEY_FILE. {_NEW_FERNET_KEY}")
    if role in READERS and settings.EXECUTOR_KEY:
        yield _error(
            3,
            f"EXECUTOR_KEY must not be given to {role}.",
            "Only the sweep and the sending worker may open the tokens that make a target writable.",
        )
    if role not in READERS and not settings.EXECUTOR_KEY:
        yield _error(3, "EXECUTOR_KEY is missing.", f"Set EXECUTOR_KEY or EXECUTOR_KEY_FILE. {_NEW_FERNET_KEY}")
    if role not in ("web", "worker-observe") and not settings.FENCE_FILE:
        try:
            fence.folder()
        except fence.NoPlace as error:
            yield _error(16, str(error), "Set FENCE_FILE to a file that is not in the backup of the database.")
    if role not in ("relay", "up") and settings.CHECKPOINT_KEY:
        yield _error(
            14,
            f"CHECKPOINT_KEY must not be given to {role}.",
            "Only the relay signs the audit trail: whoever writes to it must not be able to.",
        )
    if role in ("relay", "up") and not settings.CHECKPOINT_KEY:
        yield _error(14, "CHECKPOINT_KEY is missing.", f"Set CHECKPOINT_KEY or CHECKPOINT_KEY_FILE. {_NEW_SIGNING_KEY}")


def _secret_key() -> str:
    try:
        return settings.SECRET_KEY
    except ImproperlyConfigured:  # how Django hands out an empty one
        return ""


def _judge_keys() -> Iterator[CheckMessage]:
    if 0 < len(_secret_key()) < _LEAST_SECRET:
        yield _error(1, "SECRET_KEY is too short.", f"It needs {_LEAST_SECRET} random characters or more.")
    for number, name in ((2, "READER_KEY"), (3, "EXECUTOR_KEY")):
        try:
            [Fernet(key) for key in _fernet_keys(name)]
        except ValueError:
            yield _error(number, f"{name} is not a key.", _NEW_FERNET_KEY)
    from dashboard.audit import checkpoints, sinks

    try:
        checkpoints.signing_keys()
    except ValueError:
        yield _error(14, "CHECKPOINT_KEY is not a key.", _NEW_SIGNING_KEY)
    try:
        sinks.host_and_port(settings.CHECKPOINT_SYSLOG or "none")
    except ValueError:
        yield _error(15, "CHECKPOINT_SYSLOG is no address.", "Write host:port, for example syslog.example.com:6514.")
    if set(_fernet_keys("EXECUTOR_KEY")) & set(_fernet_keys("READER_KEY")):
        yield _error(3, "EXECUTOR_KEY is the same as READER_KEY.", "Whoever reads could then send: make another.")


def _fernet_keys(name: str) -> list[str]:
    """Several may stand there while one is replaced by another."""
    return [key.strip() for key in getattr(settings, name).split(",") if key.strip()]


def _judge_reach() -> Iterator[CheckMessage]:
    loopback = settings.HOST in ("127.0.0.1", "localhost", "::1")
    if "*" in settings.ALLOWED_HOSTS:
        yield _error(4, "ALLOWED_HOSTS contains *.", "Name the hosts that people type into their browser.")
    if not loopback and not settings.BEHIND_PROXY and not settings.TLS_CERT:
        yield _error(
            5,
            f"HOST is {settings.HOST}, and nothing encrypts what passes there.",
            "Set TLS_CERT and TLS_KEY, or BEHIND_PROXY=1 when a proxy does it; or leave HOST at 127.0.0.1.",
        )
    if settings.DEMO and (not loopback or settings.BEHIND_PROXY):
        yield _error(
            6,
            f"DEMO is on and HOST is {settings.HOST}.",
            "The demo's passwords are known to all: it is for this machine alone.",
        )
    if settings.PORT > 65535:
        yield _error(7, f"PORT is {settings.PORT}.", "A port is a number from 1 to 65535.")
    if settings.REDIS_URL and urlsplit(settings.REDIS_URL).scheme not in ("redis", "rediss", "unix"):
        yield _error(8, "REDIS_URL is not the address of a Redis.", "It begins with redis://, rediss:// or unix://.")
    if not loopback and not settings.DEMO and all(host in _LOCAL_NAMES for host in settings.ALLOWED_HOSTS):
        yield Warning(
            f"HOST is {settings.HOST}, and ALLOWED_HOSTS lets nobody in from elsewhere.",
            hint="Add the name that people type into their browser.",
            id="dashboard.W001",
        )


def _judge_tls() -> Iterator[CheckMessage]:
    if bool(settings.TLS_CERT) != bool(settings.TLS_KEY):
        missing = "TLS_KEY" if settings.TLS_CERT else "TLS_CERT"
        yield _error(9, f"{missing} is missing.", "TLS_CERT and TLS_KEY are two PEM files that belong together.")
    elif settings.TLS_CERT:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.TLS_CERT, settings.TLS_KEY)
        except OSError as error:
            yield _error(
                9,
                f"TLS_CERT and TLS_KEY cannot be used: {error.strerror or error}.",
                "They are two PEM files that belong together and can be read by this account.",
            )


def _judge_addresses() -> Iterator[CheckMessage]:
    for entry in settings.CLUSTER_ALLOWED_CIDRS:
        try:
            AddressRule([entry])
        except ValueError as error:
            yield _error(10, f"CLUSTER_ALLOWED_CIDRS: {error}", "Networks are separated by commas.")


def _judge_sign_in() -> Iterator[CheckMessage]:
    if settings.OIDC_ISSUER and not settings.OIDC_ISSUER.startswith("https://"):
        yield _error(14, "OIDC_ISSUER does not begin with https://.", "It is the identity provider's issuer address.")
    if settings.OIDC_ISSUER and not (settings.OIDC_CLIENT_ID and settings.OIDC_CLIENT_SECRET):
        yield _error(
            14,
            "OIDC_ISSUER is set without a client.",
            "Set OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, or OIDC_CLIENT_SECRET_FILE: the provider gives them.",
        )
    if settings.OIDC_CA_FILE:
        try:
            ssl.create_default_context(cafile=settings.OIDC_CA_FILE)
        except OSError as error:
            yield _error(
                15, f"OIDC_CA_FILE cannot be used: {error.strerror or error}.", "It is a PEM file of certificates."
            )
    if settings.SECOND_FACTOR == "off" and not settings.DEMO:
        yield Warning(
            "SECOND_FACTOR is off: a stolen password is enough to approve.",
            hint="Leave it at required, or write optional.",
            id="dashboard.W003",
        )


def _judge_ownership(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if settings.TESTING or connection.vendor == "sqlite":  # whoever has the file of SQLite owns all that is in it
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableowner = current_user OR has_table_privilege('audit_entry', 'UPDATE, DELETE, TRUNCATE')"
            " FROM pg_tables WHERE tablename = 'audit_entry' AND schemaname = current_schema()"
        )
        if cursor.fetchone() == (True,):
            yield Warning(
                "The account of DATABASE_URL owns the audit trail and could switch its guards off or change it.",
                hint="Migrate as one account and run as another; docs/running.md shows how.",
                id="dashboard.W002",
            )


def _judge_schema(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield _error(12, "The database of DATABASE_URL is older than this program.", "Run: manage.py migrate")
    newest: dict[str, str] = {}
    for app, name in executor.loader.disk_migrations:
        newest[app] = max(name, newest.get(app, ""))
    # A program of yesterday knows nothing of a rule that came since, and must not send past it. Only names after the
    # newest count: older ones may have been squashed.
    for app, name in sorted(executor.loader.applied_migrations):
        if app in newest and name > newest[app]:
            yield _error(
                17,
                f"The database of DATABASE_URL is newer than this program: it has {app} {name}.",
                "Start the version that migrated it, or put back the backup that was made before.",
            )


def _error(number: int, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"dashboard.E{number:03}")
