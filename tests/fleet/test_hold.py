"""Taking a relationship for a failover, in the transaction of whoever takes it."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import transaction

from dashboard.database import database_now
from dashboard.fleet import hold, observe
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Relationship


def test_a_waiting_request_shows_its_badge_and_leaves_the_grade(lookout):
    version = lookout.row.version
    hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="waiting", note="0/1")
    row = lookout.row
    assert (row.held_by, row.held_phase, row.held_note) == ("FO-1042", "waiting", "0/1")
    assert (row.grade, row.version) == (Grade.NORMAL, version + 1)


def test_a_running_failover_is_active_whatever_the_recovery_point_says(lookout):
    hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="1/1")
    row = lookout.row
    assert (row.grade, row.reason, row.changes_at) == (Grade.ACTIVE, "Failover running", None)
    assert lookout.events("health") == ["Failover running"]


def test_a_row_that_is_given_back_is_judged_again(lookout):
    hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="1/1")
    hold.release_rows([lookout.row.pk], failed_over_at=None)
    row = lookout.row
    assert (row.held_by, row.held_phase, row.held_note) == ("", "", "")
    assert (row.grade, row.failed_over_at) == (Grade.NORMAL, None)


def test_after_a_failover_of_ours_the_row_says_so_and_warns_while_both_sides_are_writable(lookout):
    hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="1/1")
    lookout.by_hand("make-writable")
    lookout.clock.pass_time(30)
    lookout.read()
    ended = database_now()
    hold.release_rows([lookout.row.pk], failed_over_at=ended)
    assert (lookout.row.grade, lookout.row.reason) == (Grade.WARNING, "Both sides writable")
    lookout.row_says(source_root_read_only=True)
    lookout.read()
    row = lookout.row
    assert (row.grade, row.reason, row.reason_since) == (Grade.ACTIVE, "Failed over {for}", ended)
    lookout.read()
    assert lookout.row.failed_over_at == ended


def test_nothing_remains_of_a_hold_whose_transaction_was_rolled_back(lookout):
    before = lookout.row.version

    class Over(Exception):
        pass

    def take() -> None:
        with transaction.atomic():
            hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="")
            raise Over

    with pytest.raises(Over):
        take()
    assert (lookout.row.held_by, lookout.row.version) == ("", before)
    assert lookout.events("health") == []


def test_a_hold_that_was_taken_twice_in_the_same_way_changes_nothing(lookout):
    for _ in range(2):
        hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="waiting", note="0/1")
    assert lookout.row.version == 2


def test_a_row_of_a_silent_cluster_stays_unknown_when_it_is_held(lookout):
    observe.regrade(lookout.cluster.last_read_at + settings.UNKNOWN_AFTER)
    hold.hold_rows({lookout.row.pk: "FO-1042"}, phase="running", note="")
    assert lookout.row.grade == Grade.UNKNOWN
    assert Relationship.objects.get().held_by == "FO-1042"
    assert lookout.row.reason_since == lookout.cluster.last_read_at
