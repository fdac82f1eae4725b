"""The one door to a cluster: nothing else decrypts a token or builds a client.

Two tokens, two keys. The reader's token can look at relationships; the executor's can overwrite whatever lies on a
cluster, and its key, EXECUTOR_KEY, is given to the sweep and the sending worker only: a stolen poller fails nothing
over. Each ciphertext carries whose it is and what for, so that one copied to another row, or the executor's put in
the reader's place, opens nothing.

`Door` answers only for the cluster that was registered. Whatever comes from another one (address reused, cluster
rebuilt, name server wrong) is `WrongIdentity`, and none of it is passed on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import httpx
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from dashboard.database import database_now
from dashboard.fleet.models import Cluster, Relationship
from dashboard.qumulo import inferred
from dashboard.qumulo.addresses import AddressRule, parse_url
from dashboard.qumulo.client import Accepted, Deadlines, NodeState, QumuloClient, WhoAmI
from dashboard.qumulo.errors import NotSent
from dashboard.qumulo.records import SourceStatusList, StatusList, TargetStatus
from dashboard.qumulo.trust import Trust
from dashboard.qumulo.wire import boottime

Purpose = Literal["reader", "executor"]

_KEYS = {"reader": "READER_KEY", "executor": "EXECUTOR_KEY"}
_transports: dict[str, httpx.BaseTransport] = {}
_seconds: dict[str, dict[str, float]] = {}


class WrongIdentity(Exception):
    """What answered is not the cluster, or speaks for another one, than the one registered. One sentence."""


class NoToken(NotSent):
    """There is no token that could be sent: it is missing, or cannot be decrypted with the key of this process."""


class NoExecutor(NoToken):
    """As NoToken, for make-writable: watched only, or this process was not given EXECUTOR_KEY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All target relationships of a cluster. `at`: when the reading began, by the database's clock."""

    node: NodeState
    statuses: StatusList
    at: datetime
    clock_ahead: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One relationship. `at` is when the reading began, by the database's clock: what it shows is at least as young.
    `boottime` is when the status was here: the send window of a make-writable counts from it. `clock_ahead`: by how
    much the cluster's clock is ahead of the database's; None: it did not say."""

    status: TargetStatus
    node_id: str
    node_state: str
    at: datetime
    boottime: float
    clock_ahead: timedelta | None


class Door:
    """One connection to one cluster, for one thread. Every verb raises `QumuloError`; those that read relationships
    raise `WrongIdentity`."""

    def __init__(self, cluster: Cluster, client: QumuloClient, purpose: Purpose) -> None:
        self._cluster, self._client, self._purpose = cluster, client, purpose

    def listing(self) -> Listing:
        at, started = database_now(), boottime()
        node = self._identified()
        statuses = self._client.target_statuses()
        for status in statuses.rows:
            self._check(status)
        return Listing(node=node, statuses=statuses, at=at, clock_ahead=self._ahead(at, started))

    def read(self, relationship: Relationship) -> Reading:
        at, started = database_now(), boottime()
        node = self._identified()
        status = self._client.target_status(relationship.relationship_id)
        arrived = boottime()
        self._check(status)
        return Reading(
            status=status,
            node_id="" if node.node_id is None else str(node.node_id),
            node_state=node.state,
            at=at,
            boottime=arrived,
            clock_ahead=self._ahead(at, started),
        )

    def make_writable(self, relationship: Relationship, *, send_by: float) -> Accepted:
        """Sent once, and not a byte of it after `send_by` (boottime). Errors say what is known of the effect."""
        if self._purpose != "executor":
            raise NoExecutor("Make-writable is sent with the executor token only. Nothing was sent.")
        return self._client.make_writable(relationship.relationship_id, send_by=send_by)

    def sources(self) -> SourceStatusList:
        return self._client.source_statuses()

    def name_and_version(self) -> tuple[str, str]:
        return self._client.cluster_name(), self._client.version()

    def who_am_i(self) -> WhoAmI:
        """Whose token this is; asked only of the cluster that it belongs to."""
        self._identified()
        return self._client.who_am_i()

    def _identified(self) -> NodeState:
        node = self._client.node_state()
        if node.cluster_id != self._cluster.uuid:
            raise WrongIdentity(
                f"At the address of {self._cluster.name} answers another cluster: "
                f"{node.cluster_id or 'one without an id'}, not {self._cluster.uuid}."
            )
        return node

    def _check(self, status: TargetStatus) -> None:
        if status.target_cluster_uuid != self._cluster.uuid:
            raise WrongIdentity(
                f"{self._cluster.name} reports a relationship of another target cluster: {status.target_cluster_uuid}, "
                f"not {self._cluster.uuid}."
            )

    def _ahead(self, at: datetime, started: float) -> timedelta | None:
        if self._client.date is None:
            return None
        return self._client.date - (at + timedelta(seconds=boottime() - started)).astimezone(UTC)


@contextmanager
def reader(cluster: Cluster) -> Iterator[Door]:
    """A door that can only look. Raises NoToken."""
    token = unseal("reader", cluster.uuid, cluster.reader_token)
    with connect(cluster.url, cluster.trust_kind, cluster.certificate, token) as client:
        yield Door(cluster, client, "reader")


@contextmanager
def executor(
    cluster: Cluster, *, patience: timedelta = timedelta(seconds=40), delivery: timedelta = timedelta(seconds=10)
) -> Iterator[Door]:
    """A door that can send make-writable. Raises NoExecutor. `patience`: for its answer; `delivery`: how long the
    kernel goes on delivering it, whoever lives."""
    if cluster.watched_only:
        raise NoExecutor(f"Failover Desk has no executor token for {cluster.name}. It is watched only.")
    token = unseal("executor", cluster.uuid, cluster.executor_token)
    deadlines = Deadlines(post=patience.total_seconds(), unacknowledged=delivery.total_seconds())
    with connect(cluster.url, cluster.trust_kind, cluster.certificate, token, deadlines) as client:
        yield Door(cluster, client, "executor")


def connect(
    url: str, trust_kind: str, certificate: str, token: str | None = None, deadlines: Deadlines | None = None
) -> QumuloClient:
    """A client for an address that may not be registered yet. Raises ValueError with a sentence for a URL,
    certificate or token that cannot be one."""
    transport = _transports.get(parse_url(url))
    if transport is not None:
        trust = Trust("")  # no network, no handshake, nobody to trust
    else:
        trust = Trust.pinned(certificate) if trust_kind == "pinned" else Trust.ca(certificate)
    within = replace(deadlines or Deadlines(), **_seconds.get(parse_url(url), {}))
    return QumuloClient(url, trust=trust, addresses=addresses(), token=token, transport=transport, deadlines=within)


def addresses() -> AddressRule:
    return AddressRule(settings.CLUSTER_ALLOWED_CIDRS)


def missing_privileges(purpose: Purpose, me: WhoAmI) -> list[str]:
    """What the token lacks for its purpose. The executor reads the relationship again before it writes."""
    needed = [inferred.READ_PRIVILEGE, *([inferred.WRITE_PRIVILEGE] if purpose == "executor" else [])]
    return [privilege for privilege in needed if privilege not in me.privileges]


def seal(purpose: Purpose, uuid: str, token: str) -> str:
    """The token as it is stored, bound to this cluster and purpose. Raises NoToken when there is no usable key."""
    return _cipher(purpose).encrypt(f"{uuid}|{purpose}|{token}".encode()).decode()


def unseal(purpose: Purpose, uuid: str, ciphertext: str) -> str:
    """The token. Raises NoToken (NoExecutor for the executor's) when it is not this cluster's, for this purpose, under
    this key."""
    refused = NoExecutor if purpose == "executor" else NoToken
    try:
        text = _cipher(purpose).decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise refused(
            f"The {purpose} token cannot be opened: {_KEYS[purpose]} is not the key it was stored with."
        ) from None
    owner = f"{uuid}|{purpose}|"
    if not text.startswith(owner):
        raise refused(f"The {purpose} token stored here belongs to something else; it is not used.")
    return text.removeprefix(owner)


def opens(purpose: Purpose, cluster: Cluster) -> bool:
    """Whether the key of this process opens the token that is stored for this."""
    try:
        unseal(purpose, cluster.uuid, cluster.reader_token if purpose == "reader" else cluster.executor_token)
    except NoToken:
        return False
    return True


def _cipher(purpose: Purpose) -> MultiFernet:
    """Several keys, comma-separated: the first one seals, all of them open. So a key can be changed without a gap."""
    name = _KEYS[purpose]
    refused = NoExecutor if purpose == "executor" else NoToken
    keys = [key.strip() for key in getattr(settings, name).split(",") if key.strip()]
    if not keys:
        raise refused(f"{name} is not set here, so the {purpose} token cannot be used.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise refused(f"{name} is not a key; a key is 32 bytes in URL-safe base64.") from None


def through(url: str, transport: httpx.BaseTransport) -> None:
    """Clusters at `url` are reached through this transport instead of the network: the seam for tests."""
    _transports[parse_url(url)] = transport


def within(url: str, **seconds: float) -> None:
    """Calls to clusters at `url` have these deadlines, named as in `Deadlines`: the other seam for tests."""
    _seconds[parse_url(url)] = seconds


def forget_transports() -> None:
    _transports.clear()
    _seconds.clear()
