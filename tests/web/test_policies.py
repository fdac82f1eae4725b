"""The pages of policies: who reads, who changes, who confirms, and what a form may hold."""

from __future__ import annotations

import json
import re

import pytest

from dashboard.accounts import people
from dashboard.accounts.models import Group, User
from dashboard.audit.chain import SYSTEM, cli
from dashboard.audit.models import Entry
from dashboard.failovers import amending, policies
from dashboard.failovers.drafts import Draft
from dashboard.failovers.models import PolicyChange
from dashboard.fleet.models import Cluster
from tests.conftest import PASSWORD
from tests.web.confirming import confirmed
from tests.web.fleet import Page, browser, parsed

pytestmark = pytest.mark.django_db

FIELDS = {
    "name": "gold",
    "cluster": "",
    "path_prefix": "/dr",
    "tag": "",
    "decide_minutes": "30",
    "run_minutes": "15",
    "prompt": "",
    "ticket_pattern": "",
    "count_1": "2",
    "group_1": "storage",
    "count_2": "",
    "group_2": "",
    "version": "",
    "verb": "set",
}


@pytest.fixture
def second(cast):
    """Another admin; and a group of two approvers."""
    Group.objects.create(name="storage").members.add(cast.lind.person, cast.osei.person)
    return people.add("b.second", roles=["admin"], password=PASSWORD, actor=SYSTEM)


def gold(**fields):
    shares = fields.pop("shares", (("storage", "2"),))
    draft = Draft(name="gold", path_prefix="/dr", shares=shares, **fields)
    version = policies.version_of(policies.find("gold"))
    amending.propose(user=None, actor=cli(), draft=draft, version=version)
    return policies.version_of(policies.find("gold"))


def there():
    """The policy gold as it stands."""
    found = policies.find("gold")
    assert found is not None
    return found


def send(user, address="/policies/gold/", *, confirm="", **fields):
    client = browser(user)
    proof = confirmed(client, "policy", confirm) if confirm else {}
    return client.post(address, FIELDS | proof | fields)


def waiting(by, **fields):
    """A change of gold from two to one of storage."""
    version = gold()
    answer = send(by, confirm=f"gold {version}", version=version, count_1="1", **fields)
    assert answer.status_code == 303
    change = PolicyChange.objects.get(verdict="waiting")
    assert answer["Location"] == f"/policies/changes/{change.pk}/"
    return change


def decide(user, change, verb="confirm", *, proof=True):
    client = browser(user)
    fields = confirmed(client, "policy", f"change {change.pk}") if proof else {}
    return client.post(f"/policies/changes/{change.pk}/", {"verb": verb} | fields)


def said(answer):
    return Page(answer.content.decode()).root.text


def entries(tag):
    return [json.loads(entry.payload) for entry in Entry.objects.filter(tag=tag).order_by("seq")]


def line(page, name):
    return page.one("tr", id=f"policy-{name}").text


# ── Reading ──


def test_everybody_signed_in_reads_which_rule_covers_what(pair, cast, second):
    gold(ticket_pattern="INC[0-9]+", prompt="Name the outage.")
    for name in ("rivera", "osei", "okafor", "viewer", "admin"):
        page = parsed(browser(getattr(cast, name)).get("/policies/"))
        assert line(page, "gold") == (
            "gold Asks for the reason: Name the outage. /dr on every cluster two of storage 30 min 15 min Not allowed "
            "INC[0-9]+ 1"
        )
        assert line(page, "").startswith("The default every relationship that no policy covers one other person")
        assert ("Would they work tonight?" in page.text) == (name == "admin")


def test_whoever_is_limited_to_clusters_reads_nothing_of_the_others(fleet, cast, second):
    for name in ("dr-west", "dr-east"):
        draft = Draft(name=f"of-{name}", cluster=name)
        amending.propose(user=None, actor=cli(), draft=draft, version="")
    User.objects.filter(pk=cast.viewer.pk).update(roles=["viewer@dr-west"])
    page = parsed(browser(cast.viewer).get("/policies/"))
    assert "of-dr-west" in page.text
    assert "dr-east" not in page.text
    assert line(page, "").endswith(" 0")
    assert not line(parsed(browser(cast.admin).get("/policies/")), "").endswith(" 0")


def test_only_admins_open_the_forms(pair, cast, second):
    change = waiting(cast.admin)
    for address in ("/policies/new/", "/policies/gold/", f"/policies/changes/{change.pk}/"):
        for name in ("rivera", "osei", "okafor", "viewer"):
            assert browser(getattr(cast, name)).get(address).status_code == 403
            assert browser(getattr(cast, name)).post(address, FIELDS).status_code == 403
        assert browser(cast.admin).get(address).status_code == 200
    for address in ("/policies/silver/", "/policies/changes/998877/"):
        assert browser(cast.admin).get(address).status_code == 404


