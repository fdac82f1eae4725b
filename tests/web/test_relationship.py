"""The page of one relationship: every field of the answer in its place, its history, and what the source side adds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.database import database_now
from dashboard.fleet import hold, observe
from dashboard.fleet.models import Cluster, Event, RecoveryPoint, Relationship, Source
from dashboard.simulator import faults
from dashboard.web.chart import Point, draw
from tests.conftest import Cast
from tests.failovers.desk import Desk
from tests.fleet.lookout import Lookout, pass_time
from tests.web.fleet import Element, Fleet, browser, parsed, polled, since_read
from tests.web.test_list import PAYLOADS, VISIBLE

pytestmark = pytest.mark.django_db

TARGET_FIELDS: dict[str, Any] = {
    "state": "ESTABLISHED",
    "end_reason": "because of the end",
    "source_cluster_name": "name-of-source",
    "source_cluster_uuid": "11111111-aaaa-4444-8888-000000000001",
    "source_root_path": "/path/of/source/",
    "source_address": "10.9.8.7",
    "source_port": 3799,
    "target_cluster_name": "name-of-target",
    "target_root_path": "/path/of/target/",
    "job_state": "REPLICATION_RUNNING",
    "job_start_time": "2026-01-02T03:04:05.678901234Z",
    "recovery_point": "2026-01-01T02:03:04.5678Z",
    "error_from_last_job": "error of the last job",
    "duration_of_last_job": {"nanoseconds": "754000000000"},
    "target_root_id": "126000320998089907413563998212",
    "lock_key": "key-of-lock",
    "replication_enabled": False,
    "source_root_read_only": True,
    "target_root_read_only": True,
    "replication_job_status": {
        "percent_complete": 42.9,
        "estimated_seconds_remaining": "3661",
        "bytes_transferred": "1100000000",
        "bytes_unchanged": "2200000000",
        "bytes_remaining": "3300000000",
        "bytes_deleted": "4400000000",
        "bytes_total": "5500000000",
        "files_transferred": "1001",
        "files_unchanged": "2002",
        "files_remaining": "3003",
        "files_deleted": "4004",
        "files_total": "5005",
        "throughput_overall": "66000000",
        "throughput_current": "77000000",
    },
    "recovery_point_snapshot": {
        "id": 990011,
        "name": "name-of-snapshot",
        "timestamp": "2025-12-31T23:59:58.1Z",
        "directory_name": "990011_name-of-snapshot",
        "source_file_id": "126000320998089907413563998213",
        "created_by_policy": True,
        "expiration": "2027-05-06T07:08:09Z",
        "in_delete": True,
    },
}
SOURCE_FIELDS = {
    "replication_mode": "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS",
    "blackout_windows": [
        {"start_hour": 8, "start_minute": 5, "end_hour": 18, "end_minute": 0, "on_days": ["MON", "TUE"]}
    ],
    "blackout_window_timezone": "Europe/Zurich",
    "next_active_time": "2026-02-03T04:05:06Z",
    "queued_snapshot_count": 2102,
    "replicating_snapshot": {"id": "4711", "name": "being-replicated"},
    "snapshot_policies": [{"id": "17", "target_expiration": "same_as_policy"}],
}


def address(row: Relationship) -> str:
    return f"/relationships/{row.cluster.name}/{row.relationship_id}/"


def page_of(pair: Lookout, user: Any, query: str = "") -> Element:
    return parsed(browser(user).get(address(pair.row) + query))


def panel(page: Element, title: str) -> Element:
    return next(each for each in page.all("section", "panel") if [h.text for h in each.all("h2")] == [title])


# ── Every field in its place ─────────────────────────────────────────────────


def test_every_field_of_the_targets_answer_stands_in_its_place(pair: Lookout, cast: Cast) -> None:
    identity = pair.row.relationship_id
    pair.row_says(**TARGET_FIELDS)
    pair.read()
    row = Relationship.objects.get(target_root_path="/path/of/target/")
    page = parsed(browser(cast.viewer).get(address(row)))
    assert "dr:/path/of/target" in page.one("h1").text

    ends = page.one("section", aria_label="Source and target")
    source, target = ends.all("div", "end")
    for words in ("name-of-source", "/path/of/source", "Read-only", "Last connected from 10.9.8.7, port 3799"):
        assert words in source.text
    for words in ("dr", "/path/of/target", "Read-only", "Directory file ID 126000320998089907413563998212"):
        assert words in target.text

    job = panel(page, "Job").text
    for words in ("42 %", "Running since 2026-01-02 03:04:05 UTC", "About 1 h 1 min left", "66.0 MB/s", "77.0 MB/s"):
        assert words in job
    figures = [cell.text for cell in panel(page, "Job").all("td")]
    assert figures == [
        "1.10 GB",
        "2.20 GB",
        "4.40 GB",
        "3.30 GB",
        "5.50 GB",
        "1,001",
        "2,002",
        "4,004",
        "3,003",
        "5,005",
    ]
    for words in ("Failed after 12 min 34 s", "error of the last job", "Automatic replication Off"):
        assert words in job

    point = panel(page, "Recovery point").text
    for words in (
        "2026-01-01 02:03:04 UTC",
        "Its snapshot is older: a failover returns the target to 2025-12-31 23:59:58",
    ):
        assert words in point
    for words in (
        "990011",
        "name-of-snapshot",
        "Snapshot policy",
        "990011_name-of-snapshot",
        "2027-05-06 07:08:09 UTC",
    ):
        assert words in point
    assert "126000320998089907413563998213" in point
    assert re.search(r"Being deleted\s*Yes", point)

    told = panel(page, "Identity").text
    for words in (
        "ESTABLISHED",
        "REPLICATION_RUNNING",
        "because of the end",
        identity,
        "name-of-target",
        pair.target.uuid,
    ):
        assert words in told
    assert TARGET_FIELDS["source_cluster_uuid"] in told
    assert "key-of-lock" in panel(page, "Snapshot lock").text


def test_what_a_cluster_does_not_say_is_not_reported_and_never_a_zero(pair: Lookout, cast: Cast) -> None:
    pair.row_says(
        job_state="REPLICATION_RUNNING",
        replication_job_status={"percent_complete": 3},
        recovery_point_snapshot={"id": 5},
        replication_enabled=None,
        lock_key=None,
        source_address=None,
    )
    pair.read()
    page = page_of(pair, cast.viewer)
    assert [cell.text for cell in panel(page, "Job").all("td")] == ["Not reported"] * 10
    assert "No estimate" in panel(page, "Job").text
    snapshot = panel(page, "Recovery point").text
    assert snapshot.count("Not reported") == 6
    assert "No time is set" in snapshot
    assert "None is set" in panel(page, "Snapshot lock").text
    assert "Address not reported" in page.text


def test_a_running_job_without_figures_has_a_bar_without_a_value(pair: Lookout, cast: Cast) -> None:
    pair.row_says(job_state="REPLICATION_RUNNING", replication_job_status=None)
    pair.read()
    bar = panel(page_of(pair, cast.viewer), "Job").one("progress")
    assert "value" not in bar.attrs
    assert "dr reports no figures for this job." in panel(page_of(pair, cast.viewer), "Job").text


def test_what_only_the_source_knows_comes_from_the_source_cluster(fleet: Fleet, cast: Cast) -> None:
    row = fleet.row("/dr/dc1/finance")
    found = Source.objects.get(relationship_id=row.relationship_id)
    found.status |= SOURCE_FIELDS
    found.save()
    told = panel(parsed(browser(cast.viewer).get(address(row))), "Source side").text
    for words in (
        "By snapshot policy, and continuous in between",
        "Policy 17, kept on the target: same as policy",
        "Mon, Tue 08:05 – 18:00 (Europe/Zurich)",
        "2026-02-03 04:05:06 UTC",
        "2,102",
        "being-replicated",
        "As dc1-prod reported it",
    ):
        assert words in told


def test_a_source_that_is_not_watched_is_said_to_be_unknown(fleet: Fleet, cast: Cast) -> None:
    client = browser(cast.viewer)
    strange = panel(parsed(client.get(address(fleet.row("/hub/pos-14")))), "Source side").text
    assert "branch-14 is not one of the clusters here." in strange
    assert "not known" in strange
    row = fleet.row("/dr/dc1/finance")
    Source.objects.all().delete()
    silent = panel(parsed(client.get(address(row))), "Source side").text
    assert "dc1-prod is one of the clusters here, but has not told of this relationship" in silent


# ── In words ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/vault/sequencer", "It has been waiting to be authorized on dc2-archive for at least"),
        ("/dr/dc3/render", "Nothing is replicated: it has been disconnected for at least"),
        ("/vault/old-2019", "It has ended."),
        ("/vault/masters", "Being re-established."),
        ("/dr/dc1/finance", "The recovery point is 2.3 × its objective."),
        ("/hub/cctv-11", "The last job failed."),
        ("/hub/pos-14", "Its recovery point is within the objective of 1 h."),
    ],
)
def test_the_page_says_in_sentences_how_it_is(fleet: Fleet, cast: Cast, path: str, words: str) -> None:
    Relationship.objects.filter(target_root_path__contains="finance").update(objective=900)
    page = parsed(browser(cast.viewer).get(address(fleet.row(path))))
    assert words in page.one("p", "sub").text


def test_what_is_old_says_why_and_does_not_tick(fleet: Fleet, cast: Cast) -> None:
    fleet.silence("dr-east")
    page = parsed(browser(cast.rivera).get(address(fleet.row("/dr/pacs"))))
    words = page.one("p", "sub").text
    assert "dr-east has not been read since" in words
    assert "What you see is what was last reported." in words
    assert panel(page, "Recovery point").all("time", data_rel="age") == []
    assert float(page.one("circle", "now").attrs["cx"]) < 684  # the line ends where the readings do
    assert [link for link in page.all("a", "btn") if "Fail over" in link.text] == []


def test_the_pair_is_drawn_as_its_state_is(fleet: Fleet, cast: Cast) -> None:
    drawings = {}
    for row in Relationship.objects.select_related("cluster"):
        page = parsed(browser(cast.viewer).get(address(row)))
        link = page.one("div", "link")
        drawings[row.state] = [
            (each.tag, tuple(sorted(each.attrs.items()))) for each in link.within() if each.tag != "br"
        ]
        assert link.one("strong").text
    assert len(drawings) == 7
    assert len({str(drawing) for drawing in drawings.values()}) == 7


def test_an_unknown_state_is_drawn_as_a_question(pair: Lookout, cast: Cast) -> None:
    pair.row_says(state="THAWING")
    pair.read()
    link = page_of(pair, cast.viewer).one("div", "link")
    assert link.one("code").text == "THAWING"
    assert link.one("rect", "dashed")


# ── Which one ────────────────────────────────────────────────────────────────


def test_an_id_that_came_back_shows_the_relationship_of_now(pair: Lookout, cast: Cast) -> None:
    before = pair.row
    pair.row_says(target_root_id="777", target_root_path="/reborn/")
    pair.read()
    assert Relationship.objects.filter(relationship_id=before.relationship_id).count() == 2
    page = parsed(browser(cast.viewer).get(address(before)))
    assert "/reborn" in page.one("h1").text


def test_one_that_is_gone_is_still_shown_and_says_so(pair: Lookout, cast: Cast) -> None:
    for _ in range(3):
        pair.says([])
        pair.read()
    assert "dr does not list it any more since" in page_of(pair, cast.viewer).one("p", "sub").text


@pytest.mark.parametrize(
    "path", ["/relationships/dr/nothing/", "/relationships/nowhere/{id}/", "/relationships/dr/{id}%00/"]
)
def test_what_does_not_exist_is_not_found(pair: Lookout, cast: Cast, path: str) -> None:
    client = browser(cast.viewer)
    found = path.replace("{id}", pair.row.relationship_id)
    assert client.get(found).status_code == 404
    assert client.get(found + "live/", headers={"HX-Request": "true"}).status_code == 404
    assert client.post(found + "read-now/").status_code == 404


# ── History ──────────────────────────────────────────────────────────────────

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


def minutes(*pairs: tuple[float, float]) -> list[Point]:
    """(recovery point, first seen), both in minutes before NOW."""
    return [Point(NOW - timedelta(minutes=at), NOW - timedelta(minutes=seen)) for at, seen in pairs]


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def drawn(points: list[Point], current: float | None, *, span: str = "6h", until: float = 0, goal: float = 15) -> Any:
    return draw(
        points,
        current=None if current is None else NOW - timedelta(minutes=current),
        span=span,
        now=NOW,
        until=NOW - timedelta(minutes=until),
        objective=timedelta(minutes=goal),
    )


def test_the_age_rises_with_time_and_falls_when_a_job_succeeds() -> None:
    chart = drawn(minutes((370, 365), (100, 90)), 100)
    (a, b, c, d) = corners(chart.line)
    assert a[0] == 52
    assert d[0] == 684
    assert b[0] == c[0] == pytest.approx(52 + 632 * 270 / 360, abs=0.1)
    assert b[1] < a[1]  # higher up: older
    assert c[1] > b[1]  # down again
    assert chart.age == timedelta(minutes=100)
    assert chart.most == timedelta(minutes=280)
    assert chart.over


def test_the_share_of_time_within_the_objective_is_of_the_known_time() -> None:
    # Seen for the last 60 minutes: 10 min old at first, over 15 after five, and new at half time.
    chart = drawn(minutes((70, 60), (30, 30)), 30)
    assert chart.kept == pytest.approx(100 * (5 + 15) / 60)
    assert chart.kept_words == "33.3"
    assert drawn(minutes((5, 5)), 5).kept_words == "100"
    assert drawn(minutes((400, 390)), 400).kept_words == "0"
    assert drawn(minutes((600, 599)), 600, goal=599.99).kept_words != "100"


def test_before_the_first_reading_the_line_is_reckoned_and_marked_so() -> None:
    chart = drawn(minutes((120, 60)), 120)
    (start, end) = corners(chart.reckoned)
    assert start[0] == pytest.approx(52 + 632 * 240 / 360, abs=0.1)
    assert end == corners(chart.line)[0]
    assert drawn(minutes((400, 390)), 400).reckoned == ""


def test_a_recovery_point_that_history_does_not_hold_yet_counts_at_the_end() -> None:
    chart = drawn(minutes((120, 110)), 2)
    assert chart.age == timedelta(minutes=2)
    assert not chart.over
    assert chart.most == timedelta(minutes=120)


def test_the_line_of_what_is_not_read_any_more_ends_at_its_last_reading() -> None:
    chart = drawn(minutes((120, 110)), 120, until=60)
    assert chart.age == timedelta(minutes=60)
    assert float(chart.end_x) == pytest.approx(52 + 632 * 300 / 360, abs=0.1)


@pytest.mark.parametrize("points", [[], minutes((900, 890))])
def test_what_is_not_known_is_not_drawn(points: list[Point]) -> None:
    assert drawn(points, None if not points else 900, until=800) is None


def test_a_month_of_short_jobs_stays_a_small_drawing() -> None:
    points = minutes(*((5 * n + 4, 5 * n) for n in range(8640, 0, -1)))
    chart = drawn(points, 4, span="30d")
    assert len(chart.line) < 40_000
    assert chart.most == timedelta(minutes=9)
    assert [tick.words for tick in chart.ticks][-1] == "13 Mar"


@pytest.mark.parametrize(("span", "age"), [("6h", 31), ("24h", 700), ("7d", 3000), ("30d", 20000), ("6h", 3)])
def test_the_axis_has_a_few_round_lines_of_one_unit(span: str, age: float) -> None:
    chart = drawn(minutes((age, age - 0.1)), age, span=span)
    words = [label.words for label in chart.lines]
    assert words[0] == "0"
    assert 2 <= len(words) <= 6
    assert len({word.split()[1] for word in words[1:]}) == 1
    assert 3 <= len(chart.ticks) <= 8


def test_the_chart_is_told_in_words_and_its_range_is_in_the_url(pair: Lookout, cast: Cast) -> None:
    row = pair.row
    RecoveryPoint.objects.all().delete()
    now = database_now()
    RecoveryPoint.objects.create(relationship=row, at=now - timedelta(hours=9), seen_at=now - timedelta(hours=8))
    page = page_of(pair, cast.viewer, "?range=24h")
    chart = panel(page, "Recovery point age")
    assert "Recovery point age over the last 1 d: now" in chart.one("title").text
    short = panel(page_of(pair, cast.viewer), "Recovery point age")
    assert short.all("path", "lag")[-1].attrs["d"].startswith("M52.0 ")  # known since before the range
    (chosen,) = chart.all("a", aria_current="true")
    assert chosen.attrs["href"] == f"{address(row)}?range=24h"
    assert "range=24h" in page.one("div", id="relationship").attrs["hx-get"]
    assert (
        panel(page_of(pair, cast.viewer, "?range=forever"), "Recovery point age").one("a", aria_current="true").text
        == "6 h"
    )


def test_its_events_are_told_newest_first_and_all_of_them_on_demand(pair: Lookout, cast: Cast) -> None:
    for number in range(30):
        at = database_now() + timedelta(seconds=number)
        Event.objects.create(relationship=pair.row, at=at, kind="job", words=f"Event {number}", detail="<b>detail</b>")
    page = page_of(pair, cast.viewer)
    events = [item.text for item in page.one("section", id="events").all("li")]
    assert len(events) == 12
    assert "Event 29" in events[0]
    more = page.one("section", id="events").one("a").attrs["href"].partition("#")[0]
    every = parsed(browser(cast.viewer).get(more))
    assert len(every.one("section", id="events").all("li")) == 31
    assert (
        len(parsed(polled_page(browser(cast.viewer), every, fresh=False)).one("section", id="events").all("li")) == 31
    )


def test_its_failovers_are_listed_with_who_asked_and_who_approved(cast: Cast) -> None:
    desk = Desk(cast)
    done = desk.see_it_through(desk.sent())
    page = parsed(browser(cast.viewer).get(address(desk.row)))
    listed = panel(page, "Operations")
    assert listed.one("a").attrs["href"] == f"/failovers/{done.number}/"
    assert f"{done.number}: writable after" in listed.text
    assert "a.rivera, approved by k.osei" in listed.text


# ── Polls ────────────────────────────────────────────────────────────────────


def polled_page(client: Client, page: Element, *, fresh: bool = True) -> Any:
    """The next poll; `fresh` False: as if the page had been drawn long ago."""
    url = page.one("div", id="relationship").attrs["hx-get"]
    return client.get(url if fresh else re.sub(r"-\d+$", "-0", url), headers={"HX-Request": "true"})


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


# ── Hostile clusters ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_cluster_sends_becomes_markup(pair: Lookout, cast: Cast, payload: str) -> None:
    texts = {name: payload for name, value in TARGET_FIELDS.items() if isinstance(value, str) and not _fixed(name)}
    snapshot = dict.fromkeys(("id", "name", "directory_name", "source_file_id"), payload)
    client = browser(cast.rivera)

    def say(words: str) -> tuple[Element, str]:
        pair.row_says(**dict.fromkeys(texts, words) | {"recovery_point_snapshot": dict.fromkeys(snapshot, words)})
        pair.read()
        answer = client.get(address(pair.row))
        return parsed(answer), answer.content.decode()

    harmless, _ = say("/harmless")
    page, markup = say(payload)
    # A change of path is an event, and the state is another one: only the log may have grown.
    for each in (harmless, page):
        log = each.one("section", id="events")
        log.children.clear()
    assert page.tags() == harmless.tags()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", markup)


def _fixed(name: str) -> bool:
    """What must stay as it is for the row to be this row, readable."""
    return name in ("source_cluster_uuid", "recovery_point", "job_start_time", "target_root_id")


def test_a_poll_keeps_the_address_of_the_page(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    page = parsed(client.get(address(pair.row) + "?range=7d"))
    assert "HX-Replace-Url" not in polled(client, page)
