"""What passes a cluster's door: a call, its answer, who asks, and the line of the log that remains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from dashboard.simulator import status as statuses
from dashboard.simulator import wire

if TYPE_CHECKING:
    from dashboard.simulator.cluster import Cluster
    from dashboard.simulator.relationship import Relationship
    from dashboard.simulator.wire import Time

TARGET_READ = "PRIVILEGE_REPLICATION_TARGET_READ"
TARGET_WRITE = "PRIVILEGE_REPLICATION_TARGET_WRITE"
SOURCE_READ = "PRIVILEGE_REPLICATION_SOURCE_READ"
SOURCE_WRITE = "PRIVILEGE_REPLICATION_SOURCE_WRITE"
REVERSE = "PRIVILEGE_REPLICATION_REVERSE_RELATIONSHIP"


class Call(NamedTuple):
    """A request as it arrived. `target` is the path with its query; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def token(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""

    def json(self) -> object:
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise wire.undecodable(f"the body is not JSON: {error}") from None


class Answer(NamedTuple):
    """What the cluster says when nothing is in the way. `body` None is an empty body."""

    status: int
    body: object = None
    etag: str = ""


@dataclass
class Received:
    """One line of the log."""

    at: Time
    method: str
    path: str
    user: str  # "" when nobody was signed in
    bearer: bool  # whether a token came with it
    status: int | None = None  # what the cluster decided; None: never processed (perhaps not yet)
    applied_at: Time | None = None  # when it was carried out; None for reads and for what was refused
    outcome: str = "being processed"  # in words, with what the client saw


class Account(NamedTuple):
    """Who stands behind a token."""

    user_id: str
    name: str
    privileges: tuple[str, ...]
    roles: tuple[str, ...]
    access_token_id: str | None = None
    expires: Time | None = None


NOBODY = Account("", "", (), ())


class Ask(NamedTuple):
    """One request on its way through a handler."""

    cluster: Cluster
    call: Call
    now: Time
    id: str  # of the relationship, "" when the path has none
    account: Account  # NOBODY without a valid token

    def as_target(self, wanted: str = "") -> Relationship:
        """The relationship that has its target here; 404 when this cluster does not know it as one."""
        it = self._find(wanted)
        if it is None or it.target.cluster is not self.cluster or it.target.gone:
            raise wire.not_found(f"Target relationship {wanted or self.id}")
        return it

    def as_source(self) -> Relationship:
        it = self._find("")
        if it is None or it.source.cluster is not self.cluster or it.source.gone:
            raise wire.not_found(f"Source relationship {self.id}")
        return it

    def _find(self, wanted: str) -> Relationship | None:
        return self.cluster.relationships.get(wire.relationship_id(wanted or self.id))

    def target_status(self, it: Relationship) -> Answer:
        return Answer(HTTPStatus.OK, statuses.of_target(it, self.now))

    def deleted(self, it: Relationship) -> Answer:
        """An empty answer; a relationship that both ends have deleted is forgotten."""
        if it.source.gone and it.target.gone:
            self.cluster.world.forget(it)
        return Answer(HTTPStatus.OK)
