"""SIGKILL at every step, to the process that is at that step; then everything comes back and goes on."""

from __future__ import annotations

import signal

import pytest

from tests.faults.auditor import audit
from tests.faults.site import Said, Site, wait_for

KILLED = -signal.SIGKILL
ENGINES = pytest.mark.parametrize("engine", ["sqlite", "postgres"])


@pytest.fixture
def site(make_site, request):
    made = make_site(engine=request.node.callspec.params.get("engine", "sqlite"), scale=0.05)
    made.redis()
    return made


def _agree(site: Site, failover: int) -> None:
    site.see(failover, "succeeded")
    assert len(site.posts) == 1
    audit(site)


@pytest.mark.row("F9")
@ENGINES
@pytest.mark.parametrize("point", ["send.before_read", "send.after_read", "send.before_intent", "send.in_intent"])
def test_a_sender_killed_before_the_intent_leaves_it_to_the_sweep(site, point, engine):
    worker = site.worker(CRASH_AT=point)
    failover = site.approved()
    assert worker.wait(30) == KILLED
    assert (site.posts, site.state(failover)) == ([], "approved")
    site.sweep()
    _agree(site, failover)


@pytest.mark.row("F10")
@ENGINES
def test_a_sender_killed_between_the_intent_and_the_first_byte_calls_a_person(site, engine):
    """Nobody can know that nothing left: it is never sent again, and a person closes it after the settle window."""
    worker = site.worker(CRASH_AT="send.after_intent")
    failover = site.approved()
    assert worker.wait(30) == KILLED
    site.sweep()
    with pytest.raises(Said, match="It may still arrive"):
        site.act("close", failover=failover)
    wait_for("the end of the settle window", lambda: _closed(site, failover))
    assert site.posts == []
    audit(site)
    again = site.asked()
    site.act("approve", request=again["request"])
    _agree(site, again["failovers"][0])


def _closed(site: Site, failover: int) -> bool:
    try:
        site.act("close", failover=failover)
    except Said:
        return False
    return True
