"""One simulated cluster: its identity, who may sign in, and a true log of every request that reached it.

The log is what tests prove "at most one" with. So it is stricter than a cluster: a request that reached the
door counts as received even when a scripted fault then loses it. Only what never came over a connection
(refused, handshake never answered) is missing, because no byte of the request was ever there.
"""

from __future__ import annotations

import base64
import itertools
import random
import secrets
import uuid
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import faults, routes, wire
from dashboard.simulator.calls import (
    NOBODY,
    REVERSE,
    SOURCE_READ,
    SOURCE_WRITE,
    TARGET_READ,
    TARGET_WRITE,
    Account,
    Answer,
    Received,
)

if TYPE_CHECKING:
    from dashboard.simulator.calls import Call
    from dashboard.simulator.relationship import Relationship
    from dashboard.simulator.wire import Time
    from dashboard.simulator.world import World

SESSION_LASTS = 10 * 3600.0  # DOCUMENTED
READS_KEPT = 20_000  # of the log; what changes something is kept for ever


class Cluster:
    """One cluster of a world. Attributes may be changed at any time; the next answer shows it."""

    def __init__(self, world: World, name: str, *, version: str, listens: bool) -> None:
        self.world, self.name, self.version, self.listens = world, name, version, listens
        chance = random.Random(f"{world.seed}:{name}")  # noqa: S311 - a world that is the same each time
        self.uuid = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self.clock_ahead = 0.0  # seconds by which this cluster's clock is wrong
        self.faults = faults.Script()
        self.stand_in: Cluster | None = None  # another cluster that answers behind this address
        self.conflict_status = HTTPStatus.CONFLICT  # of make-writable in a wrong state; nobody knows: 409 or 400
        self.repeats_are_fine = False  # make-writable again while or after reverting: 200 instead of a conflict
        self.relationships: dict[str, Relationship] = {}

        # In hexadecimal: `qq login -p` takes a password that begins with a dash for an option.
        self.username, self.password = "admin", secrets.token_hex(12)
        self._accounts: dict[str, Account] = {}
        self.reader_token = self._access_token("desk-reader", (TARGET_READ, SOURCE_READ))
        self.executor_token = self._access_token("desk-executor", (TARGET_READ, TARGET_WRITE))

        self._numbers = itertools.count(1)
        self._snapshots = itertools.count(chance.randrange(400, 90_000))
        self._reads: deque[tuple[int, Received]] = deque(maxlen=READS_KEPT)
        self._writes: list[tuple[int, Received]] = []

    # -- the log ---------------------------------------------------------------------------------------------

    @property
    def log(self) -> list[Received]:
        """Everything that reached the door, oldest first."""
        with self.world.entered():
            return [entry for _, entry in sorted([*self._reads, *self._writes], key=lambda line: line[0])]

    def received(self, method: str = "", path_contains: str = "") -> list[Received]:
        return [e for e in self.log if path_contains in e.path and method in ("", e.method)]

    def make_writable_received(self, relationship_id: str = "") -> list[Received]:
        """Every make-writable that reached the door, for one relationship or for all."""
        with self.world.entered():  # reads, of which there are very many, are not looked through
            return [e for _, e in self._writes if e.path.endswith(f"{relationship_id}/make-writable")]

    def note(self, call: Call, now: Time) -> Received:
        entry = Received(now, call.method, call.path, self._account(call, now).name, bool(call.token))
        (self._reads if call.method == "GET" else self._writes).append((next(self._numbers), entry))
        return entry

    # -- answering -------------------------------------------------------------------------------------------

    def apply(self, call: Call, entry: Received, now: Time) -> Answer:
        """Carry the request out. The caller holds the world."""
        for relationship in list(self.relationships.values()):
            relationship.advance(now)
        try:
            answer = routes.answer(self, call, self._account(call, now), now)
        except wire.Refusal as refusal:
            answer = Answer(refusal.status, refusal.envelope())
        entry.status = answer.status
        if call.method != "GET" and answer.status < HTTPStatus.MULTIPLE_CHOICES:
            entry.applied_at = now
            for relationship in list(self.relationships.values()):  # what it changed is in their past at once
                relationship.advance(now)
        return answer

    def date(self, now: Time) -> str:
        """The HTTP Date header: this cluster's own idea of the time."""
        return formatdate(now + self.clock_ahead, usegmt=True)

    def next_snapshot(self) -> int:
        return next(self._snapshots)

    # -- people ----------------------------------------------------------------------------------------------

    def log_in(self, username: object, password: object, now: Time) -> str:
        """A session token, valid ten hours. A wrong password is 401 (SEEN LIVE)."""
        if (username, password) != (self.username, self.password):
            raise wire.Refusal(
                HTTPStatus.UNAUTHORIZED, "cred_invalid_credentials_error", "Invalid username or password."
            )
        everything = (TARGET_READ, TARGET_WRITE, SOURCE_READ, SOURCE_WRITE, REVERSE, "PRIVILEGE_SNAPSHOT_READ")
        token = f"session-v1:{secrets.token_urlsafe(48)}"
        self._accounts[token] = Account(
            "500", self.username, everything, ("Administrators",), expires=now + SESSION_LASTS
        )
        return token

    def expire_tokens(self) -> None:
        """From now on every token that was ever handed out is refused."""
        with self.world.entered():
            self._accounts.clear()

    def _access_token(self, name: str, privileges: tuple[str, ...]) -> str:
        token = "access-v1:" + base64.b64encode(secrets.token_bytes(61)).decode()
        number = str(secrets.randbelow(9 * 10**21) + 10**21)
        user_id = str(1001 + len(self._accounts))
        self._accounts[token] = Account(user_id, name, privileges, (name,), access_token_id=number)
        return token

    def _account(self, call: Call, now: Time) -> Account:
        account = self._accounts.get(call.token, NOBODY)
        return NOBODY if account.expires is not None and account.expires <= now else account

    # -- things a test does to it ----------------------------------------------------------------------------

    def rename(self, name: str) -> None:
        """Names are changeable and not unique; the UUID stays."""
        with self.world.entered():
            self.name = name
