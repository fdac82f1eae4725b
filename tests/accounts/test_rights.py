"""Roles and groups are power over failovers: who gives them, what the ledger keeps, and that nobody gives them to
themselves."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from dashboard.accounts import people, rights
from dashboard.accounts.models import Group, User
from dashboard.accounts.people import Refused, actor_of, groups_of
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers.models import Policy
from tests.conftest import PASSWORD, Cast

pytestmark = pytest.mark.django_db


def members(name: str) -> list[str]:
    return sorted(Group.objects.get(name=name).members.values_list("label", flat=True))


def told(tag: str) -> list[dict[str, object]]:
    return [entry.record["detail"] for entry in Entry.objects.filter(tag=tag).order_by("seq")]


def group(*arguments: str) -> str:
    out = io.StringIO()
    call_command("group", *arguments, stdout=out)
    return out.getvalue()


def grant(user: User, by: User, *, roles: list[str], groups: list[str], seen: str | None = None) -> User:
    seen = rights.version_of(user) if seen is None else seen
    return rights.grant(user.username, roles=roles, groups=groups, seen=seen, auth="password", actor=actor_of(by))


# ── On a page ──


def test_roles_and_groups_change_together_and_the_ledger_keeps_what_was_before(cast: Cast) -> None:
    rights.make_group("storage", actor=SYSTEM, members=["viewer"])
    rights.make_group("security", actor=SYSTEM)
    entries = Entry.objects.count()
    grant(cast.viewer, cast.admin, roles=["approver@dr-west"], groups=["security"])
    cast.viewer.refresh_from_db()
    assert cast.viewer.roles == ["approver@dr-west"]
    assert (members("storage"), members("security")) == ([], ["viewer"])
    assert Entry.objects.count() == entries + 3
    last = told("person.changed")[-1]
    assert (last["roles_before"], last["roles"], last["auth"]) == (["viewer"], ["approver@dr-west"], "password")
    was = {str(each["group"]): (each["before"], each["members"]) for each in told("group.changed")[-2:]}
    assert was == {"storage": (["viewer"], []), "security": ([], ["viewer"])}


def test_groups_alone_leave_the_account_as_it_is(cast: Cast) -> None:
    rights.make_group("storage", actor=SYSTEM)
    grant(cast.lind, cast.admin, roles=["approver"], groups=["storage"])
    assert members("storage") == ["j.lind"]
    assert not told("person.changed")


def test_an_old_page_changes_nothing(cast: Cast) -> None:
    rights.make_group("storage", actor=SYSTEM)
    old = rights.version_of(cast.viewer)
    rights.change_group("storage", actor=SYSTEM, add=["viewer"])
    with pytest.raises(Refused, match=r"Somebody else has changed viewer since this page was made\."):
        grant(cast.viewer, cast.admin, roles=["operator"], groups=[], seen=old)
    cast.viewer.refresh_from_db()
    assert (cast.viewer.roles, members("storage")) == (["viewer"], ["viewer"])


@pytest.mark.parametrize("second", [False, True])
def test_nobody_changes_their_own_roles_or_groups_not_even_by_a_second_account(cast: Cast, second: bool) -> None:
    rights.make_group("storage", actor=SYSTEM)
    other = people.add("admin-2", roles=["viewer"], password=PASSWORD, actor=SYSTEM, person="admin")
    target, entries = other if second else cast.admin, Entry.objects.count()
    with pytest.raises(Refused, match=r"Nobody changes the roles or groups of their own person"):
        grant(target, cast.admin, roles=["approver"], groups=[])
    with pytest.raises(Refused, match=r"Nobody changes the roles or groups of their own person"):
        grant(target, cast.admin, roles=target.roles, groups=["storage"])
    with pytest.raises(Refused, match=r"Nobody changes the roles or groups of their own person"):
        people.change(target.username, roles=["approver"], actor=actor_of(cast.admin))
    with pytest.raises(Refused, match=r"Nobody changes the roles or groups of their own person"):
        rights.change_group("storage", add=["admin"], actor=actor_of(cast.admin))
    assert (Entry.objects.count(), members("storage")) == (entries, [])
    assert User.objects.get(pk=target.pk).roles == target.roles


@pytest.mark.parametrize(
    ("roles", "groups", "words"),
    [
        ([], [], "An account needs a role; "),
        (["boss"], [], "There is no role boss; "),
        (["viewer"], ["nowhere"], "There is no group nowhere."),
        (["viewer"], [], "Nothing is different from before."),
    ],
)
def test_what_cannot_be_granted_is_refused_in_one_sentence(
    cast: Cast, roles: list[str], groups: list[str], words: str
) -> None:
    entries = Entry.objects.count()
    with pytest.raises(Refused) as refused:
        grant(cast.viewer, cast.admin, roles=roles, groups=groups)
    assert str(refused.value).startswith(words)
    assert Entry.objects.count() == entries


# ── Groups, on the command line ──


def test_a_group_is_made_filled_emptied_and_removed(cast: Cast) -> None:
    assert group("add", "storage", "j.lind") == "storage: j.lind.\n"
    assert group("add", "storage", "K.Osei") == "storage: j.lind, k.osei.\n"
    assert groups_of([cast.osei.person_id, cast.viewer.person_id]) == {
        cast.osei.person_id: {"storage"},
        cast.viewer.person_id: set(),
    }
    assert group("remove", "storage", "j.lind") == "storage: k.osei.\n"
    assert group("list") == f"{'storage':<24} k.osei\n"
    assert group("remove", "storage") == "The group storage was removed.\n"
    assert group("list") == ""
    kept = [(each["before"], each["members"]) for each in told("group.changed")]
    assert kept == [
        ([], ["j.lind"]),
        (["j.lind"], ["j.lind", "k.osei"]),
        (["j.lind", "k.osei"], ["k.osei"]),
        (["k.osei"], []),
    ]


def test_a_group_that_a_policy_needs_is_not_removed(cast: Cast) -> None:
    group("add", "storage", "j.lind")
    Policy.objects.create(name="finance", shares=[{"group": "storage", "count": 1}])
    with pytest.raises(CommandError, match=r"storage is needed by the policy finance; change that first\."):
        group("remove", "storage")
    assert members("storage") == ["j.lind"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "storage"), "There is already a group storage."),
        (("add", "Storage"), "There is already a group Storage."),
        (("add", "a,b"), "'a,b' is not a name for a group; "),
        (("add", "x" * 33), f"'{'x' * 33}' is not a name for a group; "),
        (("add", "new", "nobody"), "There is no person nobody."),
        (("add", "storage", "j.lind"), "The group storage already is like this."),
        (("remove", "storage", "k.osei"), "The group storage already is like this."),
        (("remove", "nowhere"), "There is no group nowhere."),
        (("remove", "nowhere", "j.lind"), "There is no group nowhere."),
    ],
)
def test_what_a_group_cannot_be_is_refused_in_one_sentence(cast: Cast, arguments: tuple[str, ...], words: str) -> None:
    group("add", "storage", "j.lind")
    entries = Entry.objects.count()
    with pytest.raises(CommandError) as refused:
        group(*arguments)
    assert str(refused.value).startswith(words)
    assert (Entry.objects.count(), Group.objects.count(), members("storage")) == (entries, 1, ["j.lind"])
