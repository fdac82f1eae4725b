"""Policies in the database: which rules a request takes, and who may change them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from dashboard.accounts import people
from dashboard.accounts.models import Group
from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.failovers import amending, policies
from dashboard.failovers.drafts import Draft
from dashboard.failovers.lifecycle import Refused, Stale
from dashboard.failovers.models import Policy, PolicyChange
from dashboard.failovers.policy import DEFAULT, Share
from dashboard.fleet.models import Relationship, Tag
from tests.conftest import PASSWORD
from tests.failovers.test_races import at_once


@pytest.fixture
def circle(cast):
    """Groups, and a second admin who is another person."""
    storage, security = Group.objects.create(name="storage"), Group.objects.create(name="security")
    storage.members.add(cast.lind.person, cast.osei.person)
    security.members.add(cast.okafor.person)
    return people.add("b.second", roles=["admin"], password=PASSWORD, actor=SYSTEM)


def there():
    """The policy gold as it stands."""
    found = policies.find("gold")
    assert found is not None
    return found


def propose(user, name="gold", version=None, **fields):
    draft = Draft(name=name, **fields)
    known = policies.version_of(policies.find(name)) if version is None else version
    return amending.propose(user=user, actor=actor_of(user), draft=draft, version=known)


def by_shell(name="gold", **fields):
    version = policies.version_of(policies.find(name))
    return amending.propose(user=None, actor=chain.cli(), draft=Draft(name=name, **fields), version=version)


def confirm(user, change):
    return amending.confirm(user=user, actor=actor_of(user), change_pk=change.pk, auth="confirmed with password")


def entries(tag):
    return [json.loads(entry.payload) for entry in Entry.objects.filter(tag=tag).order_by("seq")]


TWO = (("storage", "2"),)
ONE = (("storage", "1"),)


# ── Rules ──


def _row(lookout, path):
    lookout.world.relate(lookout.world.clusters["prod"], f"/prod{path}", lookout.target, path)
    lookout.read()
    return Relationship.objects.select_related("cluster").get(target_root_path=f"{path}/")


def test_a_request_takes_the_rules_of_the_most_specific_policy(pair, circle):
    row, other = Relationship.objects.select_related("cluster").get(), _row(pair, "/dr/hr")
    assert policies.rules_for([row]) == DEFAULT
    by_shell("every", shares=(("", "2"),))
    assert policies.rules_for([row]).shares == (Share(count=2),)
    by_shell("tagged", tag="tier-1", shares=ONE)
    Tag.objects.create(cluster=row.cluster, path_prefix="/dr/finance", name="tier-1")
    assert policies.rules_for([row]).names == ("tagged",)
    assert policies.rules_for([other]).names == ("every",)
    by_shell("below", path_prefix="/dr/finance/", shares=TWO, break_glass=True)
    assert policies.rules_for([row]).names == ("below",)
    both = policies.rules_for([row, other])
    assert (both.names, both.shares, both.break_glass) == (
        ("below", "every"),
        (Share(group="storage", count=2),),
        False,
    )


def test_the_rules_of_many_relationships_cost_no_more_queries_than_of_one(pair, circle, django_assert_max_num_queries):
    for path in ("/dr/a", "/dr/b", "/dr/c"):
        pair.world.relate(pair.world.clusters["prod"], f"/prod{path}", pair.target, path)
    pair.read()
    by_shell("every", shares=TWO)
    rows = list(Relationship.objects.select_related("cluster"))
    assert len(rows) > 3
    with django_assert_max_num_queries(2):
        assert policies.rules_for(rows).names == ("every",)


# ── Changes ──


def test_a_change_that_weakens_nothing_holds_at_once_and_is_in_the_ledger(circle, cast):
    change = propose(cast.admin, shares=TWO)
    assert (change.verdict, change.weakens) == ("applied", False)
    assert there().rules.shares == (Share(group="storage", count=2),)
    [entry] = entries("policy.changed")
    assert entry["object"] == "policy:gold"
    assert entry["actor"]["label"] == "admin"
    assert entry["detail"]["before"] is None
    assert entry["detail"]["after"]["shares"] == [{"group": "storage", "count": 2}]


def test_a_change_that_weakens_waits_until_another_admin_confirms_it(circle, cast):
    propose(cast.admin, shares=TWO)
    change = propose(cast.admin, shares=ONE)
    assert change.verdict == "waiting"
    assert there().rules.required == 2
    assert amending.weakens(change) == [
        "One person must approve, before two.",
        "One of storage must approve, before two.",
    ]
    assert confirm(circle, change).verdict == "applied"
    assert there().rules.required == 1
    change.refresh_from_db()
    assert (change.decided_by, change.decided_label) == (circle.person, "b.second")
    [proposed], [*_, changed] = entries("policy.proposed"), entries("policy.changed")
    assert proposed["detail"]["weakens"] == amending.weakens(change)
    assert changed["detail"]["proposed_by"] == "admin"
    assert changed["detail"]["confirmed"] == "confirmed with password"
    assert changed["actor"]["label"] == "b.second"


@pytest.mark.parametrize(
    "fields",
    [
        {"shares": ONE},
        {"shares": (("security", "1"), ("", "1"))},
        {"shares": TWO, "decide_minutes": "31"},
        {"shares": TWO, "run_minutes": "16"},
        {"shares": TWO, "break_glass": True},
        {"shares": TWO, "ticket_pattern": ""},
        {"shares": TWO, "ticket_pattern": "CHG[0-9]+"},
        {"shares": TWO, "path_prefix": "/dr"},
    ],
)
def test_each_way_to_weaken_a_policy_needs_a_second_person(circle, cast, fields):
    by_shell(shares=TWO, ticket_pattern="INC[0-9]+")
    assert propose(cast.admin, **({"ticket_pattern": "INC[0-9]+"} | fields)).verdict == "waiting"
    assert there().rules.required == 2


def test_removing_a_policy_needs_a_second_person(circle, cast):
    by_shell(shares=TWO)
    version = policies.version_of(policies.find("gold"))
    change = amending.remove(user=cast.admin, actor=actor_of(cast.admin), name="gold", version=version)
    assert change.verdict == "waiting"
    confirm(circle, change)
    assert policies.find("gold") is None


def test_a_new_policy_that_is_weaker_than_what_it_takes_the_place_of_needs_a_second_person(circle, cast):
    by_shell("every", shares=TWO)
    assert propose(cast.admin, "hole", path_prefix="/dr/finance", shares=(("", "1"),)).verdict == "waiting"
    assert policies.find("hole") is None
    assert propose(cast.admin, "slow", path_prefix="/dr", decide_minutes="60", shares=TWO).verdict == "waiting"
    # This one loses to the first everywhere, so it takes nothing away.
    assert propose(cast.admin, "idle", decide_minutes="60", shares=(("", "2"),)).verdict == "applied"


def test_nobody_confirms_their_own_change_not_with_a_second_account_either(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    second = people.add("admin-2", roles=["admin"], password=PASSWORD, actor=SYSTEM, person="admin")
    for account in (cast.admin, second):
        with pytest.raises(Refused, match="another person must confirm"):
            confirm(account, change)
    with pytest.raises(IntegrityError, match="nobody_weakens_a_policy_alone"), transaction.atomic():
        PolicyChange.objects.filter(pk=change.pk).update(verdict="applied", decided_by=cast.admin.person)
    with pytest.raises(IntegrityError, match="nobody_weakens_a_policy_alone"), transaction.atomic():
        PolicyChange.objects.filter(pk=change.pk).update(verdict="applied")
    assert there().rules.required == 2


def test_only_admins_change_policies(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    for user in (cast.rivera, cast.lind, cast.okafor, cast.viewer):
        for verb in (
            lambda user=user: propose(user, shares=(("storage", "3"),)),
            lambda user=user: confirm(user, change),
            lambda user=user: amending.drop(user=user, actor=actor_of(user), change_pk=change.pk),
            lambda user=user: amending.remove(
                user=user, actor=actor_of(user), name="gold", version=policies.version_of(policies.find("gold"))
            ),
        ):
            with pytest.raises(Refused, match="Only an admin"):
                verb()
    assert there().rules.required == 2


def test_an_admin_who_was_removed_confirms_nothing(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    removed = people.remove("b.second", actor=SYSTEM)
    with pytest.raises(Refused, match="Only an admin"):
        confirm(removed, change)


def test_a_waiting_change_is_dropped_when_its_policy_changes(circle, cast):
    by_shell(shares=TWO)
    weak = propose(cast.admin, shares=ONE)
    propose(circle, shares=(("storage", "3"),))
    with pytest.raises(Stale, match=r"waits no longer: it was dropped by b\.second"):
        confirm(circle, weak)
    assert there().rules.required == 3
    assert [entry["object"] for entry in entries("policy.dropped")] == ["policy:gold"]


def test_a_waiting_change_is_not_applied_upon_another_policy_than_it_was_proposed_against(circle, cast):
    """Whatever came to pass in between, even past the verbs."""
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    Policy.objects.filter(name="gold").update(decide_minutes=20)
    with pytest.raises(Stale, match="The policy gold changed after this was proposed"):
        confirm(circle, change)
    change.refresh_from_db()
    assert change.verdict == "dropped"
    assert there().rules.required == 2
    assert len(entries("policy.dropped")) == 1


def test_a_waiting_change_that_would_weaken_something_else_by_now_is_dropped(circle, cast):
    change = propose(cast.admin, "hole", path_prefix="/dr/finance", shares=ONE, decide_minutes="60")
    by_shell("every", shares=TWO)
    with pytest.raises(Stale, match="Another policy changed after this was proposed"):
        confirm(circle, change)
    assert policies.find("hole") is None


def test_a_dropped_change_is_never_applied(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    amending.drop(user=cast.admin, actor=actor_of(cast.admin), change_pk=change.pk)
    with pytest.raises(Stale, match="it was dropped by admin"):
        confirm(circle, change)
    with pytest.raises(Stale, match="waits no longer"):
        amending.drop(user=circle, actor=actor_of(circle), change_pk=change.pk)
    assert there().rules.required == 2


def test_one_change_of_a_policy_waits_at_a_time(circle, cast):
    by_shell(shares=TWO)
    propose(cast.admin, shares=ONE)
    with pytest.raises(Refused, match="A change of gold waits already"):
        propose(circle, shares=TWO, break_glass=True)


def test_an_old_page_changes_nothing(circle, cast):
    by_shell(shares=TWO)
    old = policies.version_of(policies.find("gold"))
    by_shell(shares=(("storage", "3"),))
    with pytest.raises(Stale, match="changed meanwhile"):
        propose(cast.admin, version=old, shares=(("storage", "4"),))
    with pytest.raises(Stale, match="changed meanwhile"):
        amending.remove(user=cast.admin, actor=actor_of(cast.admin), name="gold", version=old)
    amending.remove(user=None, actor=chain.cli(), name="gold", version=policies.version_of(policies.find("gold")))
    with pytest.raises(Stale, match="was removed meanwhile"):
        propose(cast.admin, version=old, shares=TWO)


def test_a_name_is_taken_once(circle, cast):
    by_shell(shares=TWO)
    with pytest.raises(Refused, match="There is already a policy gold") as refused:
        propose(cast.admin, version="", shares=TWO)
    assert refused.value.field == "name"
    with pytest.raises(Refused, match="in other letters"):
        propose(cast.admin, "Gold", shares=TWO)


def test_the_shell_weakens_at_once_and_the_ledger_tells(circle, cast):
    by_shell(shares=TWO)
    waiting = propose(cast.admin, shares=TWO, break_glass=True)
    change = by_shell(shares=ONE)
    assert (change.verdict, change.weakens, change.by) == ("applied", True, None)
    assert there().rules.required == 1
    waiting.refresh_from_db()
    assert waiting.verdict == "dropped"
    assert entries("policy.changed")[-1]["actor"]["kind"] == "cli"


def test_nothing_is_left_when_the_ledger_cannot_be_written(circle, cast):
    by_shell(shares=TWO)
    waiting = propose(cast.admin, shares=ONE)
    Head.objects.all().delete()
    for verb in (
        lambda: propose(cast.admin, shares=(("storage", "3"),)),
        lambda: propose(circle, "silver", shares=TWO),
        lambda: confirm(circle, waiting),
        lambda: amending.drop(user=circle, actor=actor_of(circle), change_pk=waiting.pk),
    ):
        with pytest.raises(Head.DoesNotExist):
            verb()
    waiting.refresh_from_db()
    assert (there().rules.required, waiting.verdict) == (2, "waiting")
    assert [policy.name for policy in policies.standing()] == ["gold"]


# ── The database ──


@pytest.mark.parametrize(
    "change",
    [
        "weakens = NOT weakens",
        "words = 'Nothing weakens.'",
        '"after" = NULL',
        '"before" = NULL',
        "by_id = NULL",
        "name = 'other'",
    ],
)
def test_what_waits_stays_as_it_was_proposed_whatever_code_runs(circle, cast, change):
    by_shell(shares=TWO)
    propose(cast.admin, shares=ONE)
    with pytest.raises(IntegrityError, match="stays as it was proposed"), transaction.atomic():
        raw(f"UPDATE failovers_policychange SET {change} WHERE verdict = 'waiting'")  # noqa: S608


def test_what_was_decided_is_not_decided_again_nor_forgotten(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    amending.drop(user=circle, actor=actor_of(circle), change_pk=change.pk)
    for verdict in ("waiting", "applied"):
        with pytest.raises(IntegrityError, match="decided once"), transaction.atomic():
            raw("UPDATE failovers_policychange SET verdict = %s WHERE id = %s", verdict, change.pk)
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        raw("DELETE FROM failovers_policychange WHERE id = %s", change.pk)


def test_a_waiting_change_is_not_replaced(circle, cast):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    columns = "name, words, weakens, by_label, at, verdict, decided_label"
    copy = f"{columns}) SELECT {columns} FROM failovers_policychange WHERE id = %s"  # noqa: S608
    begin = "INSERT OR REPLACE INTO" if connection.vendor == "sqlite" else "INSERT INTO"
    with pytest.raises(IntegrityError), transaction.atomic():
        raw(f"{begin} failovers_policychange ({copy}", change.pk)
    change.refresh_from_db()
    assert change.by == cast.admin.person


@pytest.mark.postgres
def test_the_changes_are_not_emptied(circle, cast):
    by_shell(shares=TWO)
    raw("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks that wait is not emptied at all
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        raw("TRUNCATE failovers_policychange")


def raw(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


# ── Bad input ──


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "Nothing is not a name"),
        ({"name": "new"}, "name", "new is not a name"),
        ({"name": "a b"}, "name", "a b is not a name"),
        ({"name": "x" * 65}, "name", "is not a name"),
        ({"name": "sch\u00f6n"}, "name", "is not a name"),
        ({"cluster": "dr-nowhere"}, "cluster", "There is no cluster named dr-nowhere."),
        ({"path_prefix": "dr/finance"}, "path_prefix", "is not a path prefix"),
        ({"path_prefix": "/" + "x" * 1025}, "path_prefix", "is not a path prefix"),
        ({"tag": "Tier 1"}, "tag", "Tier 1 is not a tag"),
        ({"shares": ()}, "count_1", "Say who must approve: at least one other person."),
        ({"shares": (("", ""), ("", " "))}, "count_1", "Say who must approve"),
        ({"shares": (("storage", ""),)}, "count_1", "Say how many of storage must approve, 1 to 20."),
        ({"shares": (("storage", "0"),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "21"),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "-1"),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "1.5"),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "\u0662"),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "9" * 5000),)}, "count_1", "1 to 20"),
        ({"shares": (("storage", "1"), ("legal", "1"))}, "group_2", "There is no group legal."),
        ({"shares": (("storage", "1"), ("storage", "2"))}, "group_2", "stands there twice"),
        ({"shares": (("", "1"), ("", "2"))}, "group_2", "The share of any approver stands there twice."),
        ({"shares": (("storage", "15"), ("", "6"))}, "count_1", "Together more than 20 people"),
        ({"decide_minutes": "0"}, "decide_minutes", "Say it in minutes, 1 to 1440."),
        ({"decide_minutes": "1441"}, "decide_minutes", "1 to 1440"),
        ({"decide_minutes": "soon"}, "decide_minutes", "1 to 1440"),
        ({"run_minutes": "0"}, "run_minutes", "1 to 1440"),
        ({"run_minutes": ""}, "run_minutes", "1 to 1440"),
        ({"prompt": "x" * 301}, "prompt", "The prompt is longer than 300 characters."),
        ({"prompt": "why\u202e?"}, "prompt", "a character that cannot be seen"),
        ({"ticket_pattern": "("}, "ticket_pattern", "a group is not closed"),
        ({"ticket_pattern": "(a+)+"}, "ticket_pattern", "could take too long"),
        ({"ticket_pattern": "x" * 201}, "ticket_pattern", "longer than 200 characters"),
    ],
)
def test_what_cannot_stand_is_refused_in_one_sentence_at_its_field(circle, cast, fields, field, words):
    values = {"name": "gold", **fields}
    with pytest.raises(Refused) as refused:
        amending.propose(user=cast.admin, actor=actor_of(cast.admin), draft=Draft(**values), version="")
    assert refused.value.field == field
    assert refused.value.tag == "policy.refused"
    assert words in refused.value.words
    assert refused.value.words.endswith(".")
    assert not Policy.objects.exists()
    assert not PolicyChange.objects.exists()


def test_an_empty_change_is_no_change(circle, cast):
    by_shell(shares=TWO)
    with pytest.raises(Refused, match="Nothing changes"):
        propose(cast.admin, shares=(("", ""), ("storage", " 2 ")), path_prefix="/")


# ── Two at once ──


@pytest.fixture
def apart(transactional_db, cast):
    Group.objects.create(name="storage").members.add(cast.lind.person)
    return [people.add(name, roles=["admin"], password=PASSWORD, actor=SYSTEM) for name in ("b.second", "c.third")]


@pytest.mark.parametrize("round_", range(3))
def test_two_who_confirm_at_once_apply_it_once(apart, cast, round_):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    results = at_once(*[lambda user=user: confirm(user, change) for user in apart])
    assert sum(isinstance(result, Stale) for result in results) == 1
    assert len(entries("policy.changed")) == 2


@pytest.mark.parametrize("round_", range(3))
def test_confirming_and_dropping_at_once_ends_one_way(apart, cast, round_):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    second, third = apart
    at_once(
        lambda: confirm(second, change),
        lambda: amending.drop(user=third, actor=actor_of(third), change_pk=change.pk),
    )
    change.refresh_from_db()
    required = there().rules.required
    assert (change.verdict, required) in (("applied", 1), ("dropped", 2))
    assert len(entries("policy.dropped")) + len(entries("policy.changed")) == 2


@pytest.mark.parametrize("round_", range(3))
def test_confirming_while_the_policy_is_made_stronger_never_undoes_that(apart, cast, round_):
    by_shell(shares=TWO)
    change = propose(cast.admin, shares=ONE)
    second, third = apart
    old = policies.version_of(policies.find("gold"))
    at_once(
        lambda: confirm(second, change),
        lambda: propose(third, version=old, shares=(("storage", "3"),)),
    )
    change.refresh_from_db()
    required = there().rules.required
    assert (change.verdict, required) in (("applied", 1), ("dropped", 3))


@pytest.mark.parametrize("round_", range(3))
def test_two_harmless_changes_at_once_do_not_add_up_to_a_weaker_one(apart, cast, round_):
    """Each alone takes no stricter policy's place; together they would, unless changes stand in line."""
    second, third = apart
    at_once(
        lambda: propose(second, "every", shares=(("", "3"),), version=""),
        lambda: propose(third, "below", path_prefix="/dr", shares=(("", "2"),), version=""),
    )
    weak = PolicyChange.objects.get(name="below")
    order = list(Entry.objects.filter(object__in=["policy:every", "policy:below"]).order_by("seq"))
    assert weak.weakens == (order[0].object == "policy:every")
    assert (policies.find("below") is None) == weak.weakens


def test_the_default_waits_30_minutes_and_starts_within_15(db):
    assert (policies.rules_for([]).decide, policies.rules_for([]).run) == (timedelta(minutes=30), timedelta(minutes=15))
