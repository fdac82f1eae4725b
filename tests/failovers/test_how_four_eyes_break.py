"""How four eyes broke elsewhere, in products that meant well: each way, tried here."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from dashboard.accounts.models import Person, User
from dashboard.accounts.roles import Role
from dashboard.failovers.lifecycle import Refused, Stale, State
from dashboard.failovers.models import Decision, Failover, Request
from dashboard.web.urls import urlpatterns
from tests.failovers.desk import guards_aside


@pytest.mark.parametrize("roles", [list(Role), ["approver", "admin"], ["approver@dr", "admin"]])
def test_an_admin_is_not_exempt_from_deciding_for_others_only(desk, cast, roles):
    asked = desk.request()
    root = User.objects.create(username="root", person=cast.rivera.person, roles=roles, is_superuser=True)
    for decide in (desk.approve, desk.reject):
        with pytest.raises(Refused, match="You asked for this failover"):
            decide(asked, by=root)
    assert not Decision.objects.exists()


def test_the_requester_is_counted_among_no_approvals(desk, cast):
    asked = desk.request()
    own = {"request": asked, "requester": asked.requester, "verdict": "approve", "digest": asked.digest}
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(**own, person=asked.requester, facts_seen={}, at=asked.made_at)
    # Even with that guard away, and the copy of the requester falsified, the count leaves the requester out.
    with guards_aside():
        liar = Person.objects.create(label="liar")
        Decision.objects.create(**own | {"requester": liar}, person=asked.requester, facts_seen={}, at=asked.made_at)
    with pytest.raises(IntegrityError, match="A failover is approved only"), transaction.atomic():
        Failover.objects.update(state="approved")


def test_an_account_that_is_on_no_list_approves_nothing(desk, cast):
    asked = desk.request()
    for user in (cast.tanaka, cast.viewer, cast.okafor, cast.admin):
        with pytest.raises(Refused, match="You may not decide"):
            desk.approve(asked, by=user)
    assert asked.failovers.get().state == State.REQUESTED


def test_an_approval_of_facts_that_changed_since_is_not_taken_from_an_old_page(desk):
    asked = desk.request()
    desk.clock.pass_time(700)
    desk.read()
    with pytest.raises(Refused, match="Changed since the request"):
        desk.approve(asked)
    with pytest.raises(Stale):
        desk.approve(asked, digest="0" * 64)
    assert not Decision.objects.exists()


def test_approvals_do_not_survive_taking_it_back_and_asking_again(desk, cast):
    first = desk.request()
    desk.approve(first)
    desk.cancel(first)
    again = desk.request()
    assert again.decisions.count() == 0
    assert again.failovers.get().state == State.REQUESTED
    with pytest.raises(Stale):
        desk.approve(first, by=cast.lind)


def test_what_was_asked_cannot_be_edited_under_its_approvals(desk):
    asked = desk.request()
    desk.approve(asked)
    for change in ({"plan": "{}"}, {"digest": "0" * 64}, {"required": 0}, {"reason": "Something else entirely."}):
        with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
            Request.objects.filter(pk=asked.pk).update(**change)


def test_there_is_no_second_path_to_a_decision_than_the_one_form():
    """No mail link, token or API beside it: of all routes one decides, and it takes POST alone."""
    deciding = [each for each in urlpatterns if "decide" in str(each.pattern) or "approve" in str(each.pattern)]
    assert [pattern.name for pattern in deciding] == ["failover-decide"]
    assert getattr(deciding[0].callback, "post_only", False)
