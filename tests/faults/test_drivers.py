"""Drivers that are slow, starved, frozen, dead, doubled, too late, or replaced by a newer version."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dashboard.simulator import faults
from tests.faults.auditor import audit
from tests.faults.site import PATIENCE, SWEPT, Said, Site, is_stopped, wait_for
from tests.faults.worlds import UNHURRIED, paths, quick

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def _all_succeed(site: Site, failovers: list[int]) -> None:
    """With one make-writable for each."""
    for failover in failovers:
        site.see(failover, "succeeded", patience=180)
    assert len(site.posts) == len(failovers)


def _rewrite(site: Site, sql: str, *values: str) -> None:
    """Let time have passed in a row."""
    with closing(sqlite3.connect(site.folder / "desk.sqlite3", timeout=30)) as database, database:
        assert database.execute(sql, values).rowcount > 0


@pytest.mark.row("F16")
def test_a_cluster_that_takes_longer_than_the_sender_waits_is_asked_once(make_site):
    """Four seconds here. One cluster acts at once, the other after six; they answer when whoever asked no longer
    listens."""
    site = make_site(world=quick(clusters=2), scale=0.1)
    site.fault(faults.slow_after(60, path="/make-writable"), "dr-000")
    site.fault(faults.Fault(wait_before=6, wait_after=60, path="/make-writable"), "dr-001")
    site.redis()
    site.worker()
    site.sweep()
    failovers = [site.approved(path) for path in paths(site.world)]
    _all_succeed(site, failovers)
    for failover in failovers:
        wait_for("the doubt", partial(_doubted, site, failover))
        assert site.failover(failover)["outcome"] == "inferred"
    audit(site)


def _doubted(site: Site, failover: int) -> bool:
    return "failover.doubt" in site.tags(failover)


@pytest.mark.row("F17")
def test_a_sender_that_is_refused_memory_sends_at_most_once_and_another_goes_on(make_site):
    """From its start, between the reading and the intent, between the intent and the first byte. It may end or go on,
    as it can; one that ends is started again, as the supervisor does."""
    site = make_site(world=quick(4), scale=0.1)
    site.redis()
    *where, healthy = paths(site.world)
    failovers = []
    for path, place in zip(where, ("", "send.after_read", "send.after_intent"), strict=True):
        worker = site.worker(CRASH_AT=f"{place}:1:STOP" if place else "")
        if place:
            failovers.append(site.approved(path))
            wait_for("the stop", partial(is_stopped, worker))
        _starve(worker)
        if not place:
            failovers.append(site.approved(path))
            wait_for("the bell to be taken", partial(_is_taken, site, worker))
        site.stop(worker, patience=20)  # it goes on, and ends what is under way, unless it has no memory for that
    assert len(site.posts) <= len(failovers)
    site.worker(TIME_SCALE="1")  # nobody else comes round if it misses its window
    failovers.append(site.approved(healthy))
    site.see(failovers[-1], "reverting", "succeeded")
    sent_before = {failover for failover in failovers if site.state(failover) == "sent"}
    site.sweep()
    for failover in failovers:
        wait_for("an end", partial(_ended, site, failover))
        assert site.state(failover) == "succeeded" or failover in sent_before
    audit(site)


def _starve(worker: subprocess.Popen[bytes]) -> None:
    """From now on the kernel gives it no more memory than it has."""
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0])
    _soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_AS)
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (pages * resource.getpagesize(), hard))


def _is_taken(site: Site, worker: subprocess.Popen[bytes]) -> bool:
    if worker.poll() is not None:
        return True
    return any("execute[" in line and ("succeeded in" in line or "raised" in line) for line in _lines(site))


def _lines(site: Site) -> Iterator[str]:
    for name, text in site.logs():
        if name == "worker-send.log":
            yield from text.rpartition(" ready.")[2].splitlines()


def _ended(site: Site, failover: int) -> bool:
    """On its own, or by a person once nothing can arrive any more."""
    if site.state(failover) == "sent":
        with suppress(Said):
            site.act("close", failover=failover)
    return site.state(failover) in ("succeeded", "closed")


@pytest.mark.row("F18")
def test_with_both_workers_frozen_the_sweep_sends_watches_and_reads(make_site):
    """So nothing gets old, and there is nothing to sound an alarm for; a dead sweep is what pages call late. The
    workers wake up to bells that mean nothing any more."""
    site = make_site(world=quick(3), scale=UNHURRIED)
    site.redis()
    workers = [site.worker("send"), site.worker("observe")]
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    site.sweep()
    *frozen, thawed = paths(site.world)
    failovers = [site.approved(path) for path in frozen]
    _all_succeed(site, failovers)
    seen = _read_at(site)
    wait_for("a reading", lambda: _read_at(site) > seen)
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
    failovers.append(site.approved(thawed))
    _all_succeed(site, failovers)
    audit(site)


def _read_at(site: Site) -> Any:
    """When the only cluster was last read."""
    return site.query("SELECT last_read_at FROM fleet_cluster")[0]["last_read_at"]


@pytest.mark.row("F19")
def test_without_the_sweep_bells_send_and_pages_say_that_it_is_late(make_site, browse):
    site = make_site(world=quick(2), scale=UNHURRIED)
    site.redis()
    site.worker(TIME_SCALE="1")  # nobody else comes round if it misses its window
    site.web()
    sweep = site.sweep()
    wait_for("the sweep", partial(site.query, SWEPT))
    site.stop(sweep, signal.SIGKILL)
    first, second = paths(site.world)
    sent = site.approved(first)
    site.see(sent, "reverting")
    waiting = site.asked(second)["failovers"][0]
    page = f"/failovers/{site.act('number', failover=waiting)}/"
    approver = browse(site, "k.osei")
    late = "An approved failover may start late"
    _sweep_was_seen(site, "-0 seconds")
    assert late not in approver.http.get(page).text
    _sweep_was_seen(site, "-16 seconds")
    assert late in approver.http.get(page).text
    approver.approve(site.act("number", failover=waiting))
    site.see(waiting, "reverting")
    assert len(site.posts) == 2
    site.sweep()  # as the supervisor starts it again
    _all_succeed(site, [sent, waiting])
    assert late not in approver.http.get(page).text
    audit(site)


def _sweep_was_seen(site: Site, ago: str) -> None:
    _rewrite(site, "UPDATE failovers_heartbeat SET at = datetime('now', ?) WHERE driver = 'sweep'", ago)


@pytest.mark.row("F20")
def test_two_sweeps_and_two_workers_send_each_failover_once(make_site):
    site = make_site(world=quick(8, clusters=2), scale=UNHURRIED)
    site.redis()
    asked = site.asked(*paths(site.world))
    site.act("approve", request=asked["request"])
    for start in (site.sweep, site.worker, site.sweep, site.worker):
        start()
    _all_succeed(site, asked["failovers"])
    audit(site)
    for failover in asked["failovers"]:
        assert site.sendings(failover) == 1


@pytest.mark.row("F21")
@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
def test_what_was_approved_before_a_long_outage_expires_and_people_are_told(make_site, browse, hook):
    """Everything is down for twenty minutes (on SQLite the clock of a process is the database's). A request that nobody
    has decided on still has time; a sweep that dies while it ends the other one leaves it to the next."""
    site = make_site(world=quick(2), scale=UNHURRIED)
    first, second = paths(site.world)
    notices = {"NOTIFY_URLS": f"chat={hook.url}"}
    relay = site.relay(**notices)
    wait_for("the channel", lambda: site.query("SELECT * FROM notifications_channel"))
    approved, waiting = site.approved(first), site.asked(second)["failovers"][0]
    site.stop(relay)

    later = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+20m"}
    drivers = later | {"DONT_FAKE_MONOTONIC": "1"}  # else each of their waits lasts twenty minutes, too
    assert site.sweep(CRASH_AT="expire.changed", **drivers).wait(PATIENCE) == -signal.SIGKILL
    assert site.state(approved) == "approved"
    site.redis()
    site.sweep(**drivers)
    site.worker(**drivers)
    site.relay(**notices, **drivers)
    site.web(**later)
    ended = site.see(approved, "expired")
    assert ended["outcome_words"] == "Expired: not started in time. Nothing was sent."
    assert site.state(waiting) == "requested"
    number = site.act("number", failover=approved)
    wait_for("the notice", lambda: any(n["object"] == number and n["tag"] == "request.expired" for n in hook.received))
    page = browse(site, "k.osei").http.get(f"/failovers/{number}/").text
    assert "Expired: not started in time." in page
    assert "Nothing was sent." in page
    site.act("cancel", request=site.failover(waiting)["request_id"])
    assert site.posts == []
    audit(site)


@pytest.fixture
def hook() -> Iterator[Any]:
    """Where notices arrive."""
    from tests.notifications.receivers import Hook

    receiver = Hook()
    yield receiver
    receiver.close()


@pytest.mark.row("F44")
def test_a_new_version_is_installed_in_the_middle_of_it(make_site, browse):
    """One failover is asked for, one reverts, and of one the sender waits for the answer when everybody is asked to
    end: each does, by itself, and the answer is kept."""
    site = make_site(world=quick(3, revert=3.0), scale=UNHURRIED)
    reverts = list(site.world.relationships.values())[1]
    reverts.revert_takes = 7200  # until it is told to be done
    asked, reverting, asking = paths(site.world)
    broker = site.redis()
    old = [site.web(), site.worker("send"), site.worker("observe"), site.sweep(), site.relay()]
    failovers = [*site.asked(asked)["failovers"], site.approved(reverting)]
    site.see(failovers[1], "reverting")
    site.at_work()
    site.fault(faults.slow_after(2, path="/make-writable"), "dr-000")
    failovers.append(site.approved(asking))
    wait_for("the second make-writable", lambda: len(site.posts) == 2)
    for process in old:
        os.killpg(process.pid, signal.SIGTERM)
    assert [process.wait(PATIENCE) for process in old] == [0] * len(old)
    site.stop(broker)
    assert site.state(failovers[1]) == "reverting"
    assert site.failover(failovers[2])["answer"]

    site.manage("migrate", "--no-input")
    site.redis()
    for start in (site.web, site.worker, site.sweep, site.relay):
        start()
    with site.world.entered():
        assert reverts.work is not None
        reverts.work.begun -= 7200
    browse(site, "k.osei").approve(site.act("number", failover=failovers[0]))
    _all_succeed(site, failovers)
    assert site.failover(failovers[2])["outcome"] == "confirmed"
    audit(site)
