from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError
from django.db.models import ProtectedError

from dashboard.accounts import people
from dashboard.accounts.models import Person, User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM, Actor
from dashboard.audit.models import Entry
from tests.conftest import PASSWORD, Cast

pytestmark = pytest.mark.django_db


def add(name: str, *roles: str, **more: str) -> User:
    return people.add(name, roles=roles or ["viewer"], password=PASSWORD, actor=SYSTEM, **more)


def test_a_new_account_comes_with_its_person_and_its_ledger_entry() -> None:
    user = add("j.lind", "auditor", "approver", email="J.Lind@example.org")
    assert (user.person.label, user.person.email) == ("j.lind", "j.lind@example.org")
    assert user.role_names == [Role.APPROVER, Role.AUDITOR]
    assert authenticate(username="j.lind", password=PASSWORD) == user
    entry = Entry.objects.get()
    assert (entry.tag, entry.object, entry.actor) == ("person.added", "person:j.lind", "System")
    assert entry.record["detail"]["roles"] == ["approver", "auditor"]
    assert PASSWORD not in entry.payload


def test_a_second_account_belongs_to_the_same_person() -> None:
    first = add("j.lind", "approver")
    second = add("j.lind-admin", "admin", person="J.Lind")
    assert second.person == first.person
    assert Person.objects.count() == 1


def test_roles_add_up_and_none_contains_another() -> None:
    admin = add("root", "admin")
    assert [role for role in Role if admin.has(role)] == [Role.ADMIN]
    both = add("both", "operator", "approver")
    assert [role for role in Role if both.has(role)] == [Role.OPERATOR, Role.APPROVER]


def test_a_role_can_be_limited_to_clusters_and_one_for_all_contains_the_limited_ones() -> None:
    user = add("j.lind", "approver@dr-west", "viewer@edge", "approver@dr-east", "approver@dr-west")
    assert user.role_names == user.roles == ["viewer@edge", "approver@dr-east", "approver@dr-west"]
    assert user.has(Role.APPROVER)
    assert [user.has(Role.APPROVER, at) for at in ("dr-west", "dr-east", "edge")] == [True, True, False]
    assert user.scope == frozenset(("dr-west", "dr-east", "edge"))
    assert add("all", "approver@dr-west", "approver", "viewer@edge").roles == ["viewer@edge", "approver"]


def test_a_role_of_the_whole_desk_beside_a_limited_one_sees_everything_and_acts_only_there() -> None:
    user = add("both", "viewer", "operator@dr-west")
    assert user.scope is None
    assert [user.has(Role.OPERATOR, at) for at in ("dr-west", "dr-east")] == [True, False]


def test_who_is_limited_to_a_cluster_reads_no_audit_trail() -> None:
    assert not people.may_see_audit(add("west", "approver@dr-west"))
    assert people.may_see_audit(add("all", "approver"))


def test_people_with_a_role_at_several_clusters_have_it_at_each() -> None:
    west, both, everywhere = add("a", "approver@w"), add("b", "approver@w", "approver@e"), add("c", "approver")
    assert people.people_with(Role.APPROVER) == [west, both, everywhere]
    assert people.people_with(Role.APPROVER, at=["w"]) == [west, both, everywhere]
    assert people.people_with(Role.APPROVER, at=["w", "e"]) == [both, everywhere]


def test_superusers_of_django_are_nobody_here() -> None:
    user = User(username="su", is_superuser=True, is_staff=True)
    assert not any(user.has(role) for role in Role)


def test_a_removed_account_has_no_role_and_cannot_sign_in() -> None:
    add("j.lind", "approver")
    people.remove("J.LIND", actor=SYSTEM)
    user = User.objects.get()
    assert not user.has(Role.APPROVER)
    assert people.people_with(Role.APPROVER) == []
    assert authenticate(username="j.lind", password=PASSWORD) is None
    assert Entry.objects.last().tag == "person.removed"  # type: ignore[union-attr]


def test_a_removed_account_can_be_restored() -> None:
    add("j.lind", "approver")
    people.remove("j.lind", actor=SYSTEM)
    people.change("j.lind", actor=SYSTEM, restore=True)
    assert [user.username for user in people.people_with(Role.APPROVER)] == ["j.lind"]
    with pytest.raises(people.Refused, match="not removed"):
        people.change("j.lind", actor=SYSTEM, restore=True)


def test_a_change_of_roles_keeps_the_old_ones_in_the_ledger() -> None:
    add("j.lind", "approver", "auditor")
    people.change("j.lind", actor=SYSTEM, roles=["operator"])
    assert User.objects.get().roles == ["operator"]
    detail = Entry.objects.get(tag="person.changed").record["detail"]
    assert (detail["roles_before"], detail["roles"]) == (["approver", "auditor"], ["operator"])


def test_a_new_password_ends_the_sessions_of_the_old_one(client) -> None:
    user = add("j.lind")
    client.force_login(user)
    before = user.get_session_auth_hash()
    people.change("j.lind", actor=SYSTEM, password="another")
    user.refresh_from_db()
    assert authenticate(username="j.lind", password="another") == user
    assert user.get_session_auth_hash() != before
    assert "another" not in Entry.objects.get(tag="person.changed").payload


def test_who_has_a_role_and_who_may_see_the_audit_trail(cast: Cast) -> None:
    assert people.people_with(Role.APPROVER) == [cast.lind, cast.osei]
    assert people.people_with(Role.OPERATOR) == [cast.rivera, cast.tanaka]
    everybody = [cast.rivera, cast.tanaka, cast.lind, cast.osei, cast.okafor, cast.admin, cast.viewer]
    assert [u for u in everybody if people.may_see_audit(u)] == [cast.lind, cast.osei, cast.okafor, cast.admin]


