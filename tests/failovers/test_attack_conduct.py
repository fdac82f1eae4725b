"""One person who tries to be several: accounts, groups, scoped roles, and what changes from the vote to the sending."""

from __future__ import annotations

import pytest

from dashboard.accounts.models import Group, Person, User
from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers import conduct, holds
from dashboard.failovers.lifecycle import Refused, State
from dashboard.failovers.models import Decision, Request
from dashboard.fleet.models import Relationship
from tests.failovers.desk import group, pass_time, policy


def _account(person: Person, name: str, *roles: str) -> User:
    return User.objects.create(username=name, person=person, roles=list(roles))


def _on_both(site) -> list[Relationship]:
    return [site.rows[0], Relationship.objects.select_related("cluster").get(cluster__name="dr-b")]


def _roles(user: User, *roles: str) -> None:
    User.objects.filter(pk=user.pk).update(roles=list(roles))
    user.refresh_from_db()


def _states(asked: Request) -> set[str]:
    return set(asked.failovers.values_list("state", flat=True))


def test_two_accounts_of_one_person_are_one_vote_of_two(desk, cast):
    policy(shares={"": 2})
    asked = desk.request()
    desk.approve(asked)
    for roles in (["approver"], ["approver", "admin"]):
        again = _account(cast.osei.person, f"k.osei-{len(roles)}", *roles)
        with pytest.raises(Refused, match="already decided"):
            desk.approve(asked, by=again)
        with pytest.raises(Refused, match="already decided"):
            desk.reject(asked, by=again)
    assert (Decision.objects.count(), _states(asked)) == (1, {State.REQUESTED})


def test_two_accounts_do_not_add_up_to_a_role_on_both_clusters(site, cast):
    _roles(cast.osei, "approver@dr")
    other = _account(cast.osei.person, "k.osei-b", "approver@dr-b")
    asked = site.ask_for(_on_both(site))
    for user in (cast.osei, other):
        with pytest.raises(Refused, match="You may not decide"):
            site.approve(asked, by=user)
        with pytest.raises(Refused, match="You may not decide"):
            site.reject(asked, by=user)
        with pytest.raises(Refused, match="can cancel"):
            site.cancel(asked, by=user)
    _roles(cast.tanaka, "operator@dr")
    _account(cast.tanaka.person, "s.tanaka-b", "operator@dr-b")
    site.cancel(asked)
    with pytest.raises(Refused, match="You may not request failovers for dr-b"):
        site.ask_for(_on_both(site), by=cast.tanaka)


def test_whoever_joins_every_group_is_still_one_pair_of_eyes(desk, cast):
    for name in ("storage", "security", "night"):
        group(name, cast.osei, cast.rivera)
    group("security", cast.lind)
    policy(shares={"storage": 1, "security": 1})
    asked = desk.request()
    desk.approve(asked)
    assert _states(asked) == {State.REQUESTED}
    desk.approve(asked, by=cast.lind)
    assert _states(asked) == {State.APPROVED}


def test_groups_count_as_they_were_at_the_vote_and_as_they_are_at_sending(desk, cast):
    """Neither by joining after the vote, nor by leaving before the sending."""
    group("storage", cast.lind)
    policy(shares={"storage": 1, "": 1})
    asked = desk.request()
    desk.approve(asked)  # as anybody
    group("storage", cast.osei)
    with pytest.raises(Refused, match="already decided"):
        desk.approve(asked)
    assert _states(asked) == {State.REQUESTED}
    desk.approve(asked, by=cast.lind)
    failover = asked.failovers.get()
    Group.objects.get(name="storage").members.remove(cast.lind.person, cast.osei.person)
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0
    group("storage", cast.lind)
    assert desk.step(failover).state == State.REVERTING


def test_what_was_approved_as_one_needs_approvers_of_all_of_it_at_sending(site, cast):
    """Whoever lost the role on the one cluster no longer stands for the other either."""
    asked = site.ask_for(_on_both(site))
    site.approve(asked)
    _roles(cast.osei, "approver@dr")
    for failover in asked.failovers.order_by("position"):
        assert site.step(failover).state == State.APPROVED
        assert site.posts_of(failover) == 0


def test_an_account_that_was_removed_after_its_vote_no_longer_counts(desk, cast):
    failover = desk.approved()
    User.objects.filter(pk=cast.osei.pk).update(is_active=False)
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0


