"""Anything at any moment: rounds of people, kills, freezes, cuts and bad answers, and the auditor after each.

By hand, for longer, with another seed or on the other engine: `make chaos ROUNDS=300 SEED=7`.
"""

from __future__ import annotations

import pytest

from tests.chaos import rounds

ROUNDS = 20


@pytest.mark.row("F45")
@pytest.mark.parametrize("seed", ["twenty"])
def test_whatever_happens_the_clusters_the_database_and_the_ledger_agree_after_every_round(make_site, seed):
    site = make_site(world=rounds.world(seed), scale=rounds.SCALE)
    lines = [f"seed {seed}"]
    assert rounds.play(rounds.Run(site, seed, lines.append), 1, ROUNDS), "\n".join(lines)
