"""Approve, reject, cancel, expire and send at the same moment."""

from __future__ import annotations

import json
import os
import random
import sys

import pytest

from dashboard.simulator import World
from tests.faults.auditor import audit

ROUNDS = 500


@pytest.mark.row("F40")
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_whoever_acts_at_once_reaches_what_one_after_the_other_could(make_site, engine):
    seed = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"SEED={seed}")
    site = make_site(engine=engine, world=World())
    # Times are stretched: one reading of each cluster is fresh for the whole run.
    child = site.start("rounds", sys.executable, "-m", "tests.faults.rounds", str(ROUNDS), seed, TIME_SCALE="20")
    ended = child.wait(900)
    log = dict(site.logs())["rounds.log"]
    assert ended == 0, log[-3000:]
    reached = json.loads(log.splitlines()[-1])
    assert sum(reached.values()) == ROUNDS
    # Each way was taken, so that the rounds prove something about each.
    assert {"reverting", "cancelled", "expired", "rejected"} <= reached.keys(), (seed, reached)
    audit(site, ended=False)