def test_whoever_breaks_the_glass_needs_the_role_on_that_very_cluster_at_sending(site, cast):
    policy(shares={"": 1}, break_glass=True, run_minutes=5)
    asked = site.ask_for(_on_both(site), break_glass=True)
    _roles(cast.rivera, "operator@dr-b")
    first, second = asked.failovers.order_by("position")
    assert first.run_by == asked.made_at + asked.run_for
    assert (site.step(first).state, site.step(second).state) == (State.APPROVED, State.REVERTING)
    pass_time(301)
    assert conduct.expire_due() == 1


def test_many_take_the_strictest_rules_of_all_of_them(site, cast):
    """Not by hiding the strict one behind the lax ones."""
    rows = site.rows
    group("security", cast.lind)
    policy("lax", shares={"": 1}, break_glass=True)
    strict = rows[3].target_root_path.rstrip("/")
    policy("strict", shares={"security": 1, "": 1}, path_prefix=strict, run_minutes=2, ticket_pattern="INC-[0-9]{5}")
    with pytest.raises(Refused, match="Break-glass is not allowed"):
        site.ask_for(rows, break_glass=True)
    with pytest.raises(Refused) as refused:
        site.ask_for(rows, ticket="none")
    assert refused.value.field == "ticket"
    asked = site.ask_for(rows)
    assert (asked.required, asked.run_seconds) == (2, 120)
    site.approve(asked)
    assert _states(asked) == {State.REQUESTED}
    site.approve(asked, by=cast.lind)
    assert _states(asked) == {State.APPROVED}


def test_one_rejection_by_anybody_who_may_decide_ends_all_of_it(site, cast):
    group("security", cast.lind)
    policy(shares={"security": 1})
    asked = site.ask_for(site.rows)
    site.reject(asked)  # of no group
    assert _states(asked) == {State.REJECTED}
    assert Entry.objects.filter(tag="request.rejected").count() == 5
    assert not any(row.held_by for row in site.rows)
    with pytest.raises(Refused):
        site.approve(asked, by=cast.lind)


@pytest.mark.parametrize("decide", ["approve", "reject"])
def test_a_decision_without_a_word_is_none(desk, decide):
    asked = desk.request()
    said = {"digest": asked.digest, "comment": " \n ", "auth": "Signed in with a password"}
    with pytest.raises(Refused, match="what you checked"):
        getattr(conduct, decide)(user=desk.cast.osei, actor=chain.cli(), request_pk=asked.pk, **said)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("scope", ["", "dr"])
def test_a_hold_keeps_break_glass_as_well(site, scope):
    policy(shares={"": 1}, break_glass=True)
    asked = site.ask_for(site.rows[:2], break_glass=True)
    holds.hold(actor=chain.cli(), scope=scope, reason="restored from a backup")
    for failover in asked.failovers.all():
        assert site.step(failover).state == State.APPROVED
        assert site.posts_of(failover) == 0
    with pytest.raises(Refused, match="Nothing is sent"):
        site.ask_for(site.rows[2:], break_glass=True)
    holds.lift(actor=chain.cli(), scope=scope, reason="Looked at, and right again")
    assert _states(asked) == {State.EXPIRED}


def test_a_hold_of_one_cluster_ends_only_what_waited_there(site):
    here, there = _on_both(site)
    asked, other = site.ask_for([here]), site.ask_for([there])
    for each in (asked, other):
        site.approve(each)
    holds.hold(actor=chain.cli(), scope="dr-b", reason="restored from a backup")
    holds.lift(actor=chain.cli(), scope="dr-b", reason="Looked at, and right again")
    assert (_states(asked), _states(other)) == ({State.APPROVED}, {State.EXPIRED})


def test_the_limit_and_the_order_are_of_each_cluster(site, settings):
    settings.AT_ONCE = 1
    asked = site.ask_for(_on_both(site))
    site.approve(asked)
    first, second = asked.failovers.order_by("position")
    assert site.step(second).state == State.REVERTING  # not behind one of another cluster
    assert site.step(first).state == State.REVERTING


def test_whoever_rejected_is_counted_among_no_approvals_at_sending(desk, cast):
    """Past every verb, since a rejection ends a request: beside an approval that no longer counts."""
    failover = desk.approved()
    asked = failover.request
    own = {"request": asked, "requester": asked.requester, "digest": asked.digest, "at": asked.made_at}
    Decision.objects.create(**own, person=cast.lind.person, verdict="reject", facts_seen={})
    _roles(cast.osei, "viewer")
    assert desk.step(failover).state == State.APPROVED
    assert desk.posts == 0
