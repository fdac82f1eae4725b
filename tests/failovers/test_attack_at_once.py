"""Everything at once, on connections of its own: nothing waits for ever, is sent twice, or is left half done."""

from __future__ import annotations

import pytest
from django.db.models import Q

from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import conduct, execution, holds, reminders
from dashboard.failovers.lifecycle import OPEN, State
from dashboard.failovers.models import Decision, Failover
from dashboard.fleet import access, observe
from tests.failovers.test_races import ROUNDS, at_once


@pytest.fixture
def site(transactional_db, cast):
    from tests.failovers import desk

    yield desk.site(cast)
    access.forget_transports()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_all_verbs_and_drivers_at_once(site, cast, round_):
    rows = site.rows
    waiting, started = site.ask_for(rows[:3]), site.ask_for(rows[3:])
    site.approve(started)
    driven = list(started.failovers.values_list("pk", flat=True))

    def hold_and_lift() -> int:
        holds.hold(actor=chain.cli(), scope="dr", reason="restored from a backup")
        return holds.lift(actor=chain.cli(), scope="dr", reason="Looked at, and right again")

    at_once(
        lambda: site.approve(waiting, by=cast.lind),
        lambda: site.reject(waiting),
        lambda: site.cancel(waiting),
        lambda: conduct.cancel(user=cast.admin, actor=actor_of(cast.admin), request_pk=started.pk),
        lambda: site.ask_for(rows[::-1], by=cast.tanaka),
        lambda: execution.execute(driven[0]),
        lambda: execution.execute(driven[1]),
        conduct.expire_due,
        lambda: reminders.remind(database_now()),
        lambda: observe.observe(site.cluster.pk),
        hold_and_lift,
    )
    failovers = list(Failover.objects.select_related("request", "relationship__cluster"))
    sent = {each.number for each in failovers if each.sent_at}
    assert {each.number for each in failovers if site.posts_of(each)} == sent
    assert all(site.posts_of(each) <= 1 for each in failovers)
    assert set(Entry.objects.filter(tag="failover.sent").values_list("object", flat=True)) == sent
    held = {row.held_by for row in site.rows if row.held_by}
    assert held == {each.number for each in failovers if each.state in OPEN}
    decided = Decision.objects.filter(request=waiting).count()
    moved = waiting.failovers.filter(Q(approved_at__isnull=False) | Q(state=State.REJECTED)).count()
    assert (decided, moved) in ((0, 0), (1, 3))
    assert chain.verify().ok
