"""SQLite is locked by somebody else."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

from tests.bench.browser import Browser
from tests.faults.auditor import audit
from tests.faults.site import Site, wait_for
from tests.faults.worlds import paths, quick

SCALE = 0.3  # the window to send in is then wide enough for a machine under load


@pytest.mark.row("F25")
def test_while_somebody_holds_the_lock_drivers_try_again_and_a_click_is_told_so(make_site, browse):
    site = make_site(world=quick(2), scale=SCALE)
    site.redis()
    short = {"DATABASE_URL": site.env["DATABASE_URL"] + "?timeout=0.5"}  # so that each try ends within a test
    site.web(**short)
    osei = browse(site, "k.osei")
    first, second = paths(site.world)
    failover, asked = site.approved(first), site.asked(second)
    form = osei.form(asked["number"])
    with _locked(site):
        site.worker(**short)
        site.sweep(**short)
        for log in ("worker-send.log", "sweep.log"):
            wait_for(f"{log} to name it", partial(_says, site, log, "database is locked"))
        told = osei.click(asked["number"], form)
        assert told.status_code == 503
        assert "Nothing was changed" in told.text
        assert site.posts == []
    site.see(failover, "succeeded")
    wait_for("the click to be taken", partial(_is_taken, osei, asked["number"], form))
    site.see(asked["failovers"][0], "succeeded")
    assert len(site.posts) == 2
    audit(site)


@pytest.mark.row("F25")
def test_an_answer_that_the_locked_database_does_not_take_is_written_down_when_it_does(make_site):
    site = make_site(world=quick(), scale=SCALE)
    failover = site.approved(*paths(site.world))
    impatient = site.env["DATABASE_URL"] + "?timeout=0.5"
    sender = site.stopped_at("send.after_answer", failover, DATABASE_URL=impatient)
    with _locked(site):
        sender.child.send_signal(signal.SIGCONT)
        wait_for("a try", lambda: "does not take what is known" in dict(site.logs())["hands.log"])
        assert site.state(failover) == "sent"
    sender.finish()
    assert site.failover(failover)["answer"] is not None
    assert site.tags(failover)[-1] == "failover.reverting"
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


def _is_taken(browser: Browser, number: str, form: dict[str, str]) -> bool:
    """The same form again. The drivers write, too, and for the half second of this web server one may hold the lock."""
    status = browser.click(number, form).status_code
    assert status in (303, 503)
    return status == 303


def _says(site: Site, log: str, words: str) -> bool:
    return words in dict(site.logs())[log]


@contextmanager
def _locked(site: Site) -> Iterator[None]:
    """Another process, this one, is in the middle of a transaction."""
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