def test_the_form_shows_the_policy_as_it_is_with_rows_for_more(pair, cast, second):
    gold(shares=(("storage", "2"), ("", "1")), break_glass=True, ticket_pattern="INC[0-9]+")
    page = parsed(browser(cast.admin).get("/policies/gold/"))
    counts = [page.one("input", name=f"count_{number}").attrs["value"] for number in range(1, 6)]
    assert counts == ["2", "1", "", "", ""]
    chosen = [
        [
            option.attrs["value"]
            for option in page.one("select", name=f"group_{number}").all("option")
            if "selected" in option.attrs
        ]
        for number in (1, 2)
    ]
    assert chosen == [["storage"], []]
    assert page.one("input", name="path_prefix").attrs["value"] == "/dr"
    assert page.one("input", name="ticket_pattern").attrs["value"] == "INC[0-9]+"
    assert "checked" in page.one("input", name="break_glass").attrs


# ── Changing ──


def test_an_admin_makes_a_policy_that_weakens_nothing_at_once(pair, cast, second):
    answer = send(cast.admin, "/policies/new/", confirm="new")
    assert (answer.status_code, answer["Location"]) == (303, "/policies/")
    assert there().rules.required == 2
    [entry] = entries("policy.changed")
    assert entry["actor"]["account"] == "admin"
    assert "confirmed with password" in entry["detail"]["proved"]


def test_what_weakens_waits_and_another_admin_confirms_it(pair, cast, second):
    change = waiting(cast.admin)
    page = parsed(browser(second).get("/policies/"))
    assert "A change of gold waits for a second person." in page.text
    shown = parsed(browser(second).get(f"/policies/changes/{change.pk}/"))
    assert "One of storage must approve, before two." in shown.text
    assert "Approvals two of storage one of storage" in shown.text
    assert decide(second, change).status_code == 303
    assert there().rules.required == 1
    assert "confirmed with password" in entries("policy.changed")[-1]["detail"]["confirmed"]
    after = parsed(browser(second).get(f"/policies/changes/{change.pk}/"))
    assert "admin proposed it, and b.second confirmed it" in after.text
    assert not after.all("button", name="verb")


def test_the_proposer_has_no_button_to_confirm_and_a_forged_one_does_nothing(pair, cast, second):
    change = waiting(cast.admin)
    page = parsed(browser(cast.admin).get(f"/policies/changes/{change.pk}/"))
    assert [button.attrs["value"] for button in page.all("button", name="verb")] == ["drop"]
    assert "b.second can confirm it" in page.text
    answer = decide(cast.admin, change)
    assert answer.status_code == 422
    assert "another person must confirm it" in said(answer)
    assert there().rules.required == 2
    assert entries("policy.refused")[-1]["object"] == "policy:gold"


def test_where_nobody_else_is_an_admin_the_page_names_the_shell(pair, cast):
    Group.objects.create(name="storage").members.add(cast.lind.person, cast.osei.person)
    change = waiting(cast.admin)
    assert "nobody else is an admin" in said(browser(cast.admin).get(f"/policies/changes/{change.pk}/"))


def test_the_proposer_drops_a_change_without_confirming_who_they_are(pair, cast, second):
    change = waiting(cast.admin)
    assert decide(cast.admin, change, "drop", proof=False).status_code == 303
    assert entries("policy.dropped")[-1]["actor"]["label"] == "admin"
    assert decide(second, change).status_code == 409
    assert there().rules.required == 2


def test_a_policy_is_removed_by_two(pair, cast, second):
    version = gold()
    answer = send(cast.admin, confirm=f"gold {version}", version=version, verb="remove")
    change = PolicyChange.objects.get(verdict="waiting")
    assert answer["Location"] == f"/policies/changes/{change.pk}/"
    assert policies.find("gold") is not None
    decide(second, change)
    assert policies.find("gold") is None
    assert browser(cast.admin).get("/policies/gold/").status_code == 404


def test_without_confirming_who_one_is_nothing_changes(pair, cast, second):
    change = waiting(cast.admin)
    version = policies.version_of(policies.find("gold"))
    for answer in (
        send(cast.admin, "/policies/new/", name="silver"),
        send(cast.admin, version=version, count_1="3"),
        send(cast.admin, version=version, count_1="3", confirm="new"),  # made for another form
        decide(second, change, proof=False),
    ):
        assert answer.status_code == 422
    assert there().rules.required == 2
    assert len(entries("confirm.refused")) == 4


