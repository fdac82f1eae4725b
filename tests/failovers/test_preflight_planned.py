"""What a planned failover must also show, line by line, and what a drill says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dashboard.failovers.planned import nothing_lost
from dashboard.failovers.preflight import Source, Verdict, blocks, judge
from dashboard.qumulo.records import parse_source_status
from tests.failovers.build import HEALTHY, NOW, item, situation, status

BLOCK, WARN, PASS, SKIP = Verdict.BLOCK, Verdict.WARN, Verdict.PASS, Verdict.SKIP
AGO = timedelta(minutes=30)
POLICY, BOTH = "REPLICATION_SNAPSHOT_POLICY", "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS"


def _own(**changes):
    says = {
        "id": HEALTHY["id"],
        "source_root_read_only": True,
        "replication_mode": "REPLICATION_CONTINUOUS",
        "queued_snapshot_count": 0,
    }
    return parse_source_status(says | changes)


def _source(**changes):
    values = {
        "known": True,
        "answers": True,
        "last_read_at": NOW,
        "clock_ahead": timedelta(0),
        "status": _own(),
        "read_at": NOW - timedelta(seconds=40),
    }
    return Source(**values | changes)


def _planned(*, source=None, reported=None, **changes):
    """Everything as it must be: the source was first seen read-only half an hour ago, the recovery point is younger."""
    values = {
        "mode": "planned",
        "reported": reported or status(source_root_read_only=True),
        "source": source or _source(),
        "source_read_only_since": NOW - AGO,
        "clock_ahead": timedelta(0),
    }
    return situation(**values | changes)


def _line(subject, s):
    found = [check for check in judge(s) if check.subject == subject]
    assert len(found) == 1, f"{len(found)} checks on {subject}"
    return found[0]


def _carried(stamp="2026-03-14T03:00:00Z", name="replication_from_dc1-prod_hourly"):
    return HEALTHY["recovery_point_snapshot"] | {"name": name, "timestamp": stamp}


def test_a_planned_failover_of_which_all_is_shown_passes_every_check():
    s = _planned()
    assert {check.verdict for check in judge(s)} == {PASS}
    assert nothing_lost(s)


# ── The source ──


@pytest.mark.parametrize(
    ("copy", "source", "verdict", "words", "detail"),
    [
        (
            True,
            _source(),
            PASS,
            "The source is read-only.",
            "dc1-prod says so of dc1-prod:/prod/finance itself, read 40 s",
        ),
        (True, Source(), WARN, "The source is read-only, as dr-west reports it.", "dc1-prod itself has not said so"),
        (True, _source(status=None), WARN, "The source is read-only, as dr-west reports it.", "itself has not said so"),
        (
            True,
            _source(status=_own(source_root_read_only=None)),
            WARN,
            "The source is read-only, as dr-west reports it.",
            "whether clients can write to it again is not known",
        ),
        (
            True,
            _source(read_at=NOW - timedelta(minutes=4)),
            WARN,
            "The source is read-only, as dr-west reports it.",
            "itself has not said so",
        ),
        (
            False,
            _source(),
            BLOCK,
            "The source is not read-only.",
            "dr-west reports dc1-prod:/prod/finance as writable.",
        ),
        (False, Source(), BLOCK, "The source is not read-only.", "dr-west reports"),
        (
            True,
            _source(status=_own(source_root_read_only=False)),
            BLOCK,
            "The source is not read-only.",
            "dc1-prod reports dc1-prod:/prod/finance as writable.",
        ),
        (True, _source(answers=False), BLOCK, "The source does not answer.", "what dr-west says of it is a copy"),
    ],
)
def test_the_source_must_be_read_only_and_it_is_said_who_says_so(copy, source, verdict, words, detail):
    check = _line("source", _planned(source=source, reported=status(source_root_read_only=copy)))
    assert (check.verdict, check.words) == (verdict, words)
    assert detail in check.detail


# ── The recovery point ──


def _since(seconds_before_the_point):
    """The recovery point is 03:05:00.000233."""
    point = status().recovery_point
    assert point is not None
    return point.at - timedelta(seconds=seconds_before_the_point)


@pytest.mark.parametrize(
    ("since", "clocks", "verdict"),
    [
        (3, (0, 0), PASS),
        (2, (0, 0), BLOCK),  # clocks are known to the second
        (0, (0, 0), BLOCK),
        (-60, (0, 0), BLOCK),
        (92, (90, 0), BLOCK),  # on a clock that is ahead the recovery point looks later than it is
        (93, (90, 0), PASS),
        (92, (0, 90), BLOCK),
        (3, (-90, -90), PASS),  # a clock that is behind makes it look earlier: no reason to ask for more
        (2, (-90, -90), BLOCK),
        (120, (None, 0), BLOCK),  # a clock that is not known may be as far ahead as is tolerated
        (121, (None, 0), PASS),
        (120, (0, None), BLOCK),
        (121, (0, None), PASS),
        (1000, (121, 0), BLOCK),
        (1000, (0, -121), BLOCK),
    ],
)
def test_the_recovery_point_must_be_later_than_the_source_was_seen_read_only_by_every_clock(since, clocks, verdict):
    source_ahead, target_ahead = (None if ahead is None else timedelta(seconds=ahead) for ahead in clocks)
    s = _planned(
        source=_source(clock_ahead=source_ahead), clock_ahead=target_ahead, source_read_only_since=_since(since)
    )
    assert _line("complete", s).verdict is verdict
    assert nothing_lost(s) is (verdict is PASS)


@pytest.mark.parametrize(
    ("changes", "verdict", "words", "detail"),
    [
        (
            {},
            PASS,
            "The recovery point is later than the source became read-only.",
            "It shows 03:05:00 UTC; the source was first seen read-only at 02:42:40 UTC.",
        ),
        (
            {"source_read_only_since": NOW},
            BLOCK,
            "The recovery point is not later than the source became read-only.",
            "at 03:12:40 UTC. Wait until a continuous job that starts after 03:12:42 UTC has ended.",
        ),
        (
            {"source_read_only_since": None},
            BLOCK,
            "The recovery point is not known to hold everything.",
            "Since when dc1-prod:/prod/finance is read-only has not been seen yet. Wait for the next reading.",
        ),
        (
            {"clock_ahead": timedelta(minutes=3)},
            BLOCK,
            "The recovery point is not known to hold everything.",
            "The clocks of the clusters and this desk differ too much to say what came first.",
        ),
        (
            {"reported": status(source_root_read_only=False)},
            SKIP,
            "What the recovery point holds is judged once the source is read-only.",
            "",
        ),
        (
            {"source_read_only_since": NOW, "source": _source(status=_own(next_active_time="2026-03-14T06:00:00Z"))},
            BLOCK,
            "The recovery point is not later than the source became read-only.",
            "A blackout window lets none start before 06:00:00 UTC.",
        ),
        (
            {
                "source_read_only_since": NOW,
                "source": _source(status=_own(replication_mode=BOTH, queued_snapshot_count=2)),
            },
            BLOCK,
            "The recovery point is not later than the source became read-only.",
            "Policy snapshots that wait on the source go first: 2.",
        ),
    ],
)
def test_what_the_recovery_point_holds_is_said_with_what_to_wait_for(changes, verdict, words, detail):
    check = _line("complete", _planned(**changes))
    assert (check.verdict, check.words) == (verdict, words)
    assert detail in check.detail


def test_a_blackout_window_that_is_over_is_not_mentioned():
    over = _source(status=_own(next_active_time="2026-03-14T03:00:00Z"))
    assert "blackout" not in _line("complete", _planned(source=over, source_read_only_since=NOW)).detail


def test_without_a_recovery_point_one_check_says_so():
    s = _planned(reported=status(source_root_read_only=True, recovery_point="", recovery_point_snapshot=None))
    assert _line("recovery_point", s).words == "No job has ever succeeded: there is nothing to go back to."
    assert not [check for check in judge(s) if check.subject == "complete"]
    assert not nothing_lost(s)


# ── Jobs ──


@pytest.mark.parametrize(
    ("reported", "stalled", "verdict", "detail"),
    [
        ({}, None, PASS, ""),
        ({"job_state": "REPLICATION_RUNNING"}, None, BLOCK, "Wait until it has ended."),
        (
            {"job_state": "REPLICATION_RUNNING", "replication_job_status": {"percent_complete": 99.7}},
            NOW - timedelta(minutes=19),
            BLOCK,
            "It stands at 99 %. It has copied nothing for 19 min. Wait until it has ended.",
        ),
    ],
)
def test_a_running_job_blocks_a_planned_failover(reported, stalled, verdict, detail):
    s = _planned(reported=status(source_root_read_only=True, **reported), stalled_since=stalled)
    check = _line("job", s)
    assert (check.verdict, check.detail) == (verdict, detail)


@pytest.mark.parametrize(("error", "verdict"), [("", PASS), ("quota \u202e limit", BLOCK)])
def test_a_failed_job_blocks_a_planned_failover(error, verdict):
    check = _line("last_job", _planned(reported=status(source_root_read_only=True, error_from_last_job=error)))
    assert check.verdict is verdict
    assert "\u202e" not in check.detail


# ── The trap of policy snapshots ──


@pytest.mark.parametrize(
    ("source", "verdict", "words", "detail"),
    [
        (_source(), PASS, "The source replicates continuously.", ""),
        (
            _source(status=_own(replication_mode=POLICY)),
            BLOCK,
            "The source replicates policy snapshots only.",
            "What changed after the last of them never reaches dr-west. Change it on dc1-prod to",
        ),
        (
            _source(status=_own(replication_mode=BOTH)),
            PASS,
            "The source replicates policy snapshots, and continuously.",
            "",
        ),
        (
            _source(status=_own(replication_mode=BOTH, queued_snapshot_count=2)),
            WARN,
            "Policy snapshots wait on the source: 2.",
            "They will not be on dr-west. Wait until dc1-prod has replicated them, or do without them.",
        ),
        (
            _source(status=_own(replication_mode="REPLICATION_\u202eODD")),
            WARN,
            "How the source replicates is not known.",
            "Its replication mode is not known here: REPLICATION_\\u202eODD.",
        ),
        (Source(), WARN, "How the source replicates is not known.", "It has not told us its replication mode."),
        (
            _source(read_at=NOW - timedelta(minutes=4)),
            WARN,
            "How the source replicates is not known.",
            "look at dc1-prod.",
        ),
    ],
)
def test_how_the_source_replicates_is_judged_by_what_it_says_itself(source, verdict, words, detail):
    check = _line("replicates", _planned(source=source))
    assert (check.verdict, check.words) == (verdict, words)
    assert detail in check.detail


@pytest.mark.parametrize(
    ("snapshot", "own", "since", "verdict", "words"),
    [
        # the job started after the source was read-only, what it carried is older
        (_carried("2026-03-14T02:00:00Z"), _own(replication_mode=BOTH), NOW - AGO, BLOCK, "is not later than"),
        # by its stamp it is late enough, but nobody has documented what that stamp means
        (_carried(), _own(replication_mode=BOTH), NOW - AGO, BLOCK, "not known to hold everything"),
        (_carried("not a time"), _own(replication_mode=BOTH), NOW - AGO, BLOCK, "not known to hold everything"),
        (_carried(), _own(), NOW - AGO, BLOCK, "not known to hold everything"),
        (_carried(), None, NOW - AGO, BLOCK, "not known to hold everything"),
        # jobs of this source carry nothing else, whatever their snapshots are called
        (HEALTHY["recovery_point_snapshot"], _own(replication_mode=POLICY), NOW - AGO, BLOCK, "not known to hold"),
        (None, _own(replication_mode=POLICY), NOW - AGO, BLOCK, "not known to hold"),
        (HEALTHY["recovery_point_snapshot"], _own(replication_mode=BOTH), NOW - AGO, PASS, "is later than"),
        (None, _own(replication_mode=BOTH), NOW - AGO, BLOCK, "not known to hold"),
        (None, _own(), NOW - AGO, PASS, "is later than"),
    ],
)
def test_a_job_that_brought_a_policy_snapshot_proves_nothing(snapshot, own, since, verdict, words):
    reported = status(source_root_read_only=True, recovery_point_snapshot=snapshot)
    s = _planned(reported=reported, source=_source(status=own), source_read_only_since=since)
    check = _line("complete", s)
    assert check.verdict is verdict
    assert words in check.words
    assert nothing_lost(s) is (verdict is PASS)


def test_the_trap_is_named_with_the_time_of_the_job():
    reported = status(source_root_read_only=True, recovery_point_snapshot=_carried("2026-03-14T02:00:00Z"))
    detail = _line("complete", _planned(reported=reported)).detail
    assert "It shows 02:00:00 UTC;" in detail
    assert "The job that started at 03:05:00 UTC brought a policy snapshot, which is older than the job." in detail


# ── Nothing is lost ──


@pytest.mark.parametrize(
    "s",
    [
        _planned(source=_source(answers=False)),
        _planned(source=Source()),
        _planned(reported=status(source_root_read_only=False)),
        _planned(source=_source(status=_own(source_root_read_only=False))),
        replace(_planned(), status=None),
    ],
)
def test_nothing_is_said_to_be_lost_only_while_the_source_itself_is_heard(s):
    assert not nothing_lost(s)


# ── The same list for everybody, and the other modes ──


def test_the_planned_checks_hold_for_the_sender_too():
    assert not blocks(judge(_planned(item=item())))
    running = status(source_root_read_only=True, job_state="REPLICATION_RUNNING")
    assert [check.subject for check in blocks(judge(_planned(item=item(), reported=running)))] == ["job"]


@pytest.mark.parametrize("mode", ["unplanned", "drill"])
def test_only_a_planned_failover_needs_a_quiet_source(mode):
    noisy = status(job_state="REPLICATION_RUNNING", error_from_last_job="timed out")
    s = situation(reported=noisy, source=_source(status=_own(replication_mode=POLICY)), mode=mode)
    checks = judge(s)
    assert not blocks(checks)
    assert {check.subject for check in checks}.isdisjoint({"complete", "replicates"})


def test_a_drill_says_what_it_really_does():
    check = _line("drill", situation(mode="drill"))
    assert (check.verdict, check.words) == (WARN, "A drill breaks replication for real.")
    assert "dc1-prod no longer replicates to dr-west:/dr/dc1/finance" in check.detail
    assert "clients of dr-west can write there" in check.detail
    assert "Reconnecting afterwards reverts everything" in check.detail


@pytest.mark.parametrize("mode", ["unplanned", "planned"])
def test_only_a_drill_speaks_of_drills(mode):
    assert "drill" not in {check.subject for check in judge(replace(_planned(), mode=mode))}


def test_a_drill_is_otherwise_judged_like_the_real_thing():
    real, drill = (judge(situation(mode=mode)) for mode in ("unplanned", "drill"))
    assert [check for check in drill if check.subject != "drill"] == real
