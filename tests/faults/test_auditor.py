"""The auditor complains of each thing that it is there to see: one failover as it should be, told with one lie at a
time, each ledger with hashes that are right."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.audit.verifier import GENESIS, entry_hash
from dashboard.simulator.terms import State as OnCluster
from tests.faults.auditor import SETTLE, audit
from tests.faults.site import SECRET_KEY, Site, wait_for
from tests.faults.worlds import paths, quick

SCALE = 0.1
Entries = list[dict[str, Any]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, ground: Path) -> Iterator[Site]:
    """One failover that succeeded."""
    site = Site(tmp_path_factory.mktemp("done"), ground=ground, scale=SCALE)
    try:
        site.simulate(quick())
        site.prepare()
        failover = site.approved(*paths(site.world))

        def succeeded() -> bool:
            site.act("execute", failover=failover)
            return site.state(failover) == "succeeded"

        wait_for("success", succeeded)
        yield site
    finally:
        site.close()


class Told:
    """The site, with another database, other posts or other logs than it has."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.world, self.folder, self.posts = site.world, folder, site.posts
        self.path = folder / "told.sqlite3"
        with closing(sqlite3.connect(site.folder / "desk.sqlite3")) as own, closing(sqlite3.connect(self.path)) as copy:
            own.backup(copy)
        self.env = site.env | {"DATABASE_URL": f"sqlite:///{self.path}"}

    query, logs = Site.query, Site.logs

    @contextmanager
    def rewritten(self) -> Iterator[sqlite3.Connection]:
        """By somebody whom no trigger and no constraint keeps from it."""
        with closing(sqlite3.connect(self.path)) as database, database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f'DROP TRIGGER "{name}"')
            database.execute("PRAGMA ignore_check_constraints = on")
            yield database

    def run(self, sql: str, *values: str) -> None:
        with self.rewritten() as database:
            assert database.execute(sql, values).rowcount > 0

    def forged(self, change: Callable[[Entries], Entries]) -> None:
        """The ledger as it is after `change`, and every hash as it should be."""
        with self.rewritten() as database:
            texts = [text for (text,) in database.execute("SELECT payload FROM audit_entry ORDER BY seq")]
            database.execute("DELETE FROM audit_entry")
            previous, seq = GENESIS, 0
            for payload in change([json.loads(text) for text in texts]):
                seq, text = seq + 1, json.dumps(payload)
                now = entry_hash(previous, seq, text)
                row = (seq, text, previous, now, payload["at"], payload["tag"], "", payload["object"])
                database.execute("INSERT INTO audit_entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                previous = now
            database.execute("UPDATE audit_head SET seq = ?, hash = ?", (seq, previous))


def _tagged(entries: Entries, tag: str) -> tuple[int, dict[str, Any]]:
    return next((index, each) for index, each in enumerate(entries) if each["tag"] == tag)


def _without(tag: str) -> Callable[[Entries], Entries]:
    return lambda entries: [each for each in entries if each["tag"] != tag]


def _twice(tag: str) -> Callable[[Entries], Entries]:
    return lambda entries: [again for each in entries for again in [each] * (1 + (each["tag"] == tag))]


def _held(entries: Entries) -> Entries:
    at, sent = _tagged(entries, "failover.sent")
    return [*entries[:at], sent | {"tag": "hold.set", "object": "hold:dr-000"}, *entries[at:]]


def _ended(tag: str, **detail: Any) -> Callable[[Entries], Entries]:
    """As if it had not succeeded, but ended so."""

    def change(entries: Entries) -> Entries:
        at, end = _tagged(entries, "failover.succeeded")
        kept = [each for each in entries[:at] if each["tag"] != "failover.reverting"]
        return [*kept, end | {"tag": tag, "detail": end["detail"] | detail}, *entries[at + 1 :]]

    return change


def _shifted(seconds: float) -> Callable[[Told], None]:
    def lie(told: Told) -> None:
        told.posts = [replace(post, at=post.at + seconds) for post in told.posts]

    return lie


def _run(sql: str) -> Callable[[Told], None]:
    return lambda told: told.run(sql)


def _forged(change: Callable[[Entries], Entries], state: str = "") -> Callable[[Told], None]:
    def lie(told: Told) -> None:
        told.forged(change)
        if state:
            told.run("UPDATE failovers_failover SET state = ?", state)

    return lie


def _posted_twice(told: Told) -> None:
    told.posts = [*told.posts, *told.posts]


def _never_disconnected(told: Told) -> None:
    (relationship,) = told.world.relationships.values()
    relationship.past = [(0.0, OnCluster.ESTABLISHED, True), (float("inf"), OnCluster.DISCONNECTED, False)]


def _printed(told: Told) -> None:
    (told.folder / "web.log").write_text(f"Starting with {SECRET_KEY}.")


LIES: dict[str, tuple[Callable[[Told], None], str]] = {
    "one make-writable more": (_posted_twice, "belongs to no sending"),
    "one before it was on record": (_shifted(-60), "belongs to no sending"),
    "one after nothing could arrive": (_shifted(SETTLE * SCALE + 10), "belongs to no sending"),
    "one that never left": (_forged(_ended("failover.stopped"), "stopped"), "belongs to no sending"),
    "an entry that was rewritten": (
        _run("UPDATE audit_entry SET payload = replace(payload, 'k.osei', 'j.lind')"),
        "the ledger is broken",
    ),
    "an entry of which a list says something else": (
        _run("UPDATE audit_entry SET tag = 'failover.notsent' WHERE tag = 'failover.reverting'"),
        "the columns of entry",
    ),
    "a tail that was cut off": (
        _run("DELETE FROM audit_entry WHERE seq = (SELECT seq FROM audit_head)"),
        "the ledger's head",
    ),
    "a state without an entry": (_run("UPDATE failovers_failover SET state = 'closed'"), "its entries say succeeded"),
    "no end": (_forged(_without("failover.succeeded"), "reverting"), "is still reverting"),
    "no intent": (_forged(_without("failover.sent")), "but it was approved"),
    "a second intent": (_forged(_twice("failover.sent")), "but it was sent"),
    "no vote": (_run("DELETE FROM failovers_decision"), "with the approval of 0"),
    "a vote on something else": (_run("UPDATE failovers_decision SET digest = 'x'"), "with the approval of 0"),
    "a vote of one's own": (
        _run("UPDATE failovers_decision SET person_id = (SELECT requester_id FROM failovers_request)"),
        "with the approval of 0",
    ),
    "a vote that came afterwards": (
        _run("UPDATE failovers_decision SET at = '2100-01-01 00:00:00'"),
        "with the approval of 0",
    ),
    "a sending after its time": (
        _run("UPDATE failovers_failover SET run_by = '2020-01-01 00:00:00'"),
        "was sent after",
    ),
    "a sending under a hold": (_forged(_held), "under {'hold:dr-000'}"),
    "a success that the cluster does not know": (_never_disconnected, "claims success"),
    "a refusal of what was carried out": (_forged(_ended("failover.refused"), "refused"), "carried it out"),
    "a doubt that was closed too early": (
        _forged(_ended("failover.closed", outcome="not_applied"), "closed"),
        "before nothing could arrive",
    ),
    "a secret that was printed": (_printed, "web.log holds a secret"),
}


def test_what_is_as_it_should_be_passes(done: Site, tmp_path: Path) -> None:
    audit(done)
    told: Any = Told(done, tmp_path)
    told.forged(lambda entries: entries)
    audit(told)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_and_named(done: Site, tmp_path: Path, lie: str) -> None:
    told: Any = Told(done, tmp_path)
    (relationship,) = done.world.relationships.values()
    past = list(relationship.past)
    tell, words = LIES[lie]
    try:
        tell(told)
        with pytest.raises(AssertionError, match=words.replace("{", r"\{")):
            audit(told)
    finally:
        relationship.past = past
