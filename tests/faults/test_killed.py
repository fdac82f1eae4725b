"""SIGKILL at every step, to the process that is at that step; then everything comes back and goes on.

After each: the cluster received at most one make-writable, the record says what the cluster did, the chain holds.
"""

from __future__ import annotations

import os
import signal
import uuid
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.faults.site import Site, wait_for

pytestmark = pytest.mark.faults

KILLED = -signal.SIGKILL


def _own_database() -> str | None:
    """On PostgreSQL a database for this test alone; its processes commit for real. On SQLite: a file in its folder."""
    url = urlsplit(os.environ["DATABASE_URL"])
    if not url.scheme.startswith("postgres"):
        return None
    name = f"faults_{uuid.uuid4().hex}"
    with psycopg.connect(urlunsplit(url), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")  # a name of hexadecimal digits
    return urlunsplit(url._replace(path=f"/{name}"))


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path, database=_own_database())
    try:
        site.simulate()
        site.prepare()
        site.redis()
        yield site
    finally:
        site.close()


def _asked(site: Site) -> tuple[int, int]:
    """A request on the pair's relationship, after a sweep has read it."""
    site.run("manage.py", "sweep", "--once", REDIS_URL="")
    wait_for("the first reading", lambda: site.act("ready")["ready"], 20)
    made = site.act("request", "/dr/finance/")
    assert made["number"] == "FO-1001"  # the first of a new desk, on either engine
    return made["request"], made["failover"]


def _agree(site: Site, failover: int) -> None:
    seen = site.see(failover, "succeeded")
    assert len(site.posts) == 1
    assert seen["chain"]
    assert seen["tags"].count("failover.sent") == 1
    assert seen["tags"][-1] == "failover.succeeded"


@pytest.mark.parametrize("point", ["send.after_read", "send.before_intent", "send.in_intent"])
def test_a_worker_killed_before_the_intent_leaves_it_to_the_sweep(site, point):
    asked, failover = _asked(site)
    worker = site.worker(CRASH_AT=point)
    site.act("approve", str(asked))
    assert worker.wait(30) == KILLED
    assert site.posts == []
    assert site.look(failover)["state"] == "approved"
    site.sweep()
    _agree(site, failover)


@pytest.mark.parametrize("point", ["send.after_answer", "send.after_record"])
def test_a_worker_killed_after_the_post_leaves_it_to_the_readings(site, point):
    asked, failover = _asked(site)
    worker = site.worker(CRASH_AT=point)
    site.act("approve", str(asked))
    assert worker.wait(30) == KILLED
    assert len(site.posts) == 1
    site.sweep()
    site.worker()
    _agree(site, failover)


def test_a_worker_killed_between_the_intent_and_the_first_byte_calls_a_person(site):
    """Nobody can know that nothing left: it is never sent again, and a person closes it after the settle window."""
    asked, failover = _asked(site)
    worker = site.worker(CRASH_AT="send.after_intent")
    site.act("approve", str(asked))
    assert worker.wait(30) == KILLED
    assert site.look(failover)["state"] == "sent"
    site.sweep()
    site.worker()
    early = site.run("-m", "tests.faults.act", "close", str(failover))
    assert "It may still arrive" in early.stderr
    wait_for(
        "the settle window",
        lambda: site.run("-m", "tests.faults.act", "close", str(failover)).returncode == 0,
        90,
    )
    seen = site.look(failover)
    assert (seen["state"], seen["chain"]) == ("closed", True)
    assert site.posts == []


@pytest.mark.parametrize("point", ["watch.after_read", "watch.before_success"])
def test_a_sweep_killed_while_watching_is_followed_by_another(site, point):
    asked, failover = _asked(site)
    site.worker()
    sweep = site.sweep(CRASH_AT=point)
    site.act("approve", str(asked))
    assert sweep.wait(60) == KILLED
    site.sweep()
    _agree(site, failover)


def test_a_web_process_killed_after_the_approval_was_committed(site):
    asked, failover = _asked(site)
    done = site.run("-m", "tests.faults.act", "approve", str(asked), CRASH_AT="approve.after_commit")
    assert done.returncode == KILLED
    site.sweep()
    _agree(site, failover)


def test_a_lost_answer_and_a_killed_worker_together(site):
    asked, failover = _asked(site)
    site.fault("slow_after", path="/make-writable", seconds=5)
    worker = site.worker()
    site.act("approve", str(asked))
    wait_for("the request at the cluster", lambda: site.posts)
    site.stop(worker, signal.SIGKILL)
    site.sweep()
    _agree(site, failover)


def test_without_a_broker_the_sweep_does_it_all(site):
    asked, failover = _asked(site)
    site.env["REDIS_URL"] = ""
    site.act("approve", str(asked))
    site.sweep()
    site.sweep()  # two are harmless
    _agree(site, failover)


def test_a_dead_broker_delays_nothing_but_the_bell(site):
    asked, failover = _asked(site)
    broker = next(child for child in site.children if "server" in str(child.args))
    site.stop(broker, signal.SIGKILL)
    site.act("approve", str(asked))
    site.sweep()
    _agree(site, failover)


def test_a_frozen_broker_delays_nothing_but_the_bell(site):
    asked, failover = _asked(site)
    broker = next(child for child in site.children if "server" in str(child.args))
    broker.send_signal(signal.SIGSTOP)
    site.act("approve", str(asked))
    site.sweep()
    _agree(site, failover)


def test_a_bell_that_rings_many_times_sends_once(site):
    asked, failover = _asked(site)
    site.worker()
    site.sweep()
    site.act("approve", str(asked))
    for _ in range(5):
        site.act("execute", str(failover))
    _agree(site, failover)
