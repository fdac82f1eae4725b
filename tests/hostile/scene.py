"""A cluster that can be made to say anything, and four witnesses of what the desk made of it: the pages that people are
served, the database, the ledger, and the journal of the cluster itself, which counts every make-writable that came.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from dashboard.audit import chain
from dashboard.audit.models import Entry, Head
from dashboard.database import database_now
from dashboard.failovers import readings
from dashboard.failovers.models import Failover
from dashboard.fleet import access
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import World, faults, transport
from tests.failovers.desk import REASON, Desk, pass_time
from tests.qumulo.lab import authority
from tests.web.fleet import Element, Page, browser

LIST = "/target-relationships/status/"
WRITABLE = "/make-writable"
NODE = "/v1/node/state"

# What no page may hold as it came: whoever reads must see what is there.
RAW = {"\x00", "\x1b", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff"}

Edit = Callable[[dict[str, Any]], object]


class Mouth(httpx.BaseTransport):
    """The honest answers of a cluster, changed on their way. What arrives stands in its journal all the same."""

    def __init__(self, inner: httpx.BaseTransport, change: Callable[[httpx.Request, httpx.Response], httpx.Response]):
        self.inner, self.change = inner, change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        response.read()
        return self.change(request, response)


class Scene:
    def __init__(self, cast: Any, world: World | None = None) -> None:
        self.desk = Desk(cast, world)
        Cluster.objects.update(certificate=authority().pem)  # whom it trusts, wherever there is a network
        self.cast, self.target, self.sim = cast, self.desk.target, self.desk.sim
        self.status = f"{self.sim.id}/status"
        self.known = self.row.status
        self.failover: Failover | None = None
        self.began = Head.objects.get(pk=1).seq
        self._browsers: dict[str, Any] = {}

    # ── What the cluster says ──

    def fails(self, *found: faults.Fault) -> None:
        for fault in found:
            self.target.faults.add(fault)

    def says(self, body: object, *, path: str, status: int = 200, applied: bool = True) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.fails(faults.answers(raw, path=path, count=None, status=status, applied=applied))

    def row_says(self, edit: Edit | None = None, **fields: Any) -> None:
        """From now on it says so of its relationship, in the list, alone, and in answer to make-writable; `...` takes
        a field away. In ASCII, so that anything can be said."""

        def changed(row: dict[str, Any]) -> dict[str, Any]:
            for name, value in fields.items():
                if value is ...:
                    row.pop(name, None)
                else:
                    row[name] = value
            if edit:
                edit(row)
            return row

        def change(_request: httpx.Request, response: httpx.Response) -> httpx.Response:
            body = json.loads(response.content) if response.status_code == 200 else None
            if isinstance(body, list):
                body = [changed(row) if row.get("id") == self.sim.id else row for row in body]
            elif isinstance(body, dict) and body.get("id") == self.sim.id:
                body = changed(body)
            else:
                return response
            return httpx.Response(200, headers={"Date": response.headers["Date"]}, content=json.dumps(body))

        self.through(change)

    def through(self, change: Callable[[httpx.Request, httpx.Response], httpx.Response]) -> None:
        access.through(self.desk.cluster.url, Mouth(transport(self.target), change))

    def at(self, url: str) -> None:
        """From now on the cluster is whatever answers at this address on the network."""
        access.forget_transports()
        Cluster.objects.filter(pk=self.desk.cluster.pk).update(url=url)

    def honest(self) -> None:
        """It says again what is true."""
        self.target.faults.clear()
        self.target.stand_in = None
        access.through(self.desk.cluster.url, transport(self.target))

    # ── What is done ──

    def poll(self) -> Cluster:
        self.desk.read()
        return self.cluster

    def approve(self) -> Failover:
        self.failover = self.desk.approved()
        return self.failover

    def step(self, times: int = 1) -> Failover:
        """Turns of any driver, with the time between them that a reading of the same failover waits."""
        assert self.failover is not None
        for turn in range(times):
            if turn:
                pass_time(3)
            self.desk.step(self.failover)
        return self.failover

    def send(self) -> Failover:
        self.approve()
        return self.step()

    def revert_ends(self) -> None:
        self.desk.clock.pass_time(60)

    def ask_by_page(self) -> int:
        """Send the dialog's form, whatever it was shown with; the status of the answer."""
        form = {"typed": "/dr/finance", "reason": REASON, "ticket": "", "nonce": str(uuid.uuid4())}
        answer = browser(self.cast.rivera).post(f"/relationships/dr/{self.sim.id}/fail-over/", form)
        status: int = answer.status_code
        return status

    @property
    def cluster(self) -> Cluster:
        return Cluster.objects.get(pk=self.desk.cluster.pk)

    @property
    def row(self) -> Relationship:
        return Relationship.objects.select_related("cluster").get(pk=self.desk.row.pk)

    @property
    def posted(self) -> int:
        """Make-writables that the cluster has received."""
        return len(self.target.make_writable_received(self.sim.id))

    @property
    def requests(self) -> int:
        """All that reached the cluster, of whatever kind."""
        return len(self.target.log)

    # ── The witnesses ──

    def shows(
        self,
        *,
        page: Mapping[str, str | Sequence[str]],
        database: Mapping[str, object],
        ledger: Sequence[str],
        posts: int,
    ) -> None:
        """`page`: where → what is written there. `database`: of `cluster`, `row` and `failover`. `ledger`: the tags of
        every entry since the scene began. `posts`: make-writables that the cluster has received."""
        for where, words in page.items():
            text = self.page(where).text
            for each in [words] if isinstance(words, str) else words:
                assert each in text, f"{where} does not say “{each}”: {text}"
        found = {name: self._column(name) for name in database}
        assert found == dict(database)
        assert chain.verify().ok
        tags = Entry.objects.filter(seq__gt=self.began).order_by("seq").values_list("tag", flat=True)
        assert list(tags) == list(ledger)
        assert self.posted == posts

    def page(self, where: str) -> Element:
        """As it is served: parsed, and without anything raw in it."""
        path, user = self._places()[where]
        client = self._browsers.setdefault(user.username, browser(user))
        answer = client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        markup = answer.content.decode()
        assert not RAW & set(markup), f"{path} holds {RAW & set(markup)}"
        return Page(markup).root

    def _places(self) -> dict[str, tuple[str, Any]]:
        here = f"/relationships/dr/{self.sim.id}/"
        places = {
            "list": ("/", self.cast.viewer),
            "relationship": (here, self.cast.rivera),
            "dialog": (f"{here}fail-over/", self.cast.rivera),
            "wall": ("/wall/", self.cast.viewer),
            "audit": ("/audit/", self.cast.okafor),
            "clusters": ("/clusters/", self.cast.admin),
            "approvals": ("/approvals/", self.cast.osei),
        }
        if self.failover:
            places["failover"] = (f"/failovers/{self.failover.number}/", self.cast.osei)
        return places

    def _column(self, name: str) -> object:
        what, _dot, column = name.partition(".")
        if what == "failover":
            assert self.failover is not None
            self.failover.refresh_from_db()
            if column == "concern":
                return readings.concern(self.failover, database_now())
            if column == "doubtful":
                return readings.doubtful(self.failover, database_now())
            return getattr(self.failover, column)
        if name == "row.kept":
            return self.row.status == self.known
        if name == "rows":
            return Relationship.objects.count()
        return getattr(self.cluster if what == "cluster" else self.row, column)
