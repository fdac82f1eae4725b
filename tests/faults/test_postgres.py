"""PostgreSQL crashes, loses a connection at the worst moment, or stands still."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from dashboard.simulator import World
from tests.faults.auditor import audit
from tests.faults.conftest import prepared
from tests.faults.proxy import Proxy
from tests.faults.site import Site, own_database, wait_for
from tests.faults.worlds import paths, quick
from tests.postgres import PostgresMissing, Server, running_server
from tests.running.processes import free_port

GATE = 20  # the number of an advisory lock


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that one may hurt: what it says is committed outlasts its own crash."""
    try:
        with running_server(durable=True, port=free_port()) as running:
            yield running
    except PostgresMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def template(server: Server) -> str:
    return prepared(server.url)


@pytest.fixture
def make(make_site: Callable[..., Site], server: Server, template: str) -> Callable[..., Site]:
    """`make()`: a desk on it; the window to send in is wide enough for a machine under load."""

    def made(world: World | None = None) -> Site:
        database = own_database(server.url, template=template)
        return make_site(database=database, world=world or quick(), scale=0.3)

    return made


@pytest.mark.row("F22")
def test_a_crash_of_postgresql_in_the_middle_of_many_loses_no_intent(make, server):
    """Twice, with failovers in every state; nobody starts a process again."""
    site = make(quick(6, clusters=4))
    site.redis()
    drivers = [site.worker(), site.sweep(), site.relay(), site.web()]
    site.at_work()
    asked = site.asked(*paths(site.world))
    site.act("approve", request=asked["request"])
    for share in (4, 14):
        wait_for("some to be sent", partial(_sent, site, share))
        server.stop(signal.SIGQUIT)
        server.start()
    for failover in asked["failovers"]:
        site.see(failover, "succeeded")
    assert all(driver.poll() is None for driver in drivers)
    assert len(site.posts) == 24
    wait_for("the pages", lambda: httpx.get(f"{site.url}/health/", timeout=60).status_code == 200)
    audit(site)


@pytest.mark.row("F23")
def test_a_connection_that_is_ended_during_the_commit_of_the_intent_sends_nothing(make):
    site = make()
    failover = site.approved(*paths(site.world))
    with _gate(site) as database, _sending(site, failover):
        ended = wait_for("the commit", lambda: _at_the_gate(database))
        database.execute("SELECT pg_terminate_backend(%s)", [ended])
    assert site.posts == []
    assert site.failover(failover)["attempts"] == 0  # rolled back, with its entry
    assert "failover.sent" not in site.tags(failover)
    _goes_on(site, failover)


@pytest.mark.row("F23")
def test_a_commit_of_the_intent_whose_answer_is_lost_sends_nothing_and_is_taken_back(make):
    """It was committed, and only its sender can know that nothing left: it alone leads back, once."""
    site = make()
    failover = site.approved(*paths(site.world))
    port = int(site.env["DATABASE_URL"].rpartition(":")[2].partition("/")[0])
    with Proxy(free_port(), port) as proxy, _gate(site) as database:
        there = site.env["DATABASE_URL"].replace(f":{port}/", f":{proxy.port}/")
        with _sending(site, failover, DATABASE_URL=there):
            wait_for("the commit", lambda: _at_the_gate(database))
            proxy.fail(hold_back=True)
            database.execute("SELECT pg_advisory_unlock(%s)", [GATE])
            site.see(failover, "sent")
            proxy.heal()
    assert site.posts == []
    assert site.state(failover) == "approved"
    assert site.tags(failover)[-2:] == ["failover.sent", "failover.notsent"]
    _goes_on(site, failover)


@pytest.mark.row("F24")
def test_a_frozen_postgresql_is_said_on_pages_and_nothing_is_sent_without_a_commit(make, server):
    site = make()
    site.redis()
    web, worker = site.web(), site.worker()
    cookies = {"session": "a" * 32}  # whose it is, only the database knows
    with httpx.Client(base_url=site.url, timeout=60, cookies=cookies) as browser:
        assert browser.get("/health/").status_code == 200
        with _gate(site) as database:
            failover = site.approved(*paths(site.world))
            wait_for("the commit", lambda: _at_the_gate(database))
            with _frozen(server):
                assert browser.get("/health/").status_code == 503
                assert {browser.get("/").status_code for _ in range(8)} == {503}
                assert site.posts == []
        sweep = site.sweep()
        site.see(failover, "succeeded")
        assert len(site.posts) == 1
        wait_for("the pages", lambda: browser.get("/health/").status_code == 200)
    assert [child.poll() for child in (web, worker, sweep)] == [None, None, None]
    audit(site)


