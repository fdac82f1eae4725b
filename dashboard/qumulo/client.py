"""The verbs of the API that this product needs, and no others.

Guarantees. A GET that failed at once is tried again once, within its deadline. **A POST is made once and never again**,
whatever happens; its exceptions say what is known of its effect (`errors`). Redirects are not followed, proxies and
other settings of the environment are not read, cookies are not kept: the transport is called directly, an
`httpx.Client` would only add these. A body is read up to 8 MiB and never decompressed. The token is in no `repr`, no
exception and no log line.

One client is one connection to one cluster, for one thread at a time: what was read before a make-writable and the
make-writable itself go the same way. When that connection breaks in between, nothing is sent (unless the cluster said
that it closes it). Calls that need no token carry none, so that the question who answers here tells nobody the token.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import httpx

from dashboard.qumulo import inferred
from dashboard.qumulo.addresses import AddressRule, parse_url
from dashboard.qumulo.answers import Answer, date_of, judge, read, to_object, translate
from dashboard.qumulo.edge import clean, text
from dashboard.qumulo.errors import CannotConnect, NoAnswer, Nonsense, NotSent, TooLate
from dashboard.qumulo.records import (
    SourceStatusList,
    StatusList,
    TargetStatus,
    parse_list,
    parse_source_status,
    parse_target_status,
)
from dashboard.qumulo.trust import Trust
from dashboard.qumulo.wire import UNACKNOWLEDGED, Wire, WireTransport, boottime

BODY_LIMIT = 8 * 1024 * 1024
_TARGETS = "/v2/replication/target-relationships"
_SOURCES = "/v2/replication/source-relationships"
_ID = re.compile(inferred.ID_PATTERN)
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds for a whole call; `connect` is the part of it for name, connection and handshake. `unacknowledged`: how
    long the kernel goes on delivering what was written and not acknowledged, also after this process has ended."""

    connect: float = 5
    read: float = 10
    list: float = 20
    post: float = 40
    unacknowledged: float = UNACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class NodeState:
    """Of the node that answers. `cluster_id` is "" before a cluster is set up; `state` is ACTIVE when all is well."""

    cluster_id: str
    node_id: int | None
    state: str


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """Whose token it is. `access_token_id` is None for a token from a login."""

    name: str
    privileges: frozenset[str]
    access_token_id: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The cluster took a make-writable (HTTP 200). `status` is its answer, in whatever state; that the target became
    writable only a later reading can show. `seconds`: how long the answer took."""

    http_status: int
    status: TargetStatus
    seconds: float


class QumuloClient:
    """A connection to one cluster. Use it as a context manager, or call `close`.

    `url` as `parse_url` takes it. `transport` replaces the network (tests): deadline, address and certificate are
    then the transport's matter; send window, body limit and errors stay. Every verb raises QumuloError.
    """

    def __init__(
        self,
        url: str,
        *,
        trust: Trust,
        addresses: AddressRule,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        deadlines: Deadlines | None = None,
        user_agent: str = "failover-desk",
    ) -> None:
        if token is not None and not _TOKEN.fullmatch(token):
            raise ValueError("The token holds characters that no token has; is it the right file?")
        self.url = parse_url(url)
        self.date: datetime | None = None  # the cluster's clock in its last answer, from the HTTP Date header
        self._deadlines = deadlines or Deadlines()
        self._wire: Wire | None = None
        self._kept = False  # the last answer left its connection open
        if transport is None:
            self._wire = Wire(addresses=addresses, pin=trust.pin, unacknowledged=self._deadlines.unacknowledged)
            transport = WireTransport(self._wire, trust.context())
        self._transport = transport
        # The official client sends the content type with every call, also without a body.
        self._headers = httpx.Headers(
            {
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": user_agent,
            }
        )
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def __repr__(self) -> str:
        return f"<QumuloClient {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # Reading. All paths and shapes DOCUMENTED; the trailing slash of lists matters.

    def version(self) -> str:
        """The release, such as `7.8.0`. Nonsense when this is no Qumulo cluster. Needs no token."""
        found = self._open("/v1/version").get("revision_id")
        if not isinstance(found, str) or not found.startswith(inferred.PRODUCT):
            raise Nonsense("This does not answer as a Qumulo cluster does.", http_status=200)
        return text(found.removeprefix(inferred.PRODUCT), limit=64)

    def node_state(self) -> NodeState:
        """Which cluster answers here: the identity to check before anything that matters. Needs no token."""
        found = self._open("/v1/node/state")
        cluster_id, node_id = found.get("cluster_id"), found.get("node_id")
        if not isinstance(cluster_id, str) or not (cluster_id == "" or _ID.fullmatch(cluster_id)):
            raise Nonsense("The cluster does not say which one it is.", http_status=200)
        node = node_id if isinstance(node_id, int) and not isinstance(node_id, bool) else None
        return NodeState(cluster_id, node, text(found.get("state"), limit=64))

    def cluster_name(self) -> str:
        """The name the cluster gives itself; it can change. Needs no token."""
        return text(self._open("/v1/cluster/settings").get("cluster_name"), limit=255)

    def who_am_i(self) -> WhoAmI:
        found = self._object("/v1/session/who-am-i")
        name, privileges = found.get("name"), found.get("privileges")
        if not isinstance(name, str) or not isinstance(privileges, list):
            raise Nonsense("The cluster does not say whose token it is and what it may do.", http_status=200)
        return WhoAmI(
            clean(name, limit=255),
            frozenset(clean(privilege, limit=255) for privilege in privileges if isinstance(privilege, str)),
            text(found.get("access_token_id"), limit=64) or None,
        )

    def target_statuses(self) -> StatusList:
        """All relationships of which this cluster is the target."""
        answer = self._call("GET", f"{_TARGETS}/status/", within=self._deadlines.list)
        rows, unreadable = read(answer, lambda body: parse_list(body, parse_target_status))
        return StatusList(rows, unreadable, self.date)

    def target_status(self, relationship_id: str) -> TargetStatus:
        answer = self._call("GET", _path(relationship_id, "status"), within=self._deadlines.read)
        return _same(read(answer, parse_target_status), relationship_id)

    def source_statuses(self) -> SourceStatusList:
        """All relationships of which this cluster is the source: mode, blackout windows and queue are only there."""
        answer = self._call("GET", f"{_SOURCES}/status/", within=self._deadlines.list)
        rows, unreadable = read(answer, lambda body: parse_list(body, parse_source_status))
        return SourceStatusList(rows, unreadable, self.date)

    # Writing. Once.

    def login(self, username: str, password: str) -> str:
        """A session's token, good for ten hours (DOCUMENTED). This client goes on without it."""
        body = json.dumps({"username": username, "password": password}).encode()
        answer = self._call("POST", "/v1/session/login", within=self._deadlines.read, body=body)
        found = read(answer, to_object).get("bearer_token")
        if not isinstance(found, str) or not _TOKEN.fullmatch(found):
            raise Nonsense("The cluster accepted the login and gave no token.", http_status=200)
        return found

    def make_writable(self, relationship_id: str, *, send_by: float) -> Accepted:
        """Ask the target to revert to its recovery point and become writable (DOCUMENTED: no body, answers its status).

        `send_by` on the clock of `boottime`: not one byte of the request leaves after it (TooLate). Raises NotSent when
        no byte left at all, else an error whose `effect` says what is known.
        """
        path = _path(relationship_id, "make-writable")
        answer = self._call("POST", path, within=self._deadlines.post, send_by=send_by)
        status = _same(read(answer, parse_target_status), relationship_id)
        return Accepted(answer.http_status, status, answer.seconds)

    # How a call is made.

    def _object(self, path: str) -> dict[str, Any]:
        return read(self._call("GET", path, within=self._deadlines.read), to_object)

    def _open(self, path: str) -> dict[str, Any]:
        """What a cluster tells anybody: asked without the token."""
        return read(self._call("GET", path, within=self._deadlines.read, signed=False), to_object)

    def _call(
        self,
        method: str,
        path: str,
        *,
        within: float,
        send_by: float | None = None,
        body: bytes | None = None,
        signed: bool = True,
    ) -> Answer:
        """The answer, when it is a 200. Everything else is raised."""
        started = boottime()
        headers = self._headers if signed else [(k, v) for k, v in self._headers.items() if k != "authorization"]
        request = httpx.Request(
            method,
            self.url + path,
            headers=headers,
            content=body,
            extensions={"timeout": httpx.Timeout(within, connect=self._deadlines.connect).as_dict()},
        )
        try:
            answer = self._exchange(request, started, within=within, send_by=send_by)
        except (CannotConnect, NoAnswer):
            # What failed at once, such as a kept connection that the cluster had closed, is worth a second try. What
            # took the time is not: the next poll comes soon.
            if method != "GET" or boottime() - started > within / 2:
                raise
            answer = self._exchange(request, started, within=within, send_by=None)
        self.date = date_of(answer.headers)
        return judge(answer)

    def _exchange(self, request: httpx.Request, started: float, *, within: float, send_by: float | None) -> Answer:
        """One request, one answer of whatever status; the body bounded."""
        if self._wire is not None:
            # A cluster that says with each answer that it closes leaves no connection to be bound to.
            bound = send_by is not None and self._kept
            self._wire.limit(deadline=started + within, send_by=send_by, bound=bound)
        if send_by is not None and boottime() >= send_by:
            raise TooLate("The time for sending was over before the first byte.")
        try:
            response = self._transport.handle_request(request)
            try:
                body = _bounded(response)
            finally:
                response.close()
        except httpx.TransportError as error:
            raise translate(error, seconds=boottime() - started, within=within) from error
        closes = response.headers.get("Connection", "").lower() == "close"
        self._kept = not closes and response.extensions.get("http_version") != b"HTTP/1.0"
        return Answer(response.status_code, response.headers, body, boottime() - started)


def _bounded(response: httpx.Response) -> bytes:
    status = response.status_code
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Nonsense("The cluster's answer is compressed, which was not asked for.", http_status=status)
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > BODY_LIMIT:
            raise Nonsense("The cluster's answer is too large.", http_status=status)
    return bytes(body)


def _path(relationship_id: str, verb: str) -> str:
    if not _ID.fullmatch(relationship_id):
        raise NotSent("The relationship's id is not one that can be put into an address.")
    return f"{_TARGETS}/{relationship_id}/{verb}"


def _same(status: TargetStatus, relationship_id: str) -> TargetStatus:
    if status.id != relationship_id:
        raise Nonsense("The cluster answered about another relationship.", http_status=200)
    return status
