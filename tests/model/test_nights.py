"""Nights that once went wrong, as they happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dashboard.failovers import crashpoints
from dashboard.failovers.lifecycle import State
from tests.model.invariants import Auditor
from tests.model.night import Night
from tests.model.play import stage


def _first(options: Any) -> Any:
    return options[0]


@pytest.fixture
def night(a_connection: None) -> Iterator[Night]:
    """One person approves here."""
    with stage() as clock:
        made = Night(clock, _first, [])
        crashpoints.listen(Auditor(made).reached)
        yield made
        made.end()


def _until(night: Night, driver: Any, place: str = "its end") -> None:
    while not driver.dead and driver.at != place:
        night.go_on(driver)


def test_two_readings_are_two_seconds_apart_however_long_the_first_has_taken(night):
    asked = night.request("rivera", night.rows[:1])
    night.approve("lind", asked)
    failover = asked.failovers.get()
    _until(night, night.start(failover.pk))
    night.tick(10)
    slow = night.start(failover.pk)
    _until(night, slow, "between node and status")
    night.tick(6)
    _until(night, slow)
    _until(night, night.start(failover.pk))  # it begins where the first has only just ended
    failover.refresh_from_db()
    assert failover.state == State.REVERTING
    night.tick(3)
    _until(night, night.start(failover.pk))
    failover.refresh_from_db()
    assert failover.state == State.SUCCEEDED
