"""The pages of the people: what they tell, and how an admin gives and takes roles and groups."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.accounts import people, rights
from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.fleet.models import Cluster
from tests.conftest import PASSWORD, Cast
from tests.web.fleet import Element, Page, browser, parsed

pytestmark = pytest.mark.django_db


@pytest.fixture
def clusters() -> None:
    for name in ("dr-west", "dr-east"):
        Cluster.objects.create(name=name, url="https://x:8000", uuid=name)


def fields(page: Element, **ticked: bool) -> dict[str, str]:
    """What the browser sends of the form; `ticked` by label, in whatever role it stands."""
    found = {}
    for each in page.all("input"):
        name, box = each.attrs.get("name", ""), each.attrs.get("type") == "checkbox"
        if name == "csrfmiddlewaretoken" or (box and "checked" not in each.attrs):
            continue
        found[name] = each.attrs.get("value", "")
    return found | {"confirm_password": PASSWORD}


def form(client: Client, account: str) -> dict[str, str]:
    return fields(parsed(client.get(f"/people/{account}/")))


def send(client: Client, account: str, body: dict[str, Any]) -> Any:
    return client.post(f"/people/{account}/", body)


def refused(answer: Any, words: str) -> Element:
    assert answer.status_code == 422
    page = Page(answer.content.decode()).root
    assert words in page.text
    return page


def test_the_list_tells_roles_clusters_groups_persons_and_who_was_removed(cast: Cast, clusters: None) -> None:
    people.add("j.lind-2", roles=["viewer", "approver@dr-west"], password=PASSWORD, actor=SYSTEM, person="j.lind")
    people.add("far", roles=["operator@gone"], password=PASSWORD, actor=SYSTEM)
    people.remove("viewer", actor=SYSTEM)
    rights.make_group("storage", actor=SYSTEM, members=["j.lind"])
    page = parsed(browser(cast.admin).get("/people/"))
    rows = {row.attrs["id"]: row for row in page.one("tbody").all("tr")}
    second = rows["account-j.lind-2"]
    assert [each.text for each in second.all("td")][:3] == [
        "j.lind also j.lind",
        "viewer approver at dr-west",
        "storage",
    ]
    assert "No cluster has this name." in rows["account-far"].text
    assert "No cluster has this name." not in second.text
    assert "Removed: it cannot sign in." in rows["account-viewer"].text
    groups = page.one("section", id="groups")
    assert [each.text for each in groups.all("dd")] == ["j.lind"]


def test_the_list_tells_who_has_which_second_factor(cast: Cast, settings: Any) -> None:
    settings.SECOND_FACTOR = "optional"
    for user, kind in (
        (cast.lind, "totp"),
        (cast.lind, "recovery_codes"),
        (cast.osei, "webauthn"),
        (cast.osei, "webauthn"),
    ):
        Authenticator.objects.create(user=user, type=kind, data={})
    client = browser(cast.admin)
    rows = {row.attrs["id"]: row.all("td")[-1].text for row in parsed(client.get("/people/")).one("tbody").all("tr")}
    assert [rows[f"account-{name}"] for name in ("j.lind", "k.osei", "admin")] == ["TOTP", "2 security keys", "None"]
    settings.SECOND_FACTOR = "off"
    assert "Second factor" not in parsed(client.get("/people/")).text


def test_the_list_asks_as_much_for_many_as_for_few(cast: Cast, django_assert_num_queries: Any) -> None:
    client = browser(cast.admin)
    with CaptureQueriesContext(connection) as few:
        client.get("/people/")
    for n in range(20):
        people.add(f"more-{n}", roles=["viewer"], password=PASSWORD, actor=SYSTEM)
    with django_assert_num_queries(len(few)):
        client.get("/people/")


def test_an_admin_gives_roles_and_groups_and_the_ledger_keeps_how_it_was_confirmed(cast: Cast, clusters: None) -> None:
    rights.make_group("storage", actor=SYSTEM)
    client = browser(cast.admin)
    body = form(client, "viewer")
    assert body["role:viewer"] == "1"
    del body["role:viewer"]
    answer = send(client, "viewer", body | {"role:approver@dr-west": "1", "group:storage": "1"})
    assert (answer.status_code, answer["Location"]) == (303, "/people/#account-viewer")
    cast.viewer.refresh_from_db()
    assert cast.viewer.roles == ["approver@dr-west"]
    assert [each.label for each in Group.objects.get().members.all()] == ["viewer"]
    for tag in ("person.changed", "group.changed"):
        entry = Entry.objects.filter(tag=tag).latest("seq")
        assert entry.actor == "admin"
        assert "confirmed with password" in entry.record["detail"]["auth"]
    again = form(client, "viewer")
    assert {name for name in again if name.startswith(("role:", "group:"))} == {
        "role:approver@dr-west",
        "group:storage",
    }


def test_without_the_password_nothing_changes_and_the_choice_stays(cast: Cast, clusters: None) -> None:
    client = browser(cast.admin)
    for password, words in (("", "type your password"), ("wrong", "The password is wrong.")):
        body = form(client, "viewer") | {"role:operator": "1", "confirm_password": password}
        page = refused(send(client, "viewer", body), words)
        assert "checked" in page.one("input", name="role:operator").attrs
        assert Entry.objects.latest("seq").tag == "confirm.refused"
    cast.viewer.refresh_from_db()
    assert cast.viewer.roles == ["viewer"]


def test_a_confirmation_for_one_account_is_none_for_another(cast: Cast) -> None:
    client = browser(cast.admin)
    body = form(client, "viewer") | {"role:operator": "1"}
    other = form(client, "m.okafor") | {"role:operator": "1", "confirm_ticket": body["confirm_ticket"]}
    refused(send(client, "m.okafor", other), "This confirmation was made for something else")
    assert send(client, "viewer", body).status_code == 303
    refused(send(client, "viewer", body), "Somebody else has changed viewer since this page was made.")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"role:approver@nowhere": "1"}, "There is no cluster named nowhere."),
        ({"role:admin@dr-west": "1"}, "The role admin is for the whole desk; it cannot be limited to a cluster."),
        ({"role:boss": "1"}, "There is no role boss;"),
        ({"group:nowhere": "1"}, "There is no group nowhere."),
        ({"seen": "0" * 64}, "Somebody else has changed viewer since this page was made."),
        ({}, "Nothing is different from before."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_and_recorded(
    cast: Cast, clusters: None, more: dict[str, str], words: str
) -> None:
    client = browser(cast.admin)
    refused(send(client, "viewer", form(client, "viewer") | more), words)
    entry = Entry.objects.latest("seq")
    assert (entry.tag, entry.object) == ("people.refused", "person:viewer")
    cast.viewer.refresh_from_db()
    assert cast.viewer.roles == ["viewer"]


def test_a_doubled_or_unknown_field_is_no_form_of_ours(cast: Cast) -> None:
    client = browser(cast.admin)
    body = form(client, "viewer")
    entries = Entry.objects.exclude(tag="access.refused").count()
    assert send(client, "viewer", body | {"is_superuser": "1"}).status_code == 400
    assert send(client, "viewer", body | {"role:operator": ["1", "1"]}).status_code == 400
    assert Entry.objects.exclude(tag="access.refused").count() == entries


def test_nobody_is_offered_or_allowed_to_change_their_own(cast: Cast) -> None:
    second = people.add("admin-2", roles=["viewer"], password=PASSWORD, actor=SYSTEM, person="admin")
    client = browser(cast.admin)
    for account in ("admin", "admin-2"):
        page = parsed(client.get(f"/people/{account}/"))
        assert "Nobody changes the roles or groups of their own person." in page.text
        assert not page.all("input", type="checkbox")
    body = {"seen": rights.version_of(second), "role:approver": "1"}
    refused(send(client, "admin-2", body), "Nobody changes the roles or groups of their own person")
    assert User.objects.get(username="admin-2").roles == ["viewer"]


def test_a_cluster_that_is_gone_can_stay_in_a_role_and_be_taken_away(cast: Cast, clusters: None) -> None:
    far = people.add("far", roles=["operator@gone"], password=PASSWORD, actor=SYSTEM)
    client = browser(cast.admin)
    body = form(client, "far")
    assert send(client, "far", body | {"role:viewer@dr-west": "1"}).status_code == 303
    far.refresh_from_db()
    assert far.roles == ["viewer@dr-west", "operator@gone"]
    body = form(client, "far")
    del body["role:operator@gone"]
    assert send(client, "far", body).status_code == 303
    far.refresh_from_db()
    assert far.roles == ["viewer@dr-west"]


def test_there_is_no_page_of_nobody(cast: Cast) -> None:
    assert browser(cast.admin).get("/people/nobody/").status_code == 404
