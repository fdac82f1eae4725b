"""The page of one relationship: every field of the answer in its place, and what the source side adds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboard.fleet.models import Relationship, Source
from tests.conftest import Cast
from tests.fleet.lookout import Lookout
from tests.web.fleet import Element, Fleet, browser, parsed, polled
from tests.web.listing import PAYLOADS
from tests.web.relating import address, page_of, panel

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
