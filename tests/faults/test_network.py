"""What the network, and what is at its other end, do to a request."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import httpx
import pytest

from dashboard.simulator import Relationship, faults, serve
from dashboard.simulator.faults import Sees
from tests.bench.browser import Browser
from tests.chaos.nemesis import by_hand
from tests.faults.auditor import audit
from tests.faults.proxy import Proxy
from tests.faults.site import ROOT, Said, Site, wait_for
from tests.faults.worlds import quick


def _no_namespace() -> str:
    """Why there can be no network of its own here, or ""."""
    missing = [name for name in ("unshare", "ip", "nft") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        return f"a network namespace needs root, unshare, ip and nft (missing: {', '.join(missing) or 'root'})"
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, text=True)
    return tried.stderr.strip()


@pytest.mark.row("F15")
def test_what_the_network_swallowed_does_not_arrive_after_the_senders_death(tmp_path, ground):
    if why := _no_namespace():
        pytest.skip(why)
    command = ["unshare", "--net", sys.executable, "-m", "tests.faults.blackhole", str(tmp_path), str(ground)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.stdout.endswith("no late make-writable; the control's came\n"), done.stdout + done.stderr


# ── Refusals, and every way in which an answer can get lost ──


@pytest.fixture
def desk(make_site) -> Callable[..., Site]:
    """A desk with so many clusters, one relationship on each. Nobody drives but who is asked to."""

    def make(clusters: int = 1, *, scale: float = 0.1, revert: float = 0.3) -> Site:
        return make_site(world=quick(clusters=clusters, revert=revert), scale=scale)

    return make


def _drive(site: Site, failover: int, *states: str, by: Callable[..., Any] | None = None) -> None:
    """Step by step, until it is in one of these states. `by`: hands with other times than the site's."""
    act = by or site.act

    def there() -> bool:
        act("execute", failover=failover)
        return site.state(failover) in states

    wait_for(f"failover {failover} {states}", there)


def _closed(site: Site, failover: int, **how: str) -> bool:
    with suppress(Said):
        site.act("close", failover=failover, **how)
    return site.state(failover) == "closed"


def _it(site: Site, number: int = 0) -> Relationship:
    return list(site.world.relationships.values())[number]


def _answer(site: Site, failover: int) -> Any:
    """What the sender wrote down; None while it waits."""
    return site.failover(failover)["answer"]


def _posts_of(site: Site, it: Relationship) -> list[Any]:
    return [post for post in site.posts if post.path.split("/")[-2] == it.id and post.user != "admin"]


@pytest.mark.row("F31")
def test_a_cluster_that_refuses_connections_is_tried_until_it_is_back_and_then_sent_to_once(desk):
    site = desk()
    proxy = site.proxies["dr-000"]
    failover = site.approved("dr-000:/dr/0000")

    proxy.refuse()  # at the re-check
    site.act("execute", failover=failover)
    assert (site.state(failover), site.failover(failover)["attempts"]) == ("approved", 0)
    proxy.listen()

    def refused_at_the_sending() -> bool:
        """Between the re-check and the first byte: the connection is cut, and no other comes about."""
        proxy.listen()
        sender = site.stopped_at("send.after_intent", failover)
        proxy.refuse()
        sender.child.send_signal(signal.SIGCONT)
        sender.finish()
        return "failover.notsent" in site.tags(failover)

    wait_for("a refusal at the sending", refused_at_the_sending)
    assert (site.state(failover), site.posts) == ("approved", [])
    attempts = site.failover(failover)["attempts"]
    site.sweep()
    failed = "SELECT id FROM fleet_observation WHERE words LIKE 'unreachable%'"
    seen = len(site.query(failed))
    wait_for("more refusals", lambda: len(site.query(failed)) > seen + 1)
    assert (site.state(failover), site.failover(failover)["attempts"]) == ("approved", attempts)
    proxy.listen()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


