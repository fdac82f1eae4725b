"""Who gets a place, and when: shown by work that ends only when the test says so."""

from __future__ import annotations

import threading

import pytest

from dashboard import lanes as lanes_of
from dashboard.lanes import Lanes


class Gate:
    """Work that says when it has begun, and waits until it is let go."""

    def __init__(self) -> None:
        self.began, self.go, self.times = threading.Event(), threading.Event(), 0

    def __call__(self) -> None:
        self.times += 1
        self.began.set()
        assert self.go.wait(60)


def test_work_of_one_cluster_that_does_not_end_leaves_the_only_prompt_place_to_the_others():
    lanes, stuck, other = Lanes("test", prompt=1, waiting=1), Gate(), Gate()
    lanes.put(1, "stuck", stuck)
    assert stuck.began.wait(60)
    lanes.put(2, "other", other)
    assert other.began.wait(60)  # and `stuck` is still under way
    for gate in (stuck, other):
        gate.go.set()
    lanes.close(forget=False)


def test_one_cluster_has_no_more_places_than_its_share(monkeypatch):
    monkeypatch.setattr(lanes_of, "PROMPT", 600.0)  # else a machine that stands still makes it a cluster that waits
    lanes, first, second, third, other = Lanes("test", prompt=3, waiting=3, each=2), Gate(), Gate(), Gate(), Gate()
    for name, gate in (("first", first), ("second", second), ("third", third)):
        lanes.put(1, name, gate)
    lanes.put(2, "other", other)
    for gate in (first, second, other):
        assert gate.began.wait(60)
    assert not third.began.is_set()
    for gate in (third, second, other):
        gate.go.set()
    first.go.set()
    assert third.began.wait(60)
    lanes.close(forget=False)


def test_the_same_work_is_in_a_line_or_under_way_once():
    lanes, gate = Lanes("test", prompt=2, waiting=2, each=2), Gate()
    lanes.put(1, "same", gate)
    assert gate.began.wait(60)
    lanes.put(1, "same", gate)
    gate.go.set()
    lanes.close(forget=False)
    assert gate.times == 1


def test_work_that_fails_takes_nothing_else_with_it():
    lanes, after = Lanes("test", prompt=1, waiting=1), Gate()

    def fail() -> None:
        raise RuntimeError("on purpose")

    after.go.set()
    lanes.put(1, "fails", fail)
    lanes.put(1, "after", after)
    lanes.close(forget=False)
    assert after.times == 1


@pytest.mark.parametrize(("forget", "times"), [(True, 0), (False, 1)])
def test_what_stands_in_line_at_the_end_is_forgotten_or_done(forget, times):
    lanes, under_way, in_line = Lanes("test", prompt=1, waiting=1), Gate(), Gate()
    lanes.put(1, "under way", under_way)
    assert under_way.began.wait(60)
    lanes.put(1, "in line", in_line)
    in_line.go.set()
    end = threading.Thread(target=lanes.close, kwargs={"forget": forget})
    end.start()
    while forget and lanes._lines:  # the line is forgotten before what is under way may end
        pass
    under_way.go.set()
    end.join(60)
    assert (under_way.times, in_line.times) == (1, times)


def test_work_for_which_no_thread_could_be_begun_is_done_when_it_is_asked_for_again(monkeypatch):
    begin = threading.Thread.start
    refused: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if not refused and thread.name.startswith("test-"):
            refused.append(thread)
            raise RuntimeError("can't start new thread")  # as CPython says when the machine gives none
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    lanes, gate = Lanes("test", prompt=1, waiting=1), Gate()
    gate.go.set()
    lanes.put(1, "same", gate)
    assert refused
    lanes.put(1, "same", gate)
    assert gate.began.wait(60)
    lanes.close(forget=False)
    assert gate.times == 1
