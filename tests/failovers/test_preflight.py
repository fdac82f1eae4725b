"""The one list of checks: each line of the table, with its verdict and its words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dashboard.failovers.preflight import Source, Verdict, blocks, judge
from dashboard.failovers.reading import facts
from tests.failovers.build import HEALTHY, NOW, item, situation, status


def _line(subject: str, s=None, **changes):
    found = [check for check in judge(s or situation(**changes)) if check.subject == subject]
    assert found, f"no check on {subject}"
    return found[0]


def test_a_healthy_relationship_is_blocked_by_nothing():
    checks = judge(situation(reported=status(source_root_read_only=True)))
    assert not blocks(checks)
    assert {check.verdict for check in checks} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "DISCONNECTED", "target_root_read_only": False}, "The target is already writable."),
        ({"state": "ESTABLISHED", "target_root_read_only": False}, "The target is already writable."),
        ({"state": "DISCONNECTED"}, "The relationship is already disconnected."),
        ({"state": "DISCONNECTING"}, "A disconnection is already under way."),
        ({"state": "ENDED", "end_reason": "deleted there"}, "The relationship has ended: deleted there."),
        ({"state": "AWAITING_AUTHORIZATION"}, "The relationship is not authorized yet."),
        (
            {"state": "RECONNECTING"},
            "The relationship is being reconnected. Wait until it is established.",
        ),
        (
            {"state": "REESTABLISHING"},
            "The relationship is being re-established. Wait until it is established.",
        ),
        ({"state": "MELTING"}, "dr-west reports a state that is not known here: MELTING."),
    ],
)
def test_every_state_but_established_blocks(changes, words):
    check = _line("state", reported=status(**changes))
    assert (check.verdict, check.words) == (Verdict.BLOCK, words)


def test_no_recovery_point_blocks():
    check = _line("recovery_point", reported=status(recovery_point="", recovery_point_snapshot=None))
    assert check.verdict is Verdict.BLOCK
    assert check.words == "No job has ever succeeded: there is nothing to go back to."


def test_a_snapshot_that_is_being_deleted_blocks():
    snapshot = HEALTHY["recovery_point_snapshot"] | {"in_delete": True}
    check = _line("recovery_point", reported=status(recovery_point_snapshot=snapshot))
    assert check.verdict is Verdict.BLOCK
    assert "Snapshot 48213" in check.detail


def test_a_snapshot_that_expires_soon_warns():
    snapshot = HEALTHY["recovery_point_snapshot"] | {"expiration": "2026-03-14T03:40:00Z"}
    check = _line("recovery_point", reported=status(recovery_point_snapshot=snapshot))
    assert (check.verdict, check.words) == (Verdict.WARN, "The recovery point snapshot expires in 27 min 20 s.")


def test_an_old_recovery_point_warns_and_says_by_how_much():
    check = _line("age", reported=status(recovery_point="2026-03-14T02:42:00Z"))
    assert (check.verdict, check.detail) == (Verdict.WARN, "30 min 40 s against 15 min.")


def test_a_recovery_point_in_the_future_has_no_age():
    check = _line("age", reported=status(recovery_point="2026-03-14T03:20:00Z"))
    assert (check.verdict, check.words) == (Verdict.WARN, "The recovery point lies in the future.")


def test_a_running_job_warns_with_where_it_stands():
    running = status(job_state="REPLICATION_RUNNING", replication_job_status={"percent_complete": 99.7})
    check = _line("job", situation(reported=running, stalled_since=NOW - timedelta(minutes=19)))
    assert check.verdict is Verdict.WARN
    assert check.detail == "It stands at 99 %. It has copied nothing for 19 min. It will not finish."
    assert {fact.key: fact.words for fact in facts(situation(reported=running))}["job"] == "Running, 99 %"


def test_the_error_of_the_last_job_is_shown_with_its_hidden_characters():
    check = _line("last_job", reported=status(error_from_last_job="quota \u202e limit"))
    assert check.verdict is Verdict.WARN
    assert "\\u202e" in check.detail


@pytest.mark.parametrize(
    ("source", "verdict", "words"),
    [
        (Source(), Verdict.SKIP, "dc1-prod is not one of the clusters here."),
        (Source(known=True, answers=True), Verdict.WARN, "The source answers."),
        (Source(known=True, last_read_at=NOW), Verdict.WARN, "The source does not answer."),
    ],
)
def test_the_source_is_judged_by_what_is_known_of_it(source, verdict, words):
    check = _line("source", source=source)
    assert (check.verdict, check.words) == (verdict, words)


def test_a_read_only_source_passes():
    check = _line("source", reported=status(source_root_read_only=True))
    assert check.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answers": False}, "dr-west does not answer."),
        ({"answers": False, "trouble": "shows another certificate"}, "dr-west shows another certificate."),
        ({"status": None}, "dr-west does not answer."),
        ({"other_request": "FO-1007"}, "FO-1007 is open for this relationship."),
        ({"executor": "missing"}, "Failover Desk has no executor token for dr-west."),
        ({"executor": "refused"}, "dr-west refuses the executor token: no failover to it can start."),
        ({"may_request": False}, "You may not request failovers for dr-west."),
        ({"held": "restored from a backup"}, "Nothing is sent: restored from a backup"),
    ],
)
def test_what_stands_around_the_relationship_blocks(changes, words):
    checks = judge(replace(situation(), **changes))
    assert words in [check.words for check in blocks(checks)]


def test_clocks_that_differ_warn_that_the_loss_is_not_known():
    check = _line("clock", clock_ahead=timedelta(hours=2))
    assert (check.verdict, check.words) == (
        Verdict.WARN,
        "The clocks of dr-west and this desk differ by 2 h.",
    )


def test_a_node_that_is_not_active_warns():
    assert _line("node", node_state="PAUSED").verdict is Verdict.WARN


@pytest.mark.parametrize(
    "changed",
    [
        {"source_cluster_uuid": "another"},
        {"target_cluster_uuid": "another"},
        {"source_root_path": "/prod/finance2/"},
        {"target_root_path": "/dr/dc1/finance2/"},
        {"target_root_id": "7"},
        {"id": "another"},
    ],
)
def test_another_identity_than_the_approved_one_blocks(changed):
    check = _line("identity", situation(reported=status(**changed), item=item()))
    assert check.verdict is Verdict.BLOCK
    assert check.words.endswith("changed after the request.")


def test_a_renamed_cluster_is_the_same_cluster():
    checks = judge(situation(reported=status(source_cluster_name="dc1-new", target_cluster_name="west"), item=item()))
    assert "identity" not in {check.subject for check in checks}


def test_the_recovery_point_may_go_forward():
    checks = judge(situation(reported=status(recovery_point="2026-03-14T03:10:00Z"), item=item()))
    assert not blocks(checks)


def test_a_recovery_point_that_went_back_blocks():
    check = _line("identity", situation(reported=status(recovery_point="2026-03-14T02:10:00Z"), item=item()))
    assert check.verdict is Verdict.BLOCK
    assert check.words == "The recovery point went back after the request."


@pytest.mark.parametrize(("stamp", "blocked"), [("03:04:59", True), ("03:05:01", False)])
def test_a_later_job_that_brought_an_older_policy_snapshot_blocks(stamp, blocked):
    snapshot = HEALTHY["recovery_point_snapshot"] | {"timestamp": f"2026-03-14T{stamp}Z"}
    later = status(recovery_point="2026-03-14T03:10:00Z", recovery_point_snapshot=snapshot)
    found = [check.words for check in blocks(judge(situation(reported=later, item=item())))]
    assert found == (["A later job brought an older state than the request saw."] if blocked else [])


def test_the_worst_stands_first():
    checks = judge(situation(reported=status(state="ENDED", replication_enabled=False), other_request="FO-1"))
    verdicts = [check.verdict for check in checks]
    assert verdicts == sorted(verdicts, key=list(Verdict).index)
    assert verdicts[0] is Verdict.BLOCK
