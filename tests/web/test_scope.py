"""Roles that are limited to clusters: what a page, a poll, a count or a filter tells of the others, which is nothing;
and that Redis never hands one scope what it keeps for another."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from dashboard.accounts import people, refusals
from dashboard.accounts.models import AccessRefusals, User
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.failovers import holds
from dashboard.failovers.models import Policy
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web.live import cached_seen, pulse
from tests.conftest import PASSWORD, Cast
from tests.failovers.desk import Desk
from tests.fleet.lookout import Lookout
from tests.web.fleet import Fleet, browser, keep, parsed

pytestmark = pytest.mark.django_db


def limited(name: str, *roles: str) -> User:
    return people.add(name, roles=roles, password=PASSWORD, actor=SYSTEM)


@pytest.fixture
def west(fleet: Fleet) -> User:
    return limited("west", "viewer@dr-west", "operator@dr-west")


def elsewhere(body: str, mine: str) -> list[str]:
    """Names and paths of other clusters that the text tells."""
    rows = Relationship.objects.exclude(cluster__name=mine).select_related("cluster")
    names = {row.cluster.name for row in rows} | {row.target_root_path.rstrip("/") for row in rows}
    seen = Relationship.objects.filter(cluster__name=mine)
    # What replicates to dr-west may come from a cluster that the desk watches, too: its name is a fact of the row.
    names -= set(seen.values_list("source_cluster_name", flat=True))
    return sorted(name for name in names if name in body)


# ── Pages and polls ──


@pytest.mark.parametrize("url", ["/", "/live/", "/wall/", "/wall/live/", "/approvals/", "/approvals/live/"])
def test_a_page_tells_nothing_of_other_clusters(fleet: Fleet, west: User, url: str) -> None:
    answer = browser(west).get(url)
    assert answer.status_code == 200
    assert elsewhere(answer.content.decode(), "dr-west") == []
    told = [answer.get(name, "") for name in ("X-Cluster-Ages", "X-Cluster-Tries")]
    assert elsewhere(" ".join(told), "dr-west") == []


def test_counters_filters_and_the_words_count_what_the_person_sees(fleet: Fleet, west: User, cast: Cast) -> None:
    own = Relationship.objects.filter(cluster__name="dr-west").count()
    page = parsed(browser(west).get("/"))
    assert page.one("a", id="count-all").one("b").text == str(own)
    assert f"{own} of {own} relationships" in page.one("caption").text
    assert "You may see 1 cluster. Nothing here counts what is on others." in page.text
    assert [each.text for each in page.one("select", id="f-cluster").all("option")][1:] == ["dr-west"]
    everything = parsed(browser(cast.viewer).get("/"))
    assert "You may see" not in everything.text
    assert len(everything.one("select", id="f-cluster").all("option")) == 6


def test_a_filter_or_a_place_in_the_list_opens_no_other_cluster(fleet: Fleet, west: User) -> None:
    other = Relationship.objects.exclude(cluster__name="dr-west").first()
    assert other is not None
    client = browser(west)
    own = Relationship.objects.filter(cluster__name="dr-west").count()
    for query in ("cluster=dr-east", f"q={other.relationship_id}", f"q={other.target_root_path.strip('/')}"):
        assert not parsed(client.get(f"/?{query}")).all("a", cls="rel")
    # An `after` that names a row which is not there for this person is no place at all.
    assert len(parsed(client.get(f"/?after={other.pk}.{other.grade_rank}")).all("a", cls="rel")) == own
    wall = client.get("/wall/?cluster=dr-east").content.decode()
    assert elsewhere(wall.replace("?cluster=dr-east", ""), "dr-west") == []


def test_a_hold_or_a_silence_elsewhere_is_nothing_to_this_person(fleet: Fleet, west: User, cast: Cast) -> None:
    fleet.silence("dr-east")
    holds.hold(scope="dr-east", reason="Drill of the network", actor=SYSTEM)
    for url in ("/", "/wall/", "/approvals/"):
        body = browser(west).get(url).content.decode()
        assert "dr-east" not in body
        assert "Drill of the network" not in body
    assert "Drill of the network" in browser(cast.viewer).get("/").content.decode()


def test_the_source_side_is_told_only_by_a_source_that_the_person_sees(fleet: Fleet, west: User, cast: Cast) -> None:
    told = []
    for row in Relationship.objects.filter(cluster__name="dr-west"):
        url = f"/relationships/dr-west/{row.relationship_id}/"
        theirs, ours = browser(west).get(url).content.decode(), browser(cast.viewer).get(url).content.decode()
        told.append("reported it, read at" in ours)
        assert "reported it, read at" not in theirs
    assert any(told)


def test_a_policy_of_another_cluster_is_not_listed(fleet: Fleet, west: User, cast: Cast) -> None:
    for name in ("dr-west", "dr-east"):
        Policy.objects.create(name=f"of-{name}", cluster=name, shares=[{"group": "", "count": 1}])
    body = browser(west).get("/policies/").content.decode()
    assert "of-dr-west" in body
    assert "dr-east" not in body
    assert "of-dr-east" in browser(cast.viewer).get("/policies/").content.decode()


def test_the_button_stands_only_where_the_person_may_ask(fleet: Fleet) -> None:
    both = limited("both", "viewer@dr-west", "operator@dr-east")
    page = parsed(browser(both).get("/"))
    asked = {
        each.attrs["href"].split("/")[2] for each in page.all("a") if each.attrs.get("href", "").endswith("/fail-over/")
    }
    assert asked == {"dr-east"}
    assert {row.attrs["href"].split("/")[2] for row in page.all("a", cls="rel")} == {"dr-west", "dr-east"}


def test_a_request_that_is_also_about_other_clusters_is_named_and_not_linked(sites: Desk) -> None:
    west = limited("west", "operator@dr")
    client, url = browser(west), f"/relationships/dr/{sites.row.relationship_id}/"
    alone = sites.request()
    assert parsed(client.get("/")).one("a", cls="badge").attrs["href"] == f"/failovers/{alone.number}/"
    assert pulse(west).waiting == 1
    sites.cancel(alone)
    asked = sites.ask_for(list(Relationship.objects.select_related("cluster").order_by("pk")))
    page = parsed(client.get("/"))
    assert page.one("span", cls="badge").text.startswith(asked.number)
    assert not page.all("a", cls="badge")
    assert client.get(f"/failovers/{asked.number}/").status_code == 404
    detail = client.get(url).content.decode()
    assert "is also about clusters that you may not see" in detail
    assert f"/failovers/{asked.number}/" not in detail
    assert pulse(west).waiting == 0


def test_a_calm_wall_says_that_it_speaks_of_some_clusters_only(pair: Lookout, cast: Cast) -> None:
    west = limited("west", f"viewer@{pair.cluster.name}")
    assert "Of 1 cluster only; it answers." in parsed(browser(west).get("/wall/")).text
    assert "Of 1 cluster only" in parsed(browser(cast.viewer).get(f"/wall/?cluster={pair.cluster.name}")).text
    assert "Its cluster answers." in parsed(browser(cast.viewer).get("/wall/")).text


def test_an_account_that_may_see_nothing_is_told_so(fleet: Fleet) -> None:
    client = browser(limited("lost", "viewer@gone"))
    page = parsed(client.get("/"))
    assert "There is nothing that you may see" in page.text
    assert "Your roles are limited to gone, which is not here. An admin can change them." in page.text
    assert "No cluster to see" in parsed(client.get("/wall/")).text
    for url in ("/live/", "/wall/live/", "/approvals/", "/approvals/live/"):
        assert client.get(url).status_code == 200


# ── What is kept between polls ──


def test_no_fragment_and_no_version_of_one_scope_reaches_another(fleet: Fleet, with_redis: str, cast: Cast) -> None:
    """In the worst order: whoever sees everything fills Redis first, then each scope after the other, and back."""
    crowd = {
        "": cast.viewer,
        "dr-west": limited("w", "viewer@dr-west"),
        "dr-east": limited("e", "viewer@dr-east"),
    }
    store = redis.Redis.from_url(with_redis)
    for url in ("/live/", "/wall/live/", "/approvals/live/"):
        for _ in range(2):
            bodies = {}
            for name, user in crowd.items():
                answer = browser(user).get(url, headers={"HX-Request": "true"})
                keep(with_redis)  # nothing may run out: that would hide that it is shared
                bodies[name] = answer.content.decode() + answer.get("X-Cluster-Ages", "")
                if name:
                    assert elsewhere(bodies[name], name) == [], url
            assert "dr-east" in bodies[""] or url == "/approvals/live/"
    assert list(store.scan_iter("failover-desk:page:html:*"))


def test_the_pulse_of_one_scope_is_not_that_of_another(cast: Cast, with_redis: str) -> None:
    now = timezone.now()
    for name, ago in (("dr-west", 5), ("dr-east", 500)):
        Cluster.objects.create(name=name, url="https://x:8000", uuid=name, last_read_at=now - timedelta(seconds=ago))
    east = limited("e", "viewer@dr-east")
    young, old = pulse(cast.viewer).age, pulse(east).age
    assert young is not None
    assert old is not None
    assert young < 100 < old
    same = limited("e2", "operator@dr-east")
    assert cached_seen(east, "key", lambda: "first") == "first"
    keep(with_redis)
    assert cached_seen(same, "key", lambda: "second") == "first"  # another role, the same scope
    assert cached_seen(cast.viewer, "key", lambda: "third") == "third"


# ── In the ledger ──


def told(why: str) -> list[dict[str, Any]]:
    entries = Entry.objects.filter(tag="access.refused").order_by("seq")
    return [entry.record for entry in entries if entry.record["detail"]["why"] == why]


def test_what_is_of_another_cluster_is_told_to_the_ledger_and_not_to_the_person(fleet: Fleet, west: User) -> None:
    client, other = browser(west), Relationship.objects.exclude(cluster__name="dr-west").first()
    assert other is not None
    url = f"/relationships/{other.cluster.name}/{other.relationship_id}/"
    theirs = client.get(url)
    nowhere = client.get("/relationships/dr-west/no-such/")
    assert (theirs.status_code, nowhere.status_code) == (404, 404)
    assert theirs.content == nowhere.content
    (entry,) = told("scope")
    assert entry["words"] == f"GET {url}: it belongs to a cluster that this account may not see."
    assert (entry["actor"]["account"], entry["object"]) == ("west", "page:relationship")
    assert len(told("absent")) == 1


def test_refusals_are_told_once_a_minute_for_each_account_and_address_with_their_count(cast: Cast) -> None:
    client = browser(cast.viewer)
    for _ in range(5):
        assert client.get("/clusters/").status_code == 403
    assert client.get("/people/").status_code == 403
    assert browser(cast.rivera).get("/clusters/").status_code == 403
    assert [(each["actor"]["account"], each["detail"]["count"]) for each in told("role")] == [
        ("viewer", 1),
        ("viewer", 1),
        ("a.rivera", 1),
    ]
    assert refusals.tell_what_is_left() == 0
    AccessRefusals.objects.filter(untold__gt=0).update(told_at=timezone.now() - timedelta(seconds=61))
    assert refusals.tell_what_is_left() == 1
    last = told("role")[-1]
    assert last["detail"]["count"] == 4
    assert last["words"] == ("GET /clusters/: This needs the role admin. It is the last of 4 such attempts.")
    assert refusals.tell_what_is_left() == 0


def test_a_method_that_is_not_taken_and_a_forged_form_are_told_too(cast: Cast) -> None:
    assert browser(cast.admin).delete("/clusters/").status_code == 405
    assert told("method")[0]["words"] == "DELETE /clusters/: this address does not take the method."
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(cast.admin)
    assert forged.post("/people/viewer/", {"role:admin": "1"}).status_code == 403
    assert told("form")[0]["object"] == "page:person"


def test_a_hostile_address_is_told_in_characters_that_can_be_read(cast: Cast) -> None:
    browser(cast.viewer).get("/people/%E2%80%AEevil%1b[31m" + "x" * 900 + "/")
    (entry,) = told("role")
    words = json.dumps(entry["words"], ensure_ascii=False)
    assert "\u202e" not in words
    assert "\\\\u202e" in words.lower()
    assert len(entry["words"]) < 500
