"""What goes wrong in a round: each trouble begins at its moment and is over after a while, or when the round heals all.

What is lost, held or late stays below what the protocol allows for on its way (`settle`): a network that delivers
later than that is outside of its promise.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import redis

from dashboard.simulator import Relationship, RevertEnds, faults
from dashboard.simulator.faults import Sees
from tests.chaos.desk import PAUSES, POINTS, Desk
from tests.chaos.people import NoAnswer, People
from tests.faults.site import Said, Site

LONGEST = 2.5  # seconds for which anything is held back, or late


@dataclass
class Trouble:
    words: str
    begin: Callable[[], object]
    end: Callable[[], object] | None = None
    at: float = 0.0
    lasts: float = 0.0


@dataclass
class Stage:
    """Where it happens. `targets`: the relationships that this round is about."""

    site: Site
    desk: Desk
    people: People
    targets: list[Relationship]


def plan(chance: random.Random, stage: Stage) -> list[Trouble]:
    """Two to five troubles, in order."""
    found = []
    for make in chance.choices(list(TROUBLES), list(TROUBLES.values()), k=chance.randint(2, 5)):
        trouble = make(chance, stage)
        trouble.at = trouble.at or chance.uniform(0.4, 3.0)
        trouble.lasts = trouble.lasts or chance.uniform(0.2, LONGEST)
        found.append(trouble)
    return sorted(found, key=lambda trouble: trouble.at)


# ── Processes ──


def _killed(chance: random.Random, stage: Stage) -> Trouble:
    name = chance.choice(list(stage.desk.kept))
    number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
    return Trouble(f"{number.name} {name}", lambda: stage.desk.kill(name, number))


def _frozen(chance: random.Random, stage: Stage) -> Trouble:
    name, seconds = chance.choice(list(stage.desk.kept)), chance.uniform(0.2, 3.0)
    return Trouble(f"freeze {name} {seconds:.1f} s", lambda: stage.desk.freeze(name, seconds))


def _crashes(chance: random.Random, stage: Stage) -> Trouble:
    name = chance.choice(list(POINTS))
    crash_at = f"{chance.choice(POINTS[name])}:{chance.randint(1, 3)}"
    return Trouble(f"{name} dies at {crash_at}", lambda: stage.desk.arm(name, crash_at))


def _sleeps(chance: random.Random, stage: Stage) -> Trouble:
    """One of two, so that the other goes on meanwhile."""
    name = chance.choice(("send-1", "sweep-1"))
    place = "send.after_intent" if chance.random() < 0.5 else chance.choice(PAUSES)
    crash_at = f"{place}:{chance.randint(1, 2)}:STOP"
    return Trouble(f"{name} sleeps at {crash_at}", lambda: stage.desk.arm(name, crash_at))


def _broker_forgets(_chance: random.Random, stage: Stage) -> Trouble:
    def flush() -> None:
        url = stage.site.env["REDIS_URL"]
        with suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=0.5) as broker:
            broker.flushall()

    return Trouble("FLUSHALL", flush)


# ── The network ──


def _network(chance: random.Random, stage: Stage) -> Trouble:
    name = _cluster(chance, stage)
    proxy = stage.site.proxies[name]
    after = chance.randint(0, 6000)  # bytes: the handshake is some 1,500, each call some 300
    modes: list[tuple[str, dict[str, Any]]] = [
        ("holds requests", {"hold_to": True}),
        ("holds answers", {"hold_back": True}),
        (f"cuts after {after} bytes", {"cut_to": after}),
        (f"cuts answers after {after} bytes", {"cut_back": after}),
        (f"resets after {after} bytes", {"cut_to": after, "reset": True}),
        (f"resets answers after {after} bytes", {"cut_back": after, "reset": True}),
        ("garbles", {"garble_back": True}),
        ("is slow", {"delay": chance.uniform(0.05, 0.8)}),
        ("drips", {"drip": 0.004}),
    ]
    words, mode = chance.choice(modes)
    # What was held comes through late, or dies with its connection.
    return Trouble(f"the way to {name} {words}", lambda: proxy.fail(**mode), chance.choice((proxy.fail, proxy.heal)))


def _refuses(chance: random.Random, stage: Stage) -> Trouble:
    name = _cluster(chance, stage)
    return Trouble(f"{name} refuses", stage.site.proxies[name].refuse, stage.site.proxies[name].heal)


def _drops(chance: random.Random, stage: Stage) -> Trouble:
    name, reset = _cluster(chance, stage), chance.random() < 0.5
    return Trouble(f"{name}'s connections drop", lambda: stage.site.proxies[name].drop(reset=reset))


def _swallows(chance: random.Random, stage: Stage) -> Trouble:
    """What was on its way to the cluster never comes there."""
    name = _cluster(chance, stage)
    proxy = stage.site.proxies[name]

    def forget() -> None:
        proxy.drop()
        proxy.heal()

    return Trouble(f"the way to {name} swallows", lambda: proxy.fail(hold_to=True), forget)


def _cluster(chance: random.Random, stage: Stage) -> str:
    it = chance.choice(stage.targets)
    names = list(stage.site.proxies)
    return it.target.cluster.name if chance.random() < 0.8 else chance.choice(names)


# ── Clusters ──


def _answers_badly(chance: random.Random, stage: Stage) -> Trouble:
    """The next make-writable, so it begins before there is one; or the next of any request."""
    cluster = chance.choice(stage.targets).target.cluster
    late = chance.uniform(0.2, LONGEST)
    sees = chance.choice((Sees.CUT, Sees.RESET, Sees.NOTHING, Sees.HALF_BODY, Sees.NOT_HTTP))
    applied = chance.random() < 0.5
    where: dict[str, Any] = {"path": "/make-writable"}
    if chance.random() < 0.25:
        where = {"count": chance.randint(1, 3), "skip": chance.randint(0, 3)}
    makers: dict[str, Callable[[], faults.Fault]] = {
        "loses the request": lambda: faults.lost_request(**where),
        "loses the answer": lambda: faults.lost_answer(**where),
        f"is late {late:.1f} s, {sees}": lambda: faults.late(late, sees=sees, **where),
        f"waits {late:.1f} s": lambda: faults.slow_before(late, **where),
        f"answers {3 * late:.1f} s later": lambda: faults.slow_after(3 * late, **where),
        f"says nothing, {applied=}": lambda: faults.no_answer(applied=applied, **where),
        f"resets, {applied=}": lambda: faults.reset(applied=applied, **where),
        f"says half, {applied=}": lambda: faults.half_body(applied=applied, **where),
        f"speaks no HTTP, {applied=}": lambda: faults.not_http(applied=applied, **where),
        "names another": lambda: faults.wrong_id(**where),
        f"says 500, {applied=}": lambda: faults.error(500, applied=applied, **where),
        f"says 503, {applied=}": lambda: faults.error(503, applied=applied, **where),
        f"says 502 in HTML, {applied=}": lambda: faults.html(applied=applied, **where),
        f"says garbage, {applied=}": lambda: faults.garbage(applied=applied, **where),
        f"redirects, {applied=}": lambda: faults.redirect(applied=applied, **where),
        "refuses": lambda: faults.refusal(path="/make-writable"),
        "refuses the token": lambda: faults.expired_token(path="/make-writable"),
    }
    words = chance.choice(list(makers))
    about = "make-writable" if "path" in where else f"{where['count']} after {where['skip']}"
    return Trouble(f"{cluster.name} {words} ({about})", lambda: cluster.faults.add(makers[words]()), at=0.3)


def _somebody_else(chance: random.Random, stage: Stage) -> Trouble:
    it, verb = chance.choice(stage.targets), chance.choice(("make-writable", "make-writable", "reconnect", "delete"))
    return Trouble(
        f"somebody else: {verb} of {it.target.path} on {it.target.cluster.name}",
        _later(lambda: by_hand(stage.site, it, verb)),
    )


def by_hand(site: Site, it: Relationship, verb: str) -> None:
    """As an administrator of the cluster, past desk and proxy. Whatever it answers, stands in its journal."""
    cluster = it.target.cluster
    with (
        httpx.Client(
            base_url=f"https://127.0.0.1:{site.proxies[cluster.name].upstream}",
            verify=False,  # noqa: S501 - the administrator of a simulated cluster, on this machine
            timeout=30,
        ) as http,
        suppress(httpx.HTTPError, ValueError),
    ):
        person = {"username": cluster.username, "password": cluster.password}
        token = http.post("/v1/session/login", json=person).json().get("bearer_token", "")
        http.post(f"/v2/replication/target-relationships/{it.id}/{verb}", headers={"Authorization": f"Bearer {token}"})


def _recovery_point_moves(chance: random.Random, stage: Stage) -> Trouble:
    it, seconds = chance.choice(stage.targets), chance.choice((-400.0, 60.0))
    words = f"the recovery point of {it.target.path} on {it.target.cluster.name} moves by {seconds:g} s"
    return Trouble(words, lambda: it.move_recovery_point(seconds))


def _revert_fails(chance: random.Random, stage: Stage) -> Trouble:
    it = chance.choice(stage.targets)

    def set_to(how: RevertEnds) -> Callable[[], object]:
        return lambda: setattr(it, "revert_ends", how)

    words = f"the revert of {it.target.path} on {it.target.cluster.name} fails"
    return Trouble(words, set_to(RevertEnds.FAILS), set_to(RevertEnds.DONE), lasts=LONGEST)


# ── The database, and holds ──


def _database(chance: random.Random, stage: Stage) -> Trouble:
    seconds, url = chance.uniform(0.3, 1.5), stage.site.env["DATABASE_URL"]
    if url.startswith("sqlite"):

        def lock() -> None:
            with suppress(sqlite3.OperationalError), closing(sqlite3.connect(url[10:], timeout=5)) as database:
                database.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)

        return Trouble(f"the database is locked {seconds:.1f} s", _later(lock))
    if chance.random() < 0.5:

        def lock_head() -> None:
            with psycopg.connect(url) as database:
                database.execute("LOCK TABLE audit_head IN EXCLUSIVE MODE")
                time.sleep(seconds)

        return Trouble(f"the ledger is locked {seconds:.1f} s", _later(lock_head))

    def cut() -> None:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    return Trouble("every connection to the database is cut", cut)


def _held(chance: random.Random, stage: Stage) -> Trouble:
    scope = chance.choice(("", chance.choice(stage.targets).target.cluster.name))
    said = {"hold": {"scope": scope, "reason": "Somebody has a bad feeling about this."}, "lift": {"scope": scope}}

    def do(verb: str) -> Callable[[], object]:
        def act() -> None:
            with suppress(Said, NoAnswer):
                stage.people.act(verb, **said[verb])

        return _later(act)

    return Trouble(f"hold {scope or 'all'}", do("hold"), do("lift"))


def _later(act: Callable[[], object]) -> Callable[[], object]:
    """In a thread: the round does not wait for it."""
    return lambda: threading.Thread(target=act, daemon=True).start()


TROUBLES: dict[Callable[[random.Random, Stage], Trouble], int] = {
    _killed: 5,
    _frozen: 3,
    _crashes: 5,
    _sleeps: 1,  # all of its threads sleep: one that writes to SQLite just then keeps everybody from it
    _broker_forgets: 1,
    _network: 6,
    _refuses: 1,
    _drops: 1,
    _swallows: 2,
    _answers_badly: 10,
    _somebody_else: 2,
    _recovery_point_moves: 1,
    _revert_fails: 1,
    _database: 2,
    _held: 1,
}
"""What may go wrong, and how often."""