@pytest.mark.row("F24")
def test_a_click_whose_commit_is_not_answered_is_not_called_undone(make, server, browse):
    site = make()
    site.web()
    osei, asked = browse(site, "k.osei"), site.asked(*paths(site.world))
    form = osei.form(asked["number"])
    with _gate(site, "requested", "approved") as database, ThreadPoolExecutor(1) as one:
        click = one.submit(osei.click, asked["number"], form)
        wait_for("the commit", lambda: _at_the_gate(database))
        with _frozen(server):
            told = click.result()
        assert (told.status_code, "it may have been done, or not" in told.text) == (503, True)
        assert "Nothing was changed" not in told.text
        database.execute("SELECT pg_advisory_unlock(%s)", [GATE])
    site.see(asked["failovers"][0], "approved")
    audit(site, ended=False)


@pytest.mark.row("F24")
def test_a_sender_gives_up_on_a_frozen_postgresql_and_leads_back_when_it_thaws(make, server):
    """The COMMIT still lies in the server's socket when the sender has given up: it happens after all."""
    site = make()
    failover = site.approved(*paths(site.world))
    with _gate(site) as database, _sending(site, failover, patience=2.0):
        wait_for("the commit", lambda: _at_the_gate(database))
        with _frozen(server):
            wait_for("the sender to give up", lambda: "has not answered" in dict(site.logs())["hands.log"])
        database.execute("SELECT pg_advisory_unlock(%s)", [GATE])
        site.see(failover, "approved")
    assert site.posts == []
    assert site.tags(failover)[-2:] == ["failover.sent", "failover.notsent"]
    _goes_on(site, failover)


def _sent(site: Site, least: int) -> bool:
    return len(site.posts) >= least


def _goes_on(site: Site, failover: int) -> None:
    """Both drivers come, as on any day: one make-writable reaches the cluster."""
    site.redis()
    site.worker()
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    assert site.sendings(failover) == 1
    audit(site)


@contextmanager
def _sending(site: Site, failover: int, patience: float | None = None, **env: str) -> Iterator[Future[Any]]:
    """A sender that takes one step of this failover while the block runs; its step has ended when the block has."""
    hands = site.hands(**env)
    if patience is not None:
        hands("impatient", seconds=patience)
    with ThreadPoolExecutor(1) as one:
        yield one.submit(hands, "execute", failover=failover)


@contextmanager
def _gate(site: Site, old: str = "approved", new: str = "sent") -> Iterator[psycopg.Connection[Any]]:
    """While it stands, the COMMIT of this move waits inside of the server, as for a slow disk: no limit of a lock ends
    that. Who comes later goes through."""
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as database:
        database.execute("""
            CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
            BEGIN PERFORM pg_advisory_xact_lock(20); RETURN NULL; END $$
        """)
        trigger = f"""
            CREATE CONSTRAINT TRIGGER gate AFTER UPDATE ON failovers_failover DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (OLD.state = '{old}' AND NEW.state = '{new}') EXECUTE FUNCTION wait_at_the_gate()
        """
        database.execute(trigger.encode())
        database.execute("SELECT pg_advisory_lock(%s)", [GATE])
        yield database
    # The lock ends with its connection.


def _at_the_gate(database: psycopg.Connection[Any]) -> int | None:
    """The server's process that stands there."""
    found = database.execute(
        "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND NOT granted"
        " AND query = 'COMMIT' AND datname = current_database()"
    ).fetchone()
    return found[0] if found else None


@contextmanager
def _frozen(server: Server) -> Iterator[None]:
    """SIGSTOP for all of it. The first one first: it starts no others then."""
    stopped: list[int] = []
    try:
        while new := [pid for pid in server.pids() if pid not in stopped]:
            for pid in new:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
