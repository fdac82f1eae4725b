"""The page of one relationship goes on: its polls, and reading again at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import hold, observe
from dashboard.fleet.models import Cluster
from dashboard.simulator import faults
from tests.conftest import Cast
from tests.fleet.lookout import Lookout, pass_time
from tests.web.fleet import browser, parsed, since_read
from tests.web.listing import VISIBLE
from tests.web.relating import address, polled_page

pytestmark = pytest.mark.django_db


# ── Polls ────────────────────────────────────────────────────────────────────


def test_a_poll_with_nothing_new_is_an_empty_204_and_four_queries(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row)))
    pair.read()
    with CaptureQueriesContext(connection) as asked:
        answer = polled_page(client, page)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(asked) <= 4, [query["sql"] for query in asked]
    assert answer["X-Cluster-Ages"].startswith("dr=")
    assert 0 <= float(answer["X-Observed-Age"]) <= since_read()


@pytest.mark.parametrize("fields", VISIBLE.values(), ids=VISIBLE.keys())
def test_whatever_changes_brings_a_new_page(pair: Lookout, cast: Cast, fields: dict[str, Any]) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row)))
    pair.row_says(**fields)
    pair.read()
    new = parsed(polled_page(client, page))
    assert new.one("div", id="relationship").text != page.one("div", id="relationship").text
    assert polled_page(client, new).status_code == 204


def test_the_page_is_drawn_again_when_its_chart_has_grown_old(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row)))
    assert polled_page(client, page).status_code == 204
    assert polled_page(client, page, fresh=False).status_code == 200


def test_a_failover_of_it_and_the_silence_of_its_cluster_bring_a_new_page(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.rivera)
    page = parsed(client.get(address(pair.row)))
    hold.hold_rows({pair.row.pk: "FO-1001"}, phase="running", note="1/1")
    running = parsed(polled_page(client, page))
    assert running.one("a", id="act").attrs["href"] == "/failovers/FO-1001/"
    assert "every 2s" in running.one("div", id="relationship").attrs["hx-trigger"]
    pass_time(46)
    observe.regrade(database_now())
    assert "dr has not been read since" in parsed(polled_page(client, running)).one("p", "sub").text


def test_trouble_of_its_cluster_alone_brings_a_new_page(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row)))
    pair.fails(faults.expired_token(count=None))
    pair.read()
    new = parsed(polled_page(client, page)).one("p", "sub").text
    assert "What you see is what was last reported." in new


def test_somebody_signed_out_gets_no_page_but_a_mark(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row)))
    client.logout()
    answer = polled_page(client, page)
    assert (answer.status_code, answer["X-Signed-Out"]) == (204, "1")


# ── Reading again ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["relationship", "cluster"])
def test_reading_again_is_asked_for_and_answered_at_once(pair: Lookout, cast: Cast, where: str) -> None:
    url = address(pair.row) + "read-now/" if where == "relationship" else "/clusters/dr/read-now/"
    client = browser(cast.viewer)
    pass_time(6)
    seen = len(pair.target.log)
    answer = client.post(url, headers={"HX-Request": "true"})
    assert answer.content.decode().startswith("Asked at ")
    assert Cluster.objects.get().next_read_at <= database_now()
    assert len(pair.target.log) == seen  # no page waits for a cluster
    pair.read()
    again = client.post(url, headers={"HX-Request": "true"})
    assert again.content.decode() == "It was asked a moment ago."


def test_reading_again_works_without_a_script_and_only_by_post(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    pass_time(6)
    assert client.post(address(pair.row) + "read-now/")["Location"] == address(pair.row)
    answer = client.post("/clusters/dr/read-now/", follow=True)
    assert answer.redirect_chain[-1][0] == "/?cluster=dr"
    assert client.get(address(pair.row) + "read-now/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.viewer)
    assert strict.post("/clusters/dr/read-now/", headers={"HX-Request": "true"}).status_code == 403
