"""The broker dies, freezes, forgets, fills up or says everything twenty times: the database is the queue."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import pytest
import redis

from tests.faults.auditor import audit
from tests.faults.site import Site, wait_for
from tests.faults.worlds import UNHURRIED, paths, quick

QUEUE = "failover-desk:send"


def _broker(site: Site) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(site.socket))


def _all_succeed(site: Site, failovers: list[int]) -> None:
    """With one make-writable for each."""
    for failover in failovers:
        site.see(failover, "succeeded", patience=180)
    assert len(site.posts) == len(failovers)


def _worker_takes_bells(site: Site, path: str) -> None:
    """Without the sweep nobody else would send. All that waited in the queue before is taken by then, too. It is rung
    for until then: a bell may be lost with a broker that has just died, and a window to send in may be missed."""
    failover = site.approved(path)

    def sent() -> bool:
        site.act("ring", failover=failover)
        return site.state(failover) in ("reverting", "succeeded")

    wait_for("the sending", sent)


# What becomes of a broker that runs, before somebody clicks.
def _dead(site: Site) -> None:
    site.stop(site.redis(), signal.SIGKILL)


def _full(site: Site) -> None:
    site.redis("--maxmemory", "1mb")
    with _broker(site) as broker, pytest.raises(redis.exceptions.OutOfMemoryError):
        broker.rpush(QUEUE, "x")


@pytest.mark.parametrize(
    "befalls",
    [
        pytest.param(_dead, marks=pytest.mark.row("F3"), id="dead"),
        pytest.param(_full, marks=pytest.mark.row("F7"), id="full"),
    ],
)
def test_without_a_broker_people_sign_in_and_approve_and_the_sweep_sends(make_site, browse, befalls):
    site = make_site(world=quick(), scale=UNHURRIED)
    site.web()
    befalls(site)
    (failover,) = site.asked(*paths(site.world))["failovers"]
    browse(site, "k.osei").approve(site.act("number", failover=failover))
    assert site.state(failover) == "approved"
    wait_for("the line in the log", lambda: f"The bell for failover {failover} was not heard" in _web_log(site))
    site.sweep()
    _all_succeed(site, [failover])
    audit(site)


def _web_log(site: Site) -> str:
    return (site.folder / "web.log").read_text()


@pytest.mark.row("F4")
def test_fifty_approvals_are_answered_and_sent_while_the_broker_is_frozen(make_site, browse):
    """It stands still through all of it, so whoever waited for it would wait for ever: the clicks, the web process on
    its way out, or the sweep. Then it goes on, with what had reached it, and nothing is sent twice."""
    site = make_site(world=quick(11, clusters=5), scale=UNHURRIED)
    everything = paths(site.world)
    broker, web = site.redis(), site.web()
    asked = [site.asked(path)["failovers"][0] for path in everything[:50]]
    numbers = [site.act("number", failover=failover) for failover in asked]
    broker.send_signal(signal.SIGSTOP)
    sweep = site.sweep()
    approver = browse(site, "k.osei")
    for number in numbers:
        approver.approve(number)
    assert _web_log(site).count("was not heard") < 50  # of so many bells it found out before it had answered the last
    _all_succeed(site, asked)
    site.stop(web)
    assert web.returncode == 0  # by itself, and not because somebody lost patience
    audit(site)

    site.stop(sweep)
    broker.send_signal(signal.SIGCONT)
    site.worker()
    _worker_takes_bells(site, everything[50])
    assert len(site.posts) == 51
    audit(site, ended=False)


@pytest.mark.row("F5")
def test_two_hundred_failovers_are_done_after_the_broker_forgot_every_bell(make_site):
    site = make_site(world=quick(5, clusters=40), scale=UNHURRIED)
    site.redis()
    asked = site.asked(*paths(site.world))
    site.act("approve", request=asked["request"])
    site.act("hush")
    with _broker(site) as broker:
        _wait_for_bells(site, broker, 200, asked["failovers"][0])
        broker.flushall()
    site.worker()
    site.sweep()
    _all_succeed(site, asked["failovers"])
    audit(site)


@pytest.mark.row("F6")
def test_two_hundred_failovers_are_done_while_the_broker_dies_ten_times(make_site):
    site = make_site(world=quick(6, clusters=40), scale=UNHURRIED)
    everything = paths(site.world)
    most = [path for at, path in enumerate(everything) if at % 6]
    broker = site.redis()
    site.worker()
    sweep = site.sweep()
    asked = site.asked(*most)
    site.act("approve", request=asked["request"])
    for deaths in range(1, 11):
        wait_for(f"{19 * deaths} sent", partial(_sent, site, 19 * deaths), 180)
        site.stop(broker, signal.SIGKILL)
        broker = site.redis()
    _all_succeed(site, asked["failovers"])
    audit(site)
    site.stop(sweep)
    _worker_takes_bells(site, everything[0])
    assert len(site.posts) == 201


def _wait_for_bells(site: Site, broker: redis.Redis, least: int, failover: int) -> None:
    """In the queue. One that was not heard took those behind it along: others are rung in their place."""
    wait_for("the bells", lambda: broker.llen(QUEUE) >= least or site.act("ring", failover=failover))


def _sent(site: Site, least: int) -> bool:
    return len(site.posts) >= least


@pytest.mark.row("F8")
def test_a_bell_that_rings_twenty_times_sends_once(make_site):
    """All of them wait when two workers with eight threads each begin."""
    site = make_site(world=quick(), scale=UNHURRIED)
    site.redis()
    failover = site.approved(*paths(site.world))
    site.act("ring", failover=failover, times=20)
    with _broker(site) as broker:
        _wait_for_bells(site, broker, 20, failover)
        site.worker(), site.worker()
        wait_for("the last bell", lambda: broker.llen(QUEUE) == 0)
    site.sweep()
    _all_succeed(site, [failover])
    audit(site)


def test_a_worker_runs_with_the_settings_that_a_doorbell_needs(make_site):
    """As it says itself: what the settings promise is worth nothing when a command line or a default overrules it."""
    site = make_site()
    site.redis()
    site.worker()
    (conf,) = wait_for("an answer", lambda: site.act("ask_workers", what="conf")).values()
    assert {name: conf[name] for name in DOORBELL} == DOORBELL
    transport = conf["broker_transport_options"]
    assert transport["visibility_timeout"] == 3600
    assert transport["health_check_interval"] == 10
    assert transport["socket_timeout"] > 1  # for so long it asks for a message at a time
    assert transport["max_retries"] == 1
    assert not {name for name in ("task_time_limit", "task_soft_time_limit") if conf.get(name)}
    (stats,) = wait_for("an answer", lambda: site.act("ask_workers", what="stats")).values()
    assert stats["pool"]["implementation"] == "celery.concurrency.thread:TaskPool"
    with _broker(site) as broker:
        keys = list(broker.scan_iter())
    assert keys
    assert all(key.startswith(b"failover-desk:") for key in keys)


DOORBELL: dict[str, Any] = {
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "task_ignore_result": True,
    "result_backend": None,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_publish_retry": False,
    "accept_content": ["json"],
}