def test_the_actor_of_an_account_is_its_person(cast: Cast) -> None:
    second = add("k.osei-2", "approver", person="k.osei")
    person = cast.osei.person_id
    assert people.actor_of(second, "10.9.0.21") == Actor("user", "k.osei", person, "k.osei-2", "10.9.0.21")


@pytest.mark.parametrize(
    ("name", "roles", "more", "words"),
    [
        ("j.lind", ["viewer"], {}, "There is already an account j.lind."),
        ("J.LIND", ["viewer"], {}, "There is already an account J.LIND."),
        ("lind2", ["viewer"], {"person": "nobody"}, "There is no person nobody."),
        ("lind2", ["boss"], {}, "There is no role boss; the roles are viewer, operator, approver, auditor, admin."),
        ("lind2", ["admin@dr-west"], {}, "The role admin is for the whole desk; it cannot be limited to a cluster."),
        ("lind2", ["auditor@x"], {}, "The role auditor is for the whole desk; it cannot be limited to a cluster."),
        ("lind2", ["boss@dr-west"], {}, "There is no role boss; "),
        ("lind2", ["viewer@"], {}, "'' is not the name of a cluster."),
        ("lind2", ["viewer@dr west"], {}, "'dr west' is not the name of a cluster."),
        ("lind2", ["viewer@a@b"], {}, "'a@b' is not the name of a cluster."),
        ("lind2", [], {}, "An account needs a role; the roles are viewer, operator, approver, auditor, admin."),
        (
            "lind2",
            ["viewer"],
            {"email": "LIND@example.org"},
            "The e-mail address LIND@example.org belongs to somebody else.",
        ),
        ("lind2", ["viewer"], {"email": "lind"}, "'lind' is not an e-mail address."),
        ("lind2", ["viewer"], {"email": "a@b.org", "person": "j.lind"}, "An e-mail address belongs to a new person; "),
        ("a b", ["viewer"], {}, "'a b' is not a name; "),
        ("", ["viewer"], {}, "'' is not a name; "),
        ("x" * 65, ["viewer"], {}, f"'{'x' * 65}' is not a name; "),
        ("j.l\u0456nd", ["viewer"], {}, "'j.l\u0456nd' is not a name; "),
        ("lind2", ["viewer"], {"password": ""}, "The password is empty."),
    ],
)
def test_adding_is_refused_in_one_clear_sentence(name: str, roles: list[str], more: dict[str, str], words: str) -> None:
    add("j.lind", email="lind@example.org")
    with pytest.raises(people.Refused) as refused:
        people.add(name, roles=roles, actor=SYSTEM, **{"password": PASSWORD, **more})
    assert str(refused.value).startswith(words)
    assert (User.objects.count(), Person.objects.count(), Entry.objects.count()) == (1, 1, 1)


def test_a_person_label_is_not_taken_over_by_a_new_account() -> None:
    Person.objects.create(label="J.Lind")
    with pytest.raises(people.Refused, match=r"already a person j\.lind; say whose account it is"):
        add("j.lind")


def test_a_password_that_the_validators_refuse_changes_nothing(settings) -> None:
    validators = "django.contrib.auth.password_validation"
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"{validators}.MinimumLengthValidator"},
        {"NAME": f"{validators}.CommonPasswordValidator"},
    ]
    with pytest.raises(people.Refused, match=r"too short.* too common"):
        add("j.lind")
    assert (User.objects.count(), Person.objects.count(), Entry.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (lambda: people.remove("nobody", actor=SYSTEM), "There is no account nobody."),
        (lambda: people.change("nobody", actor=SYSTEM, restore=True), "There is no account nobody."),
        (lambda: people.change("j.lind", actor=SYSTEM), "Say what to change: "),
        (lambda: people.change("j.lind", actor=SYSTEM, roles=["boss"]), "There is no role boss"),
        (lambda: people.change("j.lind", actor=SYSTEM, roles=["viewer"], password=""), "The password is empty."),
    ],
)
def test_changes_are_refused_in_one_clear_sentence(verb, words: str) -> None:
    add("j.lind", "approver")
    with pytest.raises(people.Refused, match=words):
        verb()
    assert User.objects.get().roles == ["approver"]
    assert Entry.objects.count() == 1


def test_removing_twice_is_refused() -> None:
    add("j.lind")
    people.remove("j.lind", actor=SYSTEM)
    with pytest.raises(people.Refused, match="already removed"):
        people.remove("j.lind", actor=SYSTEM)


def test_the_database_itself_knows_no_two_people_who_differ_by_case() -> None:
    add("j.lind")
    with pytest.raises(IntegrityError):
        Person.objects.create(label="J.Lind")


def test_the_database_itself_knows_no_two_accounts_that_differ_by_case() -> None:
    owner = add("j.lind").person
    with pytest.raises(IntegrityError):
        User.objects.create(username="J.LIND", person=owner)


def test_a_person_with_an_account_cannot_be_deleted() -> None:
    owner = add("j.lind").person
    with pytest.raises(ProtectedError):
        owner.delete()


def test_no_ledger_no_account(settings) -> None:
    """The change and its entry are one transaction: where the entry cannot be written, nothing happens."""
    from dashboard.audit.models import Head

    Head.objects.all().delete()
    with pytest.raises(Head.DoesNotExist):
        add("j.lind")
    assert (User.objects.count(), Person.objects.count()) == (0, 0)
    Head.objects.create()
    assert chain.verify().ok
