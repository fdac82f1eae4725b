"""Whether a machine is the cluster that somebody says it is, and whether its tokens may do what they are for.

The order is what protects the tokens: address, certificate (by a handshake alone), the id that the machine gives
itself, and only then each token, on a connection whose certificate is checked again in its handshake. So no token ever
reaches a machine that was not recognised first. Whatever does not fit is `Refused`, in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from dashboard.database import database_now
from dashboard.fleet import access
from dashboard.fleet.access import Purpose
from dashboard.fleet.models import Cluster
from dashboard.qumulo.errors import (
    AddressRefused,
    Answered,
    CertificateRefused,
    Forbidden,
    Nonsense,
    QumuloError,
    Unauthorized,
)
from dashboard.qumulo.trust import Trust, fetch_certificate, parse_fingerprint
from dashboard.qumulo.trust import fingerprint as fingerprint_of
from dashboard.words import visible

_HANDSHAKE = 5.0  # seconds
Value = TypeVar("Value")


class Refused(Exception):
    """Nothing was changed; the message is one sentence for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What makes a machine the cluster that is meant: as `Cluster.trust_kind` and `.certificate`."""

    kind: str
    pem: str

    @classmethod
    def ca(cls, pem: str) -> Anchor:
        """The certificates of a file; a private key that may stand in it, too, is left out."""
        return cls(kind="ca", pem=understood(lambda: Trust.ca(pem)).pem)

    @classmethod
    def pinned(cls, url: str, fingerprint: str) -> Anchor:
        """The certificate that the machine shows, when it is the one with this fingerprint. Sends no request."""
        wanted = understood(lambda: parse_fingerprint(fingerprint))
        with _sentences(url):
            pem = fetch_certificate(url, access.addresses(), _HANDSHAKE)
        shown = fingerprint_of(pem)
        if shown != wanted:
            raise Refused(f"{url} shows another certificate, with the fingerprint {shown}; no token was sent.")
        return cls(kind="pinned", pem=pem)


@dataclass(slots=True)
class Admitted:
    """A cluster that fitted. `notes` are sentences that a person should read."""

    cluster: Cluster
    relationships: int = 0
    notes: list[str] = field(default_factory=list)


def admit(cluster: Cluster, reader_token: str, executor_token: str, ca: str, fingerprint: str) -> Admitted:
    """Check everything and fill the cluster's columns; stores nothing."""
    if executor_token:
        understood(lambda: access.seal("executor", "", ""))  # a missing key is found before anybody is called
    if reader_token:
        understood(lambda: access.seal("reader", "", ""))
    if ca or fingerprint:
        anchor = Anchor.ca(ca) if ca else Anchor.pinned(cluster.url, fingerprint)
        cluster.trust_kind, cluster.certificate = anchor.kind, anchor.pem
    uuid = _identify(cluster)
    if cluster.uuid and cluster.uuid != uuid:
        raise Refused(f"At {cluster.url} answers another cluster: {uuid}, not {cluster.uuid}; no token was sent.")
    twin = Cluster.objects.filter(uuid=uuid).exclude(pk=cluster.pk).first()
    if twin is not None:
        raise Refused(f"This cluster is registered already, as {twin.name}; no token was sent.")
    cluster.uuid = uuid
    admitted = Admitted(cluster)
    if reader_token:
        _check_token(admitted, "reader", reader_token)
        cluster.reader_token = access.seal("reader", uuid, reader_token)
    if executor_token:
        _check_token(admitted, "executor", executor_token)
        cluster.executor_token = access.seal("executor", uuid, executor_token)
        cluster.executor_checked_at = database_now()
    return admitted


def _identify(cluster: Cluster) -> str:
    """The cluster's id; its name and version go into the columns. No token is sent."""
    with (
        _sentences(cluster.url),
        access.connect(cluster.url, cluster.trust_kind, cluster.certificate) as client,
    ):
        cluster.core_version = client.version()
        node = client.node_state()
        cluster.reported_name = client.cluster_name()
    if not node.cluster_id:
        raise Refused(f"The node at {cluster.url} belongs to no cluster yet; it has no id.")
    return node.cluster_id


def _check_token(admitted: Admitted, purpose: Purpose, token: str) -> None:
    cluster = admitted.cluster
    try:
        client = understood(lambda: access.connect(cluster.url, cluster.trust_kind, cluster.certificate, token))
        with _sentences(cluster.url), client:
            # The same machine must answer on this connection, too; the certificate was checked in its handshake.
            if client.node_state().cluster_id != cluster.uuid:
                raise Refused(f"{cluster.url} leads to more than one cluster.")
            me = client.who_am_i()
            missing = access.missing_privileges(purpose, me)
            if missing:
                raise Refused(f"The {purpose} token ({visible(me.name)}) lacks {' and '.join(missing)}.")
            admitted.relationships = len(client.target_statuses().rows)
    except Unauthorized:
        raise Refused(f"{cluster.name} does not accept the {purpose} token.") from None
    except Forbidden as error:
        raise Refused(f"The {purpose} token may not read target relationships: {error.words}") from None
    if purpose == "reader":
        able = sorted(privilege for privilege in me.privileges if privilege.endswith("_WRITE"))
        if able:
            what = visible(", ".join(able))
            admitted.notes.append(f"The reader token can write ({what}); give its account a role that can only read.")


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    """What can go wrong with an address, in one sentence. A refused sign-in passes: only its caller knows the token."""
    try:
        yield
    except (Unauthorized, Forbidden):
        raise
    except CertificateRefused as error:
        raise Refused(f"{error.words.rstrip('.')}; no token was sent.") from None
    except AddressRefused as error:
        raise Refused(f"{error.words.rstrip('.')} (setting CLUSTER_ALLOWED_CIDRS).") from None
    except (Nonsense, Answered) as error:
        raise Refused(f"{url} does not answer as a Qumulo cluster does: {error.words}") from None
    except QumuloError as error:
        raise Refused(error.words) from None


def understood(parse: Callable[[], Value]) -> Value:
    """What was typed or configured, or its ValueError's or NoToken's sentence as a refusal."""
    try:
        return parse()
    except (ValueError, access.NoToken) as error:
        raise Refused(str(error)) from None
