"""What is tried on the way in: forms that are old, doubled, forged or hostile."""

from __future__ import annotations

import uuid

import pytest

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers import conduct, holds
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Decision, Failover, Hold, Request
from dashboard.fleet.models import Relationship
from tests.failovers.desk import pass_time, policy

UNSEEN = {
    "NUL": "\x00",
    "a lone surrogate": "\ud800",
    "an escape of a terminal": "\x1b",
    "a turn of direction": "\u202e",
    "an isolate": "\u2066",
}


@pytest.mark.parametrize("character", UNSEEN.values(), ids=UNSEEN)
def test_nothing_that_cannot_be_seen_gets_into_the_record(desk, character):
    hostile = f"dc1-prod lost power{character} in row C."
    entries = Entry.objects.count()
    for field in ("reason", "ticket"):
        with pytest.raises(Refused) as refused:
            desk.request(**{field: hostile})
        assert refused.value.field == field
        assert refused.value.words.startswith(f"The {field} holds a character that cannot be seen")
        assert refused.value.words.isprintable()
    with pytest.raises(Refused, match="The reason holds"):
        holds.hold(actor=chain.cli(), scope="", reason=hostile)
    assert (Request.objects.count(), Hold.objects.count(), Entry.objects.count()) == (0, 0, entries)


@pytest.mark.parametrize("character", UNSEEN.values(), ids=UNSEEN)
def test_nor_into_a_decision(desk, character):
    asked = desk.request()
    said = {"digest": asked.digest, "comment": f"Go.{character}", "auth": "Signed in with a password"}
    for decide in (conduct.approve, conduct.reject):
        with pytest.raises(Refused) as refused:
            decide(user=desk.cast.osei, actor=chain.cli(), request_pk=asked.pk, **said)
        assert (refused.value.field, refused.value.tag) == ("comment", "decision.refused")
    assert not Decision.objects.exists()


def test_what_people_paste_in_the_night_passes(desk):
    """A no-break space, a new line, an emoji that is joined from several."""
    asked = desk.request(reason="Site\u00a0is down.\n\tSays Ana \U0001f469\u200d\U0001f692")
    assert desk.approve(asked, comment="Called them.\nYes.").failovers.get().state == State.APPROVED


@pytest.mark.parametrize("more", [{"break_glass": True}, {"mode": "drill"}])
def test_a_form_that_was_used_is_not_sent_again_as_something_else(desk, more):
    """Whoever goes back, ticks break-glass and sends the old form again must not believe that it was started."""
    policy(shares={"": 1}, break_glass=True)
    nonce = uuid.uuid4()
    desk.request(nonce=nonce)
    with pytest.raises(Refused, match="used for another request"):
        desk.request(nonce=nonce, **more)
    assert Request.objects.count() == 1


def test_a_form_that_was_used_is_not_sent_again_in_another_order(site):
    nonce = uuid.uuid4()
    site.ask_for(site.rows[:3], nonce=nonce)
    with pytest.raises(Refused, match="used for another request"):
        site.ask_for(site.rows[2::-1], nonce=nonce)


def test_one_that_is_no_longer_watched_refuses_all_of_them(site):
    rows = site.rows[:2]
    stale = Relationship(pk=10**6, cluster=rows[0].cluster, target_root_path="/dr/gone/")
    with pytest.raises(Refused, match="no longer watched here"):
        site.ask_for([*rows, stale])
    assert not Failover.objects.exists()


def test_a_refused_ask_for_many_leaves_nothing_behind(site):
    """Not even when the last of them is the one that is taken."""
    rows = site.rows
    held = site.ask_for(rows[-1:])
    before = Entry.objects.count()
    policy(shares={"": 1}, break_glass=True)
    for more in ({}, {"break_glass": True}):
        with pytest.raises(Refused, match=f"FO-{held.pk} is open"):
            site.ask_for(rows, **more)
    assert (Request.objects.count(), Failover.objects.count(), Entry.objects.count()) == (1, 1, before)
    assert [row.held_by for row in site.rows] == ["", "", "", "", f"FO-{held.pk}"]


def test_a_rule_that_is_made_while_it_waits_neither_helps_nor_harms_it(desk, cast):
    policy("strict", shares={"": 2}, run_minutes=5)
    asked = desk.request()
    policy("lax", shares={"": 1}, path_prefix="/dr/finance", break_glass=True, run_minutes=600)
    desk.approve(asked)
    assert asked.failovers.get().state == State.REQUESTED
    desk.approve(asked, by=cast.lind)
    failover = asked.failovers.get()
    assert failover.state == State.APPROVED
    pass_time(301)
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0
    assert conduct.expire_due() == 1
