"""SIGKILL, or SIGSTOP for a while, at every step, to the process that is at that step; then everything comes back."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from dashboard.failovers.timing import STANDARD
from dashboard.simulator import faults
from tests.faults.auditor import audit
from tests.faults.site import Said, Site, is_stopped, wait_for
from tests.faults.worlds import UNHURRIED, paths, quick

KILLED = -signal.SIGKILL
SHORT = 0.05  # a scale at which the settle window is over after nine seconds
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres"])
Desk = Callable[..., Site]


@pytest.fixture
def desk(make_site) -> Desk:
    """A desk with a broker and so many relationships."""

    def make(relationships: int = 1, engine: str = "sqlite", *, scale: float = UNHURRIED, revert: float = 0.3) -> Site:
        made: Site = make_site(engine=engine, world=quick(relationships, revert=revert), scale=scale)
        made.redis()
        return made

    return make


def _struck(site: Site, worker: subprocess.Popen[bytes], failover: int) -> int:
    """Ring until the worker has ended: one that missed its window gives the turn back, and no sweep comes round."""
    wait_for("the end of the worker", lambda: worker.poll() is not None or site.act("ring", failover=failover))
    return worker.wait()


def _all_succeed(site: Site, failovers: list[int]) -> None:
    """With one make-writable for each, and nothing amiss."""
    for failover in failovers:
        site.see(failover, "succeeded")
    assert len(site.posts) == len(failovers)
    audit(site)


@pytest.mark.row("F9")
@ENGINES
def test_senders_killed_before_the_intent_leave_it_to_the_sweep(desk, engine):
    site = desk(6, engine)
    worker = site.worker(CRASH_AT="send.in_intent")
    *failovers, taken = [site.approved(path) for path in paths(site.world)]
    assert _struck(site, worker, failovers[0]) == KILLED
    others = ("send.before_read", "send.after_read", "send.before_intent", "send.changed")
    for failover, place in zip(failovers[1:], others, strict=True):
        assert site.act("die", at=place, doing="execute", failover=failover) == KILLED
    somebody_else = list(site.world.relationships.values())[-1]
    with site.world.entered() as now:
        somebody_else.make_writable(now)
    assert site.act("die", at="stop.changed", doing="execute", failover=taken) == KILLED
    assert site.posts == []
    assert {site.state(failover) for failover in (*failovers, taken)} == {"approved"}
    site.sweep()
    site.see(taken, "stopped")
    _all_succeed(site, failovers)


@pytest.mark.row("F10", "F14")
@ENGINES
def test_what_may_have_left_is_never_sent_again_and_a_person_closes_it(desk, browse, engine):
    """Killed between the intent and the first byte, on the way back from there, before a refusal is written down, or
    stopped for longer than anybody waits: nobody can know, so all of them end with a person, after the settle window.
    Whoever was stopped wakes up after that, and sends nothing."""
    site = desk(5, engine, scale=SHORT)
    worker = site.worker(CRASH_AT="send.after_intent")
    killed = site.approved("dr-000:/dr/0000")
    assert _struck(site, worker, killed) == KILLED
    back, last, refused, stopped = [site.approved(f"dr-000:/dr/000{n}") for n in (1, 2, 3, 4)]
    late = site.hands(TIME_SCALE="0.0001")  # its send window is over before the intent is committed
    assert late("die", at="take_back.changed", doing="execute", failover=back) == KILLED
    assert late("die", at="give_up.changed", doing="execute", failover=last) == KILLED
    assert site.failover(last)["attempts"] == STANDARD.attempts
    site.fault(faults.refusal(path="/make-writable"), "dr-000")
    patient = site.hands(TIME_SCALE="1")
    assert patient("die", at="refuse.changed", doing="execute", failover=refused) == KILLED
    sleeper = site.stopped_at("send.after_intent", stopped)
    sweep = site.sweep()
    all_of_them = [killed, back, last, refused, stopped]
    with pytest.raises(Said, match="It may still arrive"):
        site.act("close", failover=stopped)
    assert {site.state(failover) for failover in all_of_them} == {"sent"}

    _needs_a_person(site, browse, killed)
    assert site.act("die", at="close.changed", doing="close", failover=killed) == KILLED
    assert site.state(killed) == "sent"
    for failover in all_of_them:
        wait_for("the closing", partial(_closed, site, failover), 180)
    sleeper.child.send_signal(signal.SIGCONT)
    sleeper.finish()
    assert [post.path.split("/")[-2] for post in site.posts] == [_on_cluster(site, refused)]
    assert {site.state(failover) for failover in all_of_them} == {"closed"}

    site.stop(sweep)
    again = site.approved("dr-000:/dr/0000")
    site.sweep(TIME_SCALE=str(UNHURRIED))
    site.see(again, "succeeded")
    assert len(site.posts) == 2
    audit(site)


def _needs_a_person(site: Site, browse: Callable[..., Any], failover: int) -> None:
    """The page says so, and the ledger, from which people are told."""
    site.web()
    number = site.act("number", failover=failover)
    page = browse(site, "k.osei").http
    words = ("A person must look.", "still established and read-only")

    def says() -> bool:
        text = page.get(f"/failovers/{number}/").text
        return all(each in text for each in words)

    wait_for("the words", says)
    wait_for("the reminder", lambda: "failover.concern" in site.tags(failover))


def _closed(site: Site, failover: int) -> bool:
    with suppress(Said):
        site.act("close", failover=failover)
    return site.state(failover) == "closed"


def _on_cluster(site: Site, failover: int) -> str:
    sql = "SELECT r.relationship_id FROM fleet_relationship r JOIN failovers_failover f ON f.relationship_id = r.id"
    return str(site.query(f"{sql} WHERE f.id = ?", failover)[0]["relationship_id"])


@pytest.mark.row("F11")
@ENGINES
def test_a_sender_killed_while_it_waits_for_the_answer_is_followed_by_readings(desk, engine):
    site = desk(1, engine)
    site.fault(faults.no_answer(path="/make-writable"), "dr-000")
    worker = site.worker(TIME_SCALE="1")  # nobody else comes round if it misses its window
    failover = site.approved(*paths(site.world))
    wait_for("make-writable", lambda: site.posts)
    site.stop(worker, signal.SIGKILL)
    assert site.state(failover) == "sent"
    site.sweep()
    _all_succeed(site, [failover])
    assert site.failover(failover)["outcome"] == "inferred"


@pytest.mark.row("F12")
@ENGINES
def test_whoever_is_killed_after_the_answer_is_followed_by_readings(desk, engine):
    """The sender before and after it has written the answer down, and watchers on each step to success."""
    site = desk(7, engine)
    worker = site.worker(CRASH_AT="send.after_answer")
    first, *others = paths(site.world)
    failovers = [site.approved(first)]
    assert _struck(site, worker, failovers[0]) == KILLED
    failovers += [site.approved(path) for path in others]  # nobody is there who could have begun one of them
    killed_at = {"send.after_answer": "sent", "revert.changed": "sent", "send.after_record": "reverting"}
    killed_at |= {"watch.after_read": "reverting", "watch.before_success": "reverting"}
    killed_at |= {"succeed.changed": "reverting", "watch.after_success": "succeeded"}
    for failover, place in zip(failovers[1:], list(killed_at)[1:], strict=True):
        assert site.act("die", at=place, doing="execute", failover=failover) == KILLED
    assert [site.state(failover) for failover in failovers] == list(killed_at.values())
    site.sweep()
    _all_succeed(site, failovers)
    outcomes = [site.failover(failover)["outcome"] for failover in failovers]
    assert outcomes == ["inferred", "inferred", *["confirmed"] * 5]


@pytest.mark.row("F13")
def test_everything_is_killed_at_once_and_goes_on_after_the_start(desk, browse):
    """One failover is asked for, one approved while its cluster is away, one on the cluster."""
    site = desk(3)
    reverts = list(site.world.relationships.values())[1]
    reverts.revert_takes = 7200  # until it is told to be done
    processes = [site.web(), site.worker("send"), site.worker("observe"), site.sweep(), site.relay()]
    asked = site.asked("dr-000:/dr/0000")
    on_the_cluster = site.approved("dr-000:/dr/0001")
    site.see(on_the_cluster, "reverting")
    later = site.asked("dr-000:/dr/0002")
    site.proxies["dr-000"].refuse()
    site.act("approve", request=later["request"])
    assert site._hands is not None
    for process in (*processes, site._hands.child, *[c for c in site.children if "redis" in str(c.args)]):
        site.stop(process, signal.SIGKILL)
    states = [site.state(pk) for pk in (*asked["failovers"], on_the_cluster, *later["failovers"])]
    assert states == ["requested", "reverting", "approved"]

    site.redis()
    for start in (site.web, site.worker, site.sweep, site.relay):
        start()
    site.proxies["dr-000"].listen()
    with site.world.entered():
        assert reverts.work is not None
        reverts.work.begun -= 7200
    number = site.act("number", failover=asked["failovers"][0])
    browse(site, "k.osei").approve(number)
    _all_succeed(site, [*asked["failovers"], on_the_cluster, *later["failovers"]])


@pytest.mark.row("F14")
def test_a_sender_that_is_stopped_after_the_intent_sends_if_it_wakes_within_the_window(desk):
    site = desk()
    worker = site.worker(CRASH_AT="send.after_intent:1:STOP", TIME_SCALE="1")
    asked = site.asked(*paths(site.world))
    began = time.monotonic()  # the window begins after this
    site.act("approve", request=asked["request"])
    (failover,) = asked["failovers"]
    wait_for("the stop", lambda: is_stopped(worker))
    worker.send_signal(signal.SIGCONT)
    wait_for("an end of the sending", lambda: site.posts or site.state(failover) == "approved")
    took = time.monotonic() - began
    site.sweep()
    _all_succeed(site, [failover])
    assert "failover.notsent" not in site.tags(failover) or took > STANDARD.go.total_seconds()


@pytest.mark.row("F14")
def test_a_sender_that_wakes_after_its_window_sends_nothing_and_gives_the_turn_back(desk):
    site = desk()
    worker = site.worker(CRASH_AT="send.after_intent:1:STOP")
    failover = site.approved(*paths(site.world))
    wait_for("the stop", lambda: is_stopped(worker))
    over = time.clock_gettime(time.CLOCK_BOOTTIME) + STANDARD.go.total_seconds() * UNHURRIED
    wait_for("the end of the window", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > over)
    assert (site.posts, site.state(failover)) == ([], "sent")
    worker.send_signal(signal.SIGCONT)
    site.see(failover, "approved")
    assert site.posts == []
    site.sweep()
    _all_succeed(site, [failover])
    assert "failover.notsent" in site.tags(failover)
