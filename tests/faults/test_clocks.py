"""Clocks leap by hours: of the machines that the desk runs on, and of its database.

The clocks are those of libfaketime. What counts time (CLOCK_MONOTONIC, CLOCK_BOOTTIME) does not leap with them, as it
does not on a real machine.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults import auditor
from tests.faults.auditor import audit
from tests.faults.conftest import prepared
from tests.faults.site import Site, own_database
from tests.faults.worlds import paths, quick
from tests.postgres import PostgresMissing, running_server

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")


TWO_HOURS = timedelta(hours=2)


class Clock:
    """`env` gives a process this clock; `leap` sets it, while the process runs, so far from the real one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.env = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.leap(timedelta())

    def leap(self, by: timedelta) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{by.total_seconds():+.0f}\n")
        new.chmod(0o644)
        new.replace(self._file)  # whole: it may be read at any moment


@pytest.mark.row("F39")
def test_drivers_whose_clocks_are_hours_apart_send_once_by_the_clock_of_the_database(make_site, tmp_path):
    """A bell rung now is too old for a worker two hours ahead: the sweep, two hours behind, finds the row."""
    site = make_site(engine="postgres", world=quick(2), scale=0.3)
    site.redis()
    ahead, behind = Clock(tmp_path / "ahead"), Clock(tmp_path / "behind")
    ahead.leap(TWO_HOURS)
    behind.leap(-TWO_HOURS)
    site.worker(**ahead.env)
    site.sweep(**behind.env)
    failovers = [site.approved(path) for path in paths(site.world)]
    for failover in failovers:
        site.see(failover, "succeeded")
    assert len(site.posts) == 2
    stamps = [entry["at"] for entry in site.query("SELECT at FROM audit_entry")]
    assert max(abs(datetime.now(UTC) - stamp) for stamp in stamps) < TWO_HOURS / 2
    audit(site)


@pytest.mark.row("F39")
@pytest.mark.parametrize("by", [TWO_HOURS, -TWO_HOURS], ids=["forward", "back"])
def test_a_leap_of_the_senders_clock_between_approval_and_intent_sends_once(make_site, tmp_path, monkeypatch, by):
    """SQLite has no clock but that of the process that asks. Too old by its own clock, the sender sends nothing."""
    monkeypatch.setattr(auditor, "SKEW", TWO_HOURS.total_seconds() + auditor.SKEW)
    site = make_site(world=quick(), scale=0.3)
    failover = site.approved(*paths(site.world))
    clock = Clock(tmp_path / "clock")
    _leap_of(clock, by, site, failover, at="send.before_intent", **clock.env)
    assert by < timedelta() or site.posts == []
    site.redis()
    site.worker()
    site.sweep()
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """Of the machine of a PostgreSQL. (A folder of pytest is closed to the account that PostgreSQL runs as.)"""
    with tempfile.TemporaryDirectory(prefix="desk-clock-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Clock(Path(folder) / "clock")


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[tuple[str, str]]:
    """URL of a PostgreSQL with that clock, and a database to copy."""
    try:
        with running_server(env=clock.env) as running:
            yield running.url, prepared(running.url)
    except PostgresMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def desk(make_site: Callable[..., Site], server: tuple[str, str], clock: Clock) -> Iterator[Site]:
    url, template = server
    yield make_site(database=own_database(url, template=template), world=quick(), scale=0.3)
    clock.leap(timedelta())


@pytest.mark.row("F39")
def test_a_leap_forward_of_the_databases_clock_before_the_intent_lets_the_approval_expire(desk, clock):
    """The deadline is the database's, also when that is wrong: people are asked again."""
    failover = desk.approved(*paths(desk.world))
    _leap_of(clock, TWO_HOURS, desk, failover, at="send.before_intent")
    assert (desk.posts, desk.state(failover)) == ([], "approved")
    desk.sweep()
    desk.see(failover, "expired")
    assert desk.posts == []
    audit(desk)


@pytest.mark.row("F39")
@pytest.mark.parametrize("by", [TWO_HOURS, -TWO_HOURS], ids=["forward", "back"])
def test_a_leap_of_the_databases_clock_after_the_intent_sends_once(desk, clock, monkeypatch, by):
    """The window to send in is counted by no clock. After a leap back, watching goes on when it is time again."""
    monkeypatch.setattr(auditor, "SKEW", TWO_HOURS.total_seconds() + auditor.SKEW)
    failover = desk.approved(*paths(desk.world))
    _leap_of(clock, by, desk, failover, at="send.after_intent")
    desk.redis()
    desk.worker()
    desk.sweep()
    desk.act("ring", failover=failover, times=20)
    clock.leap(max(by, timedelta()))
    desk.see(failover, "succeeded")
    assert len(desk.posts) == 1
    audit(desk)


def _leap_of(clock: Clock, by: timedelta, site: Site, failover: int, *, at: str, **env: str) -> None:
    """A sender takes its step; while it stands at this place, the clock leaps."""
    sender = site.stopped_at(at, failover, TIME_SCALE="2", **env)  # a window that is long enough for this
    clock.leap(by)
    sender.child.send_signal(signal.SIGCONT)
    sender.finish()