ENDINGS: dict[str, Callable[..., faults.Fault]] = {
    "RST": faults.reset,
    "FIN": lambda *, applied, path: faults.lost_answer(path=path) if applied else faults.lost_request(path=path),
    "timeout": faults.no_answer,
    "garbage": faults.not_http,
    "half a body": faults.half_body,
    "502 of a machine in between": faults.html,
    "500": partial(faults.error, 500),
}
SEES = {
    "RST": Sees.RESET,
    "FIN": Sees.CUT,
    "timeout": Sees.NOTHING,
    "garbage": Sees.NOT_HTTP,
    "half a body": Sees.HALF_BODY,
}
MAKE_WRITABLE: dict[str, Any] = {"path": "/make-writable"}


def _cases() -> dict[str, faults.Fault]:
    """What happens to the answer, and whether the cluster carries the request out: at once, never, or later."""
    cases = {}
    for name, make in ENDINGS.items():
        cases[f"{name}, applied"] = make(applied=True, **MAKE_WRITABLE)
        cases[f"{name}, not applied"] = make(applied=False, **MAKE_WRITABLE)
    for name, sees in SEES.items():
        cases[f"{name}, applied later"] = faults.late(1.5, sees=sees, **MAKE_WRITABLE)
    return cases


CUT_ON_THE_WAY: dict[str, Callable[[Proxy], object]] = {
    "RST on the way": lambda proxy: proxy.drop(reset=True),
    "FIN on the way": Proxy.drop,
    "timeout on the way": lambda proxy: proxy.fail(hold_back=True),
    "garbage on the way": lambda proxy: proxy.fail(garble_back=True),
}
"""The cluster has applied it, and what it answers is held on the way; then this happens to the connection."""


@pytest.mark.row("F32", "F33")
def test_however_the_answer_is_lost_it_is_never_sent_again_and_readings_decide(desk):
    cases = _cases()
    assert len(cases) == 15 + 4
    site = desk(len(cases) + len(CUT_ON_THE_WAY))
    site.redis()
    site.worker()
    site.sweep()
    failovers: dict[str, int] = {}
    for number, name in enumerate([*cases, *CUT_ON_THE_WAY]):
        cluster, came = f"dr-{number:03d}", partial(_posts_of, site, _it(site, number))
        proxy = site.proxies[cluster]
        if name in cases:
            site.fault(cases[name], cluster)
        else:
            proxy.fail(hold_back_when=came)
        failovers[name] = site.approved(f"{cluster}:/dr/0000")
        wait_for(f"the make-writable of {name!r}", came)
        if name in CUT_ON_THE_WAY:
            CUT_ON_THE_WAY[name](proxy)
            wait_for(f"{name!r} in doubt", partial(_answer, site, failovers[name]))
            proxy.heal()
    for name, failover in failovers.items():
        if "not applied" in name:
            wait_for(f"{name!r} in doubt", partial(_answer, site, failover))
            assert site.state(failover) == "sent", name
        else:
            ended = site.see(failover, "succeeded")
            assert ended["outcome"] == "inferred", name  # by what the cluster reports, not by what it answered
    for name, failover in failovers.items():
        if "not applied" in name:
            wait_for(f"the closing of {name!r}", partial(_closed, site, failover))
    assert [len(_posts_of(site, it)) for it in site.world.relationships.values()] == [1] * len(failovers)
    audit(site)


@pytest.mark.row("F34")
@pytest.mark.parametrize(("status", "error_class"), [(409, "replication_relationship_wrong_state_error"), (400, "x_y")])
def test_a_clusters_refusal_ends_it_in_its_own_words_and_nothing_is_tried_again(desk, status, error_class):
    site = desk()
    site.fault(faults.refusal(status, error_class, "Not while the moon is full.", **MAKE_WRITABLE), "dr-000")
    failover = site.approved("dr-000:/dr/0000")
    _drive(site, failover, "refused")
    assert "Not while the moon is full." in site.failover(failover)["outcome_words"]
    for _ in range(3):
        site.act("execute", failover=failover)
    assert [post.applied_at for post in site.posts] == [None]
    audit(site)


# ── The cluster goes its own way ──


