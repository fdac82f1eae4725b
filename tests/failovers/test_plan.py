"""What is approved is exactly what was asked: the digest covers every word of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard.failovers import plan
from dashboard.failovers.policy import Rules, Share
from tests.failovers.build import item


def _text(items=None, **changes) -> str:
    said: dict[str, Any] = {"reason": "dc1 lost power", "ticket": "INC-1", "mode": "unplanned", "rules": Rules()}
    return plan.write(items or [item()], **said | changes)


def test_a_plan_reads_back_as_it_was_written():
    assert plan.read(_text()) == [item()]


def test_the_digest_does_not_depend_on_anything_but_the_text():
    assert plan.digest(_text()) == plan.digest(_text())


@pytest.mark.parametrize(
    "other",
    [
        _text(reason="dc1 lost power."),
        _text(ticket=""),
        _text(rules=Rules(shares=(Share(count=2),))),
        _text(rules=Rules(shares=(Share(group="storage"),))),
        _text(rules=Rules(names=("finance",))),
        _text(rules=Rules(run=timedelta(minutes=16))),
        _text(mode="drill"),
        _text(break_glass=True),
        _text([item(target_root_path="/dr/dc1/finance2/")]),
        _text([item(target_root_id="1")]),
        _text([item(source_cluster_uuid="x")]),
        _text([item(recovery_point="2026-03-14T03:05:00.00023318Z")]),
        _text([item(), item(id="other")]),
    ],
)
def test_any_change_of_what_is_asked_changes_the_digest(other):
    assert plan.digest(other) != plan.digest(_text())


def test_the_order_of_items_is_part_of_the_plan():
    one, two = item(), item(id="other")
    assert plan.digest(_text([one, two])) != plan.digest(_text([two, one]))


def test_loss_counts_from_the_older_of_recovery_point_and_its_snapshot():
    snapshot = {"id": 1, "timestamp": "2026-03-14T02:00:00Z"}
    assert item(recovery_point_snapshot=snapshot).loss_from == "2026-03-14T02:00:00Z"
