"""Polls of the list of all relationships: they bring only what is new, and cost little."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import hold, observe, registry
from dashboard.fleet.models import Cluster, Relationship
from tests.conftest import Cast
from tests.fleet.lookout import Lookout, pass_time
from tests.web.fleet import Fleet, browser, keep, parsed, polled, since_read
from tests.web.listing import VISIBLE, rows_of

pytestmark = pytest.mark.django_db


def test_a_poll_with_nothing_new_is_an_empty_204_that_still_tells_ages(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    client = browser(cast.viewer)
    answer = polled(client, parsed(client.get("/")))
    assert (answer.status_code, answer.content) == (204, b"")
    assert 0 <= float(answer["X-Observed-Age"]) <= since_read()
    ages = dict(pair.split("=") for pair in answer["X-Cluster-Ages"].split(","))
    assert ages.keys() == {"dr-west", "dc2-archive", "edge-hub", "dr-east", "dc1-prod"}
    assert 0 <= float(ages["dr-west"]) <= since_read(name="dr-west")
    assert 1500 <= float(ages["dr-east"]) <= since_read(name="dr-east")
    assert answer["X-Cluster-Tries"].startswith("dr-east=")


def test_a_poll_of_somebody_signed_out_says_so_and_swaps_nothing(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    client.logout()
    answer = polled(client, page)
    assert (answer.status_code, answer.content, answer["X-Signed-Out"]) == (204, b"", "1")
    assert "X-Observed-Age" not in answer


def test_a_poll_with_nothing_new_costs_four_queries_without_redis(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?q=dr&health=normal"))
    with CaptureQueriesContext(connection) as asked:
        assert polled(client, page).status_code == 204
    assert len(asked) <= 4, [query["sql"] for query in asked]


def test_a_poll_with_nothing_new_costs_two_queries_with_redis(fleet: Fleet, cast: Cast, with_redis: str) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?q=dr&health=normal"))
    polled(client, page)  # some poll has asked within the last second
    keep(with_redis)
    with CaptureQueriesContext(connection) as asked:
        assert polled(client, page).status_code == 204
    assert len(asked) <= 2, [query["sql"] for query in asked]


def test_a_hundred_rows_cost_as_many_queries_as_one(fleet: Fleet, cast: Cast) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            parsed(client.get(url))
        return len(asked)

    client = browser(cast.viewer)
    assert queries("/") == queries("/?q=finance")
    assert queries("/live/") == queries("/live/?q=finance") <= 5


@pytest.mark.parametrize("fields", VISIBLE.values(), ids=VISIBLE.keys())
def test_whatever_a_row_shows_brings_a_new_table_when_it_changes(
    pair: Lookout, cast: Cast, fields: dict[str, Any]
) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    pair.read()
    assert polled(client, page).status_code == 204
    pair.row_says(**fields)
    pair.read()
    answer = polled(client, page)
    new = parsed(answer)
    assert rows_of(new)[0].text != rows_of(page)[0].text
    assert polled(client, new).status_code == 204


CHANGED_HERE: dict[str, Callable[[Lookout], Any]] = {
    "a request holds it": lambda pair: hold.hold_rows({pair.row.pk: "FO-1001"}, phase="waiting", note="0/2"),
    "another objective": lambda pair: registry.set_objective("dr", "/dr/finance", timedelta(hours=9), actor=_cli()),
    "its cluster falls silent": lambda pair: _pass_silence(),
    "its objective has passed": lambda pair: _pass_objective(pair, 1.01),
    "twice its objective has passed": lambda pair: _pass_objective(pair, 2.01),
}


def _cli() -> Any:
    from dashboard.audit.chain import cli

    return cli()


def _pass_silence() -> None:
    pass_time(46)
    observe.regrade(database_now())


def _pass_objective(pair: Lookout, times: float) -> None:
    """Time alone: nothing is read, but the cluster counts as read just now."""
    point = pair.row.recovery_point_at
    assert point is not None
    age = (database_now() - point).total_seconds()
    pass_time(times * pair.row.objective - age)
    Cluster.objects.update(last_read_at=database_now())
    assert observe.regrade(database_now()) == 1


@pytest.mark.parametrize("change", CHANGED_HERE.values(), ids=CHANGED_HERE.keys())
def test_what_changes_here_or_by_time_alone_brings_a_new_table_too(
    pair: Lookout, cast: Cast, change: Callable[[Lookout], Any]
) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    assert polled(client, page).status_code == 204
    change(pair)
    new = parsed(polled(client, page))
    assert rows_of(new)[0].text != rows_of(page)[0].text


def test_a_row_that_the_filter_leaves_out_may_change_without_a_word(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?cluster=edge-hub"))
    shown = parsed(client.get("/?cluster=dr-west"))
    Relationship.objects.filter(target_root_path__contains="legal").update(version=F("version") + 1)
    assert polled(client, page).status_code == 204
    Relationship.objects.filter(target_root_path__contains="finance").update(version=F("version") + 1)
    assert polled(client, page).status_code == 204
    assert polled(client, shown).status_code == 200


def test_a_counter_that_changes_brings_a_new_answer_whatever_the_filter_shows(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/?cluster=edge-hub"))
    hold.hold_rows({fleet.row("finance").pk: "FO-1001"}, phase="waiting", note="0/1")
    new = parsed(polled(client, page))
    assert new.one("a", id="count-approval").one("b").text == "1"
    assert new.one("nav", id="counters").attrs["hx-swap-oob"] == "true"


def test_what_changes_on_a_cluster_alone_brings_its_banner(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    Cluster.objects.filter(name="dc1-prod").update(executor_trouble="It answered 401.", version=F("version") + 1)
    new = parsed(polled(client, page))
    assert "dc1-prod refuses the executor token" in new.one("div", id="banners").text


def test_banners_are_swapped_only_when_they_say_something_else(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get("/"))
    fleet.silence("dr-east")
    first = parsed(polled(client, page))
    assert "dr-east has not answered" in first.one("div", id="banners").text
    Relationship.objects.filter(target_root_path__contains="finance").update(version=F("version") + 1)
    second = parsed(polled(client, first))
    assert rows_of(second)
    assert second.all("div", id="banners") == []  # it would be read aloud again


def test_a_shared_rendering_gives_nobody_a_button_that_is_not_theirs(fleet: Fleet, cast: Cast, with_redis: str) -> None:
    for user, offered in ((cast.rivera, True), (cast.viewer, False), (cast.tanaka, True), (cast.osei, False)):
        answer = parsed(browser(user).get("/live/", headers={"HX-Request": "true"}))
        assert bool([link for link in answer.all("a") if "fail-over" in link.attrs["href"]]) is offered
        assert answer.all("input", name="csrfmiddlewaretoken") == []