def test_a_form_from_an_old_page_is_answered_with_409_and_keeps_what_was_typed(pair, cast, second):
    old = gold()
    gold(shares=(("storage", "1"), ("", "2")))
    answer = send(cast.admin, confirm=f"gold {old}", version=old, prompt="Typed long ago")
    assert answer.status_code == 409
    page = Page(answer.content.decode()).root
    assert "The policy gold changed meanwhile. Read it again." in page.text
    assert page.one("input", name="prompt").attrs["value"] == "Typed long ago"
    assert page.one("input", name="version").attrs["value"] == old
    assert there().rules.required == 3


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"cluster": "nowhere"}, "cluster"),
        ({"path_prefix": "dr"}, "path_prefix"),
        ({"tag": "Tag!"}, "tag"),
        ({"count_1": "0"}, "count_1"),
        ({"count_1": "21"}, "count_1"),
        ({"count_1": ""}, "count_1"),
        ({"group_1": "legal"}, "group_1"),
        ({"count_4": "1", "group_4": "storage"}, "group_4"),
        ({"decide_minutes": "0"}, "decide_minutes"),
        ({"run_minutes": "x"}, "run_minutes"),
        ({"prompt": "x" * 301}, "prompt"),
        ({"ticket_pattern": "(a+)+"}, "ticket_pattern"),
    ],
)
def test_bad_input_is_one_sentence_at_its_field_and_nothing_typed_is_lost(pair, cast, second, fields, field):
    answer = send(cast.admin, "/policies/new/", **fields)
    assert answer.status_code == 422
    page = Page(answer.content.decode()).root
    [wrong] = page.all("span", cls="wrong")
    assert wrong.attrs["id"] == f"{field}-e"
    assert wrong.text.endswith(".")
    [marked] = [each for each in page.within() if each.attrs.get("aria-invalid") == "true"]
    assert marked.attrs["name"] == field
    for name, value in (FIELDS | fields).items():
        shown = [each for each in page.all("input", name=name) if value]
        assert all(each.attrs["value"] == value for each in shown)
    assert policies.find("gold") is None
    assert entries("policy.refused")[-1]["detail"] == {"field": field}


@pytest.mark.parametrize(
    "body",
    [
        FIELDS | {"shares": "[]"},
        FIELDS | {"count_24": "1"},
        FIELDS | {"name": ["gold", "silver"]},
        FIELDS | {"verb": "weaken"},
        FIELDS | {"verb": "remove"},
        FIELDS | {"prompt": "a\0b"},
        {key: value for key, value in FIELDS.items() if key != "verb"},
    ],
)
def test_a_form_that_no_page_of_ours_sends_is_400_and_changes_nothing(pair, cast, second, body):
    assert browser(cast.admin).post("/policies/new/", body).status_code == 400
    assert not PolicyChange.objects.exists()


def test_the_page_of_one_policy_does_not_change_another(pair, cast, second):
    version = gold()
    assert send(cast.admin, confirm=f"gold {version}", version=version, name="silver").status_code == 400


def test_looking_decides_nothing(pair, cast, second):
    change = waiting(cast.admin)
    before = Entry.objects.count()
    for address in ("/policies/", "/policies/new/", "/policies/gold/", f"/policies/changes/{change.pk}/"):
        for query in ("", "?verb=confirm", "?verb=remove&name=gold"):
            assert browser(second).get(address + query).status_code == 200
    change.refresh_from_db()
    assert (change.verdict, Entry.objects.count()) == ("waiting", before)


def test_what_was_typed_by_hostile_hands_is_only_text(pair, cast, second):
    gold(prompt='<script>alert(1)</script> & "quotes"')
    for address in ("/policies/", "/policies/gold/"):
        markup = browser(cast.admin).get(address).content.decode()
        assert "<script>alert" not in markup
        assert "&lt;script&gt;alert" in markup


# ── Where people look before the night ──


def test_admins_see_on_every_page_that_a_policy_could_not_be_satisfied(pair, cast, second):
    gold(shares=(("storage", "3"),))
    for name in ("rivera", "osei", "okafor", "viewer"):
        assert "could not be satisfied" not in said(browser(getattr(cast, name)).get("/"))
    page = parsed(browser(cast.admin).get("/"))
    assert "A policy could not be satisfied tonight." in page.text
    assert [link.attrs["href"] for link in page.all("a") if link.text == "Show which"] == ["/policies/"]
    listed = parsed(browser(cast.admin).get("/policies/"))
    assert "Policy gold on dr: three of storage must approve" in listed.one("ul", cls="findings").text
    gold()
    assert "could not be satisfied" not in said(browser(cast.admin).get("/"))


def test_health_counts_what_lint_found_and_stays_well(pair, cast, second):
    assert browser(cast.admin).get("/health/").json()["policies"] == "in order"
    gold(shares=(("storage", "3"),))
    answer = browser(cast.admin).get("/health/")
    assert answer.status_code == 200
    assert answer.json()["policies"] == "red: 1"


def test_every_name_of_a_policy_has_an_address(pair, cast, second):
    for name in ("changes", "0", "a-_b", "X" * 64):
        amending.propose(user=None, actor=cli(), draft=Draft(name=name), version="")
        assert browser(cast.admin).get(f"/policies/{name}/").status_code == 200
        assert re.search(f'href="/policies/{name}/"', browser(cast.admin).get("/policies/").content.decode())
    assert Cluster.objects.count() == 1


def test_the_page_of_a_relationship_names_the_policy_that_covers_it(pair, cast, second):
    address = f"/relationships/dr/{pair.sim.id}/"
    assert "No policy covers it, so the default holds: one other person must approve." in said(
        browser(cast.viewer).get(address)
    )
    gold()
    page = parsed(browser(cast.viewer).get(address))
    assert "Covered by the policy gold: two of storage must approve." in page.text
    assert [link.attrs["href"] for link in page.all("a") if link.text == "gold"] == ["/policies/#policy-gold"]
