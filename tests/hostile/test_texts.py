"""Texts that attack whoever stores, shows, compares or exports them, wherever a cluster can put one, through the whole
life of a failover: no page has an element or an attribute more than with a plain text in the same place.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction

from dashboard.failovers import reading
from dashboard.failovers.lifecycle import State
from tests.failovers.desk import pass_time
from tests.hostile.scene import NODE, WRITABLE, Scene
from tests.web.fleet import Element

TEXTS = ("source_cluster_name", "target_cluster_name", "error_from_last_job", "lock_key", "source_address")
PATHS = ("source_root_path", "target_root_path")
PLACES = ("list", "relationship", "dialog", "wall", "approvals", "audit", "failover")
SENT = ["request.made", "request.approved", "failover.sent", "failover.reverting"]

ATTACKS = {
    "markup": (
        "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;b&gt;&#60;i&#62;"
        "{{ settings.SECRET_KEY }}{% now 'Y' %}"
    ),
    "nothing that shows": (
        "a\x00b\ud800c\udfff\x1b[31mred\x9b0m\x07\u202ecnanif\u2066x\u2069a\u200bb\u00adc\ufeff\u3164"
    ),
    "formulas and lines": '=cmd|"/c calc"!A1\r\nSet-Cookie: a=b\u2028+1\t@SUM(1)',
}


def says(scene: Scene, text: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(TEXTS, text) | dict.fromkeys(PATHS, f"/{text}/finance/")
    fields["replication_job_status"] = {"percent_complete": 12, "bytes_transferred": 5}
    named = dict.fromkeys(("id", "name", "directory_name"), text)
    fields["recovery_point_snapshot"] = scene.sim.status()["recovery_point_snapshot"] | named
    scene.row_says(job_state="REPLICATION_RUNNING", **fields)


def shape(root: Element) -> list[tuple[str, list[str]]]:
    """Every element, with the names of its attributes."""
    return [(each.tag, sorted(each.attrs)) for each in root.within()]


def life(scene: Scene, text: str) -> dict[str, list[tuple[str, list[str]]]]:
    """The shapes of all pages at each stage."""
    shapes = {}
    says(scene, text)
    scene.poll()
    scene.desk.row.refresh_from_db()
    typed = reading.expected_typing([scene.row])
    scene.failover = scene.desk.request(typed=typed).failovers.get()
    for place in PLACES:
        shapes[f"requested, {place}"] = shape(scene.page(place))
    scene.desk.approve(scene.failover.request)
    scene.step(times=2)
    for place in ("list", "relationship", "failover", "audit"):
        shapes[f"reverting, {place}"] = shape(scene.page(place))
    return shapes


_plain: dict[str, Any] = {}


def plain(cast: Any) -> dict[str, Any]:
    """The shapes of a life in which nobody says anything strange. It is lived once, and taken back."""
    if not _plain:
        before = transaction.savepoint()
        _plain.update(life(Scene(cast), "plain"))
        transaction.savepoint_rollback(before)
    return _plain


@pytest.mark.hostile("H22")
@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_a_text_from_a_cluster_is_text_on_every_page_and_stops_no_failover(db, cast, text):
    expected = plain(cast)
    scene = Scene(cast)
    assert life(scene, text) == expected
    scene.revert_ends()
    scene.step(times=2)
    row = scene.row
    assert all(len(getattr(row, path)) <= 4096 for path in PATHS)
    assert not {"\x00"} & set(row.target_root_path + row.error + row.search)
    assert row.facts.target_root_path == row.target_root_path
    scene.shows(
        page={"failover": "The target is writable.", "list": "Disconnected", "audit": "Verified"},
        database={"cluster.trouble": "", "row.unreadable": "", "failover.state": State.SUCCEEDED},
        ledger=[*SENT, "failover.disconnected", "failover.succeeded"],
        posts=1,
    )


@pytest.mark.hostile("H22")
def test_a_text_of_a_megabyte_is_cut_and_two_that_differ_at_the_end_stay_different(scene):
    kept = []
    for end in "xy":
        long = "/" + "a" * 1_000_000 + end
        scene.row_says(target_root_path=long, source_root_path=long, error_from_last_job=long, state="S" * 5000)
        scene.poll()
        kept.append((scene.row.target_root_path, scene.row.source_root_path, scene.row.error))
        assert all(len(text) <= 4096 and "[cut, sha256 " in text for text in kept[-1])
        assert len(scene.row.state) == 64
    assert not set(kept[0]) & set(kept[1])
    page = {"list": "State not known here", "relationship": "aaaa", "dialog": "aaaa", "wall": "dr"}
    scene.shows(page=page, database={"cluster.trouble": "", "row.unreadable": ""}, ledger=[], posts=0)


@pytest.mark.hostile("H22")
@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_what_a_cluster_says_of_itself_and_why_it_refuses_is_text_as_well(scene, text):
    scene.says({"cluster_name": text}, path="/v1/cluster/settings")
    scene.says({"revision_id": f"Qumulo Core {text}"}, path="/v1/version")
    scene.says({"cluster_id": scene.target.uuid, "node_id": 1, "state": text}, path=NODE)
    pass_time(61)
    scene.poll()
    scene.approve()
    refusal = json.dumps({"error_class": text, "description": text}).encode()
    scene.says(refusal, path=WRITABLE, status=409, applied=False)
    scene.step()
    for place in ("list", "clusters", "audit", "failover"):
        root = scene.page(place)
        assert not root.all("img")
        assert all("src" in each.attrs or each.attrs.get("type") for each in root.all("script"))
        assert not [each for each in root.within() if any(name.startswith("on") for name in each.attrs)]
    scene.shows(
        page={"failover": "Refused: dr refused make-writable. It answered 409"},
        database={"failover.state": State.REFUSED, "cluster.trouble": "", "cluster.name": "dr"},
        ledger=["cluster.changed", "request.made", "request.approved", "failover.sent", "failover.refused"],
        posts=1,
    )
