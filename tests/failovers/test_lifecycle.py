"""The table of moves, enumerated: what is not in it cannot happen."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard.audit.tags import Tag
from dashboard.failovers.lifecycle import (
    CONCERN_WORDS,
    MOVES,
    ON_THE_CLUSTER,
    OPEN,
    STARTED,
    TERMINAL,
    WORDS,
    Concern,
    LastRead,
    State,
    concern,
)
from dashboard.failovers.timing import STANDARD, Timing
from tests.failovers.build import NOW

EDGES = {(source, move.target) for move in MOVES.values() for source in move.sources}


def test_every_state_is_open_or_ended_and_has_a_word():
    assert set(OPEN) | set(TERMINAL) == set(State)
    assert not set(OPEN) & set(TERMINAL)
    assert set(WORDS) == set(State)
    assert set(ON_THE_CLUSTER) < set(STARTED) < set(OPEN)


def test_only_an_approved_failover_leads_to_sending():
    assert {source for source, target in EDGES if target is State.SENT} == {State.APPROVED}
    assert MOVES["send"].sources == (State.APPROVED,)


def test_nothing_leads_out_of_an_ending():
    assert not [edge for edge in EDGES if edge[0] in TERMINAL]


def test_every_open_state_has_a_way_out_and_every_state_but_the_first_a_way_in():
    assert {source for source, _ in EDGES} == set(OPEN)
    assert {target for _, target in EDGES} == set(State) - {State.REQUESTED}


def test_what_is_on_the_cluster_cannot_be_cancelled_or_expire():
    for name in ("cancel", "expire", "reject"):
        assert not set(MOVES[name].sources) & set(ON_THE_CLUSTER)


def test_success_is_reached_only_by_the_move_that_a_reading_makes():
    assert [move.name for move in MOVES.values() if move.target is State.SUCCEEDED] == ["succeed"]


def test_every_move_leaves_an_entry_of_a_known_kind():
    assert {move.tag for move in MOVES.values()} <= set(Tag)


def _concern(state: str, read_only: bool | None, *, after: timedelta, at: State = State.SENT, **read) -> Concern | None:
    last = LastRead(at=NOW, state=state, target_read_only=read_only, **read)
    return concern(at, NOW - after, last, NOW, STANDARD)


EARLY, LATE = timedelta(seconds=20), timedelta(seconds=200)


@pytest.mark.parametrize(
    ("state", "read_only", "early", "late"),
    [
        ("ESTABLISHED", True, None, Concern.NOT_SEEN),
        ("ESTABLISHED", False, Concern.CONTRADICTION, Concern.CONTRADICTION),
        ("DISCONNECTING", True, None, None),
        ("DISCONNECTED", False, None, None),
        ("DISCONNECTED", True, None, None),
        ("RECONNECTING", True, Concern.RECONNECTING, Concern.RECONNECTING),
        ("REESTABLISHING", True, Concern.RECONNECTING, Concern.RECONNECTING),
        ("ENDED", False, Concern.ENDED, Concern.ENDED),
        ("AWAITING_AUTHORIZATION", False, None, Concern.NOT_SEEN),
        ("SOMETHING_NEW", True, None, Concern.NOT_SEEN),
    ],
)
def test_a_reading_after_sending_calls_a_person_when_it_must(state, read_only, early, late):
    assert _concern(state, read_only, after=EARLY) == early
    assert _concern(state, read_only, after=LATE) == late


def test_a_revert_that_is_established_again_calls_a_person_at_once():
    assert _concern("ESTABLISHED", True, after=EARLY, at=State.REVERTING) is Concern.BACK_TO_ESTABLISHED


@pytest.mark.parametrize(
    ("trouble", "lasted", "after", "expected"),
    [
        ("identity", 0, EARLY, Concern.IDENTITY),
        ("vanished", 5, LATE, None),
        ("vanished", 31, EARLY, Concern.VANISHED),
        ("unreachable", 31, EARLY, None),
        ("unreachable", 5, LATE, None),
        ("unreachable", 31, LATE, Concern.UNREACHABLE),
    ],
)
def test_a_reading_that_failed_calls_a_person_when_it_lasts(trouble, lasted, after, expected):
    since = NOW - timedelta(seconds=lasted)
    assert _concern("", None, after=after, trouble=trouble, since=since) == expected


def test_no_reading_at_all_calls_a_person_after_the_settle_window():
    assert concern(State.SENT, NOW - EARLY, None, NOW, STANDARD) is None
    assert concern(State.SENT, NOW - LATE, None, NOW, STANDARD) is Concern.UNREACHABLE


@pytest.mark.parametrize("state", [s for s in State if s not in ON_THE_CLUSTER])
def test_a_failover_that_is_not_on_the_cluster_concerns_nobody(state):
    last = LastRead(at=NOW, state="ENDED", target_read_only=False)
    assert concern(state, NOW - LATE, last, NOW, STANDARD) is None


def test_every_concern_has_words():
    assert set(CONCERN_WORDS) == set(Concern)


@pytest.mark.parametrize(
    "wrong",
    [
        {"settle": timedelta(seconds=45)},
        {"post_deadline": timedelta(seconds=181)},
    ],
)
def test_times_that_would_let_a_late_request_arrive_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Timing(**wrong)


def test_scaled_times_keep_their_order():
    scaled = STANDARD.scaled(0.05)
    assert scaled.settle == timedelta(seconds=9)
    assert scaled.attempts == STANDARD.attempts
