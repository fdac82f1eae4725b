"""What keeps the record fails: the places outside, the ledger itself, and the database that was put back."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dashboard.simulator import World
from dashboard.simulator.terms import State as OnCluster
from tests.faults.auditor import audit
from tests.faults.disk import full, small_disk
from tests.faults.site import Site, own_database, wait_for
from tests.faults.worlds import paths, quick
from tests.postgres import find_programs

PLACES = ("the file of checkpoints", "syslog", "the webhook")
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres"])


def _site(make_site: Callable[..., Site], engine: str = "sqlite") -> Site:
    """Its window to send in is wide enough for a machine under load."""
    return make_site(engine=engine, world=quick(), scale=0.3)


# ── Outside ──────────────────────────────────────────────────────────────────


@pytest.mark.row("F27")
def test_no_place_outside_delays_a_failover_and_each_that_lags_is_named(make_site, tmp_path):
    """The disk of the checkpoints is full; syslog, webhook, mail server and chat take connections and say nothing."""
    site = _site(make_site)
    site.redis()
    with _owner(site) as run:
        run("UPDATE accounts_person SET email = 'somebody@example.com' WHERE label = 'k.osei'")
    with small_disk(tmp_path / "disk", "64k") as disk:
        with full(disk), _hanging(4) as ports:
            outside = [f"127.0.0.1:{port}" for port in ports]
            site.relay(
                CHECKPOINT_FILE=str(disk / "checkpoints"),
                CHECKPOINT_SYSLOG=outside[0],
                CHECKPOINT_WEBHOOK=f"https://{outside[1]}",
                NOTIFY_MAIL=f"smtp+plain://{outside[2]}",
                NOTIFY_FROM="desk@example.com",
                NOTIFY_URLS=f"chat=json://{outside[3]}",
            )
            wait_for("places and channels", lambda: (len(_sinks(site)), len(_channels(site))) == (3, 2))
            site.worker()
            site.sweep()
            failover = site.approved(*paths(site.world))
            site.see(failover, "succeeded")
            assert [sink["number"] for sink in _sinks(site)] == [0, 0, 0]  # nobody has taken anything so far
            wait_for("every place to fail", lambda: all(sink["failures"] for sink in _sinks(site)))
            wait_for("every channel to fail", lambda: all(channel["tries"] for channel in _channels(site)))
            late = [line.partition(" since ")[0] for line in site.act("late", minutes=6)]
            assert late == [f"Signed checkpoints do not reach {place}" for place in PLACES]
        wait_for("the file to catch up", lambda: _sinks(site)[0]["number"] > 0)
    assert len(site.posts) == 1
    audit(site)


@contextmanager
def _hanging(count: int) -> Iterator[list[int]]:
    """Ports where the kernel takes connections for somebody who never looks: as a stopped process would."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield [door.getsockname()[1] for door in doors]


def _sinks(site: Site) -> list[dict[str, Any]]:
    return site.query("SELECT * FROM audit_sink ORDER BY name")


def _channels(site: Site) -> list[dict[str, Any]]:
    return site.query("SELECT * FROM notifications_channel")


# ── The ledger ───────────────────────────────────────────────────────────────


@pytest.mark.row("F28")
@ENGINES
def test_while_the_ledger_takes_no_entry_nothing_changes_and_nothing_is_sent(make_site, engine):
    """Neither at the approval, nor at the intent; and what was sent before is not lost with its answer."""
    site = _site(make_site, engine)
    site.redis()
    asked = site.asked(*paths(site.world))
    (failover,) = asked["failovers"]
    with _mute(site), pytest.raises(AssertionError, match="it is mute"):
        site.act("approve", request=asked["request"])
    assert site.state(failover) == "requested"
    assert site.query("SELECT * FROM failovers_decision") == []
    site.act("approve", request=asked["request"])
    with _mute(site):
        site.act("execute", failover=failover)
    assert "nothing is sent" in dict(site.logs())["hands.log"]
    assert (site.posts, site.state(failover)) == ([], "approved")
    assert site.failover(failover)["attempts"] == 0
    sender = site.stopped_at("send.after_answer", failover)
    with _mute(site):
        sender.child.send_signal(signal.SIGCONT)
        with pytest.raises(AssertionError, match="it is mute"):
            sender.finish()
        assert site.state(failover) == "sent"
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


@contextmanager
def _mute(site: Site) -> Iterator[None]:
    """The table of the ledger refuses each new entry."""
    with _owner(site) as run:
        if site.env["DATABASE_URL"].startswith("sqlite"):
            run("CREATE TRIGGER mute BEFORE INSERT ON audit_entry BEGIN SELECT RAISE(ABORT, 'it is mute'); END")
        else:
            run(
                "CREATE OR REPLACE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'it is mute'; END $$"
            )
            run("CREATE TRIGGER mute BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION mute()")
        try:
            yield
        finally:
            run("DROP TRIGGER mute" + ("" if site.env["DATABASE_URL"].startswith("sqlite") else " ON audit_entry"))