@pytest.mark.row("F35")
def test_a_revert_that_takes_hours_without_progress_stays_what_it_is_until_it_is_done(desk):
    site = desk(scale=0.05, revert=7200)
    it = _it(site)
    it.revert_shows_progress = False
    failover = site.approved("dr-000:/dr/0000")
    _drive(site, failover, "reverting", by=site.hands(TIME_SCALE="1"))  # with time to send and to hear the answer
    settled = "It may still arrive"
    while "It may still arrive" in settled:  # for longer than anything could be on its way
        site.act("execute", failover=failover)
        settled = str(_refusal(site, failover, "other", "It takes too long for my liking."))
    assert settled == "The revert runs. There is nothing to close."
    assert "The revert runs" in str(_refusal(site, failover, "not_applied"))
    assert (site.state(failover), len(site.posts)) == ("reverting", 1)
    _hours_pass(site, it)
    _drive(site, failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


def _hours_pass(site: Site, it: Relationship) -> None:
    """For what the relationship does just now."""
    with site.world.entered():
        assert it.work is not None
        it.work.begun -= 7200


def _refusal(site: Site, failover: int, outcome: str, reason: str = "") -> Said:
    with pytest.raises(Said) as refused:
        site.act("close", failover=failover, outcome=outcome, reason=reason)
    return refused.value


@pytest.mark.row("F36")
def test_what_somebody_else_made_writable_meanwhile_is_not_sent(desk):
    site = desk(2)
    during, after = (site.approved(f"dr-00{n}:/dr/0000") for n in (0, 1))
    _it(site, 0).revert_takes = 7200
    by_hand(site, _it(site, 0), "make-writable")
    by_hand(site, _it(site, 1), "make-writable")
    wait_for("the end of the revert", lambda: _it(site, 1).status()["state"] == "DISCONNECTED")
    for failover in (during, after):
        _drive(site, failover, "stopped")
        assert site.failover(failover)["outcome_words"].endswith("Nothing was sent.")
    assert "Somebody else" in site.failover(during)["outcome_words"]
    assert [post.user for post in site.posts] == ["admin", "admin"]
    audit(site)


@pytest.mark.row("F37")
def test_a_reconnection_during_the_revert_is_not_success_and_calls_a_person(desk):
    site = desk(scale=0.05, revert=0.1)
    it = _it(site)
    it.reconnect_takes = 7200
    failover = site.approved("dr-000:/dr/0000")
    _drive(site, failover, "reverting", by=site.hands(TIME_SCALE="1"))  # with time to send and to hear the answer
    wait_for("the end of the revert", lambda: it.status()["state"] == "DISCONNECTED")
    by_hand(site, it, "reconnect")  # before anybody has read what it was

    def read() -> bool:
        site.act("execute", failover=failover)
        return "failover.outside" in site.tags(failover)

    wait_for("the reading", read)
    assert site.state(failover) == "reverting"
    assert "failover.disconnected" not in site.tags(failover)
    _hours_pass(site, it)
    why = {"outcome": "other", "reason": "The other site reconnected it by hand."}

    def closed() -> bool:
        site.act("execute", failover=failover)
        return _closed(site, failover, **why)

    wait_for("the closing", closed)
    assert len(site.posts) == 1
    audit(site)


@pytest.mark.row("F38")
@pytest.mark.parametrize("trusted", [True, False], ids=["certificate of the same authority", "certificate of its own"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_another_cluster_behind_the_address_gets_neither_request_nor_token(desk, trusted, when):
    site = desk(2)
    proxy = site.proxies["dr-000"]
    with ExitStack() as stack:
        impostor = site.world.clusters["dr-001"]
        upstream = site.proxies["dr-001"].upstream
        if not trusted:
            impostor = quick().clusters["dr-000"]
            upstream = stack.enter_context(serve(impostor)).port
        failover = site.approved("dr-000:/dr/0000")
        known = len(impostor.log)
        if when == "between":
            sender = site.stopped_at("send.after_intent", failover)
            proxy.redirect(upstream)
            sender.child.send_signal(signal.SIGCONT)
            sender.finish()
            assert "failover.notsent" in site.tags(failover)
        proxy.redirect(upstream)
        if trusted:
            _drive(site, failover, "stopped")
            assert "answers another cluster" in site.failover(failover)["outcome_words"]
        else:
            refused = "SELECT id FROM fleet_observation WHERE words LIKE ?"

            def read() -> bool:
                site.act("execute", failover=failover)
                return bool(site.query(refused, "%is not trusted%"))

            wait_for("the handshake", read)
            assert site.state(failover) == "approved"
            assert len(impostor.log) == known  # not one request
            site.act("cancel", request=site.failover(failover)["request_id"])
        assert not any(entry.bearer for entry in impostor.log[known:])
        assert site.posts == []
        audit(site)


# ── Many at once ──


class Poller(threading.Thread):
    """A browser that looks at a page again and again, until it is told to stop."""

    def __init__(self, browser: Browser, paths: list[str], over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.browser, self.paths, self.over = browser, paths, over
        self.answers: list[str] = []

    def run(self) -> None:
        for path in itertools.cycle(self.paths):
            if self.over.is_set():
                return
            self.look(path)

    def look(self, path: str) -> None:
        try:
            self.answers.append(f"{self.browser.http.get(path).status_code} {path}")
        except httpx.HTTPError as error:
            self.answers.append(f"{type(error).__name__} {path}")


@pytest.mark.row("F41", "F42")
def test_dead_and_slow_clusters_delay_no_other_and_browsers_that_look_on_cause_no_call(desk, browse):
    site = desk(12)
    dead, slow, healthy = range(3), range(3, 5), range(5, 12)
    for number in slow:
        site.fault(faults.slow_before(0.5, count=None), f"dr-{number:03d}")
    for number in dead:
        site.fault(faults.no_answer(path="/make-writable"), f"dr-{number:03d}")
    site.web()
    site.redis()
    site.worker(TIME_SCALE="3")  # waits two minutes for the answer to a make-writable
    observer = site.worker("observe")
    first = site.asked(*(f"dr-{number:03d}:/dr/0000" for number in dead))
    rest = site.asked(*(f"dr-{number:03d}:/dr/0000" for number in (*slow, *healthy)))
    osei, over = browse(site, "k.osei"), threading.Event()
    pages = ["/live/", "/approvals/live/", f"/failovers/{first['number']}/live/", f"/failovers/{rest['number']}/live/"]
    pollers = [Poller(osei, pages[n % 4 :] + pages[: n % 4], over) for n in range(16)]
    for poller in pollers:
        poller.start()

    osei.approve(first["number"])
    for number in dead:
        wait_for("its make-writable", partial(_posts_of, site, _it(site, number)))
        site.proxies[f"dr-{number:03d}"].fail(hold_to=True, hold_back=True)
    sweep = site.sweep()
    osei.approve(rest["number"])
    # What was asked for in second place is done; those before it still wait for their first answer.
    ended = dict(zip((*slow, *healthy), rest["failovers"], strict=True))
    for number in healthy:
        site.see(ended[number], "succeeded")
    assert [site.failover(pk)["answer"] for pk in first["failovers"]] == [None] * len(dead)
    assert {site.state(pk) for pk in first["failovers"]} == {"sent"}

    for number in dead:
        site.world.clusters[f"dr-{number:03d}"].faults.clear()
        site.proxies[f"dr-{number:03d}"].heal()
    for failover in (*first["failovers"], *rest["failovers"]):
        site.see(failover, "succeeded")
    over.set()
    for poller in pollers:
        poller.join(60)
    answers = [answer for poller in pollers for answer in poller.answers]
    assert {answer[:2] for answer in answers} == {"20"}, Counter(answers)
    assert len(site.posts) == 12

    for driver in (sweep, observer):
        site.stop(driver)  # after what is under way: of one that is killed, a request may still arrive
    asked = [len(cluster.log) for cluster in site.world.clusters.values()]
    alone = Poller(osei, pages, over)
    for page in [*pages, "/", "/approvals/", f"/failovers/{rest['number']}/"]:
        alone.look(page)
    assert {answer[:2] for answer in alone.answers} == {"20"}, alone.answers
    assert [len(cluster.log) for cluster in site.world.clusters.values()] == asked
    audit(site)
