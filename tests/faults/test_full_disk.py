"""The disk under the database is full."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.faults.auditor import audit
from tests.faults.conftest import prepared
from tests.faults.disk import full, small_disk
from tests.faults.site import PATIENCE, Hands, Site, own_database, wait_for
from tests.faults.worlds import paths, quick
from tests.postgres import PostgresMissing, Server
from tests.running.processes import free_port

SCALE = 0.3  # the window to send in is then wide enough for a machine under load


@pytest.fixture
def small(tmp_path: Path, ground: Path) -> Iterator[Path]:
    """A database on a disk of its own, with little room."""
    with small_disk(tmp_path / "disk") as disk:
        shutil.copyfile(ground, disk / "desk.sqlite3")
        yield disk / "desk.sqlite3"


@pytest.mark.row("F26")
def test_without_room_for_sqlite_nothing_is_sent_and_with_room_again_it_is(make_site, small):
    """SQLite ends the transaction by itself."""
    site = make_site(database=f"sqlite:///{small}", world=quick(), scale=SCALE)
    site.redis()
    failover = site.approved(*paths(site.world))
    sender = _before_its_intent(site, failover)
    with _no_room(small):
        _goes_no_further(site, sender, failover)
        site.sweep()
        site.web()
        wait_for("the sweep", lambda: "database or disk is full" in dict(site.logs())["sweep.log"])
        told = httpx.get(f"{site.url}/", cookies={"session": "a" * 32}, timeout=60)
        assert told.status_code in (302, 503)  # it may still be read, or not even that; it is never an error of ours
        assert site.posts == []
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL on a disk of its own, which lasts through a crash."""
    with tempfile.TemporaryDirectory(prefix="desk-pg-", dir="/tmp") as name:
        Path(name).chmod(0o755)  # it runs as somebody else
        with small_disk(Path(name) / "disk", size="320m") as disk:
            try:
                server = Server(disk, durable=True, port=free_port())
            except PostgresMissing as missing:
                pytest.skip(str(missing))
            server.start()
            yield server
            server.stop()


@pytest.fixture
def on_server(make_site, server: Server) -> Site:
    made = make_site(database=own_database(server.url, template=prepared(server.url)), world=quick(), scale=SCALE)
    made.redis()
    return made


@pytest.mark.row("F26")
def test_without_room_for_the_tables_of_postgresql_nothing_is_sent_and_with_room_again_it_is(on_server, server):
    site = on_server
    failover = site.approved(*paths(site.world))
    sender = _before_its_intent(site, failover)
    with psycopg.connect(site.env["DATABASE_URL"]) as database:  # what is left in pages that are there does not count
        database.execute("ALTER TABLE audit_entry SET (fillfactor = 10)")
    with full(server.home):
        _goes_no_further(site, sender, failover)
        site.sweep()
        site.web()
        wait_for("the sweep", lambda: "No space left on device" in dict(site.logs())["sweep.log"])
        told = httpx.get(f"{site.url}/", cookies={"session": "a" * 32}, timeout=60)
        assert told.status_code in (302, 503)
        assert site.posts == []
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


@pytest.mark.row("F26")
def test_postgresql_goes_down_without_room_for_its_journal_and_nothing_is_sent_until_it_is_up(on_server, server):
    site = on_server
    failover = site.approved(*paths(site.world))
    sender = _before_its_intent(site, failover)
    web = site.web()
    with full(server.home):
        with suppress(psycopg.OperationalError), psycopg.connect(server.url, autocommit=True) as database:
            while True:  # nothing but journal
                database.execute("SELECT pg_logical_emit_message(false, 'ballast', repeat('x', 1000000))")
        server.process.wait(PATIENCE)
        told = httpx.get(f"{site.url}/", cookies={"session": "a" * 32}, timeout=60)
        assert told.status_code == 503
        sender.child.send_signal(signal.SIGCONT)  # last: it insists for half a minute only
        wait_for("the sender", lambda: "nothing is sent" in dict(site.logs())["hands.log"])
        assert site.posts == []
    server.start()
    sender.finish()  # it insists on what it knows, and finds that nothing had been committed
    assert site.state(failover) == "approved"
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    assert site.sendings(failover) == 1
    assert web.poll() is None
    audit(site)


def _before_its_intent(site: Site, failover: int) -> Hands:
    """A sender that stands there when the last byte is taken."""
    return site.stopped_at("send.before_intent", failover)


def _goes_no_further(site: Site, sender: Hands, failover: int) -> None:
    before = site.query("SELECT count(*) AS entries FROM audit_entry")
    sender.child.send_signal(signal.SIGCONT)
    sender.finish()
    assert "nothing is sent" in dict(site.logs())["hands.log"]
    assert (site.posts, site.state(failover)) == ([], "approved")
    assert site.failover(failover)["attempts"] == 0
    assert site.query("SELECT count(*) AS entries FROM audit_entry") == before


@contextmanager
def _no_room(database: Path) -> Iterator[None]:
    """Neither in the file nor in its journal, which has just been emptied."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        with full(database.parent):
            yield