@pytest.mark.row("F29")
@ENGINES
def test_an_entry_that_its_owner_rewrote_is_named_and_nothing_is_sent_any_more(make_site, engine):
    """The guards were taken away for it and stand again: only the hash tells."""
    site = _site(make_site, engine)
    site.redis()
    failover = site.approved(*paths(site.world))
    (entry,) = site.query("SELECT seq, payload FROM audit_entry WHERE tag = 'request.made'")
    with _owner(site) as run, _without_guards(site, run):
        run(
            "UPDATE audit_entry SET payload = ? WHERE seq = ?",
            entry["payload"].replace("a.rivera", "k.osei"),
            entry["seq"],
        )
    said = site.run("manage.py", "verifyaudit")
    assert said.returncode == 1
    assert f"Bad entry {entry['seq']} (content)" in said.stdout
    site.sweep()
    held = wait_for("the hold", lambda: site.query("SELECT reason FROM failovers_hold WHERE lifted_at IS NULL"))
    assert f"broken at entry {entry['seq']}" in held[0]["reason"]
    site.worker()
    site.act("ring", failover=failover)
    site.act("execute", failover=failover)
    wait_for("a driver to be held back", lambda: _held_back(site))
    assert (site.posts, site.state(failover)) == ([], "approved")
    with pytest.raises(AssertionError, match="the ledger is broken"):
        audit(site)


def _held_back(site: Site) -> bool:
    """A driver came to the intent, and found the hold."""
    return bool(site.query("SELECT 1 FROM fleet_observation WHERE words LIKE ?", "held: Nothing is sent%"))


@contextmanager
def _without_guards(site: Site, run: Callable[..., Any]) -> Iterator[None]:
    if site.env["DATABASE_URL"].startswith("sqlite"):
        guards = site.query("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entry'")
        for guard in guards:
            run(f"DROP TRIGGER {guard['name']}")
        yield
        for guard in guards:
            run(guard["sql"])
    else:
        run("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        yield
        for guard in site.query(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit_entry'::regclass AND NOT tgisinternal"
        ):
            run(f"ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER {guard['tgname']}")


@contextmanager
def _owner(site: Site) -> Iterator[Callable[..., Any]]:
    """Whoever may do everything in the database: `run(sql, *values)`."""
    url = site.env["DATABASE_URL"]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)) as file:
            yield lambda sql, *values: file.execute(sql, values)
    else:
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda sql, *values: server.execute(sql.replace("?", "%s").encode(), values or None)


# ── The database that was put back ───────────────────────────────────────────


@pytest.mark.row("F30")
@ENGINES
def test_a_database_that_was_put_back_is_held_and_sends_nothing(make_site, engine):
    site = _site(make_site, engine)
    failover = _put_back_after_success(site)
    site.sweep()
    held = wait_for("the hold", lambda: site.query("SELECT reason FROM failovers_hold WHERE lifted_at IS NULL"))
    assert "went back in time" in held[0]["reason"]
    site.worker()
    site.act("ring", failover=failover)
    site.act("execute", failover=failover)
    wait_for("a driver to be held back", lambda: _held_back(site))
    assert len(site.posts) == 1
    assert site.state(failover) == "approved"


@pytest.mark.row("F30")
def test_without_the_file_outside_a_database_that_was_put_back_would_send_again(make_site):
    """What the fence is for: on one approval, a second make-writable. Had this not happened, it would guard nothing."""
    site = _site(make_site)
    failover = _put_back_after_success(site)
    (site.folder / "fence").unlink()
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 2
    with pytest.raises(AssertionError, match="belongs to no sending"):
        audit(site)


def _put_back_after_success(site: Site) -> int:
    """Backed up while it waits for its driver; it succeeds, people fail back; then the backup is put in its place."""
    site.redis()
    failover = site.approved(*paths(site.world))
    put_back = _backup(site)
    drivers = [site.worker(), site.sweep(), site.relay()]
    site.see(failover, "succeeded")
    head = "SELECT seq FROM audit_head"
    wait_for(
        "the fence", lambda: json.loads((site.folder / "fence").read_text())["entry"] == site.query(head)[0]["seq"]
    )
    for driver in drivers:
        site.stop(driver)
    _fail_back(site.world)
    put_back()
    return failover


def _backup(site: Site) -> Callable[[], None]:
    url = site.env["DATABASE_URL"]
    copy = site.folder / "backup"
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as now, closing(sqlite3.connect(copy)) as then:
            now.backup(then)

        def put_back() -> None:
            for journal in ("-wal", "-shm"):
                path.with_name(path.name + journal).unlink(missing_ok=True)
            shutil.copyfile(copy, path)
    else:
        programs = find_programs()
        subprocess.run([programs / "pg_dump", "-Fc", "-f", copy, url], check=True)

        def put_back() -> None:
            site.env["DATABASE_URL"] = own_database(url)
            subprocess.run([programs / "pg_restore", "-d", site.env["DATABASE_URL"], copy], check=True)

    return put_back


def _fail_back(world: World) -> None:
    """Days later: it replicates again, as it did on the day of the backup."""
    (relationship,) = world.relationships.values()
    with world.entered() as now:
        relationship.reconnect_takes = 0
        relationship.reconnect(now)
        relationship.advance(now)
        assert relationship.state is OnCluster.ESTABLISHED
