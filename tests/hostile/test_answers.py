"""Answers that cannot be used, wherever one is expected: what was known stays and grows old, nothing is sent on the
strength of them, and what was sent is in doubt until a reading says more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
import pytest

from dashboard.database import database_now
from dashboard.failovers.lifecycle import State
from dashboard.fleet.models import Cluster, Trouble
from dashboard.simulator import faults
from tests.hostile.scene import LIST, WRITABLE, Scene
from tests.qumulo.lab import row as good

APPROVED = ["request.made", "request.approved"]
DOUBT = [*APPROVED, "failover.sent", "failover.doubt"]
Answer = Callable[..., faults.Fault]


def anywhere(scene: Scene, answer: Answer, words: str, trouble: Trouble = Trouble.NONSENSE) -> None:
    """The same answer to the list, to the re-check, to make-writable, which took effect, and to the watch."""
    scene.fails(answer(path=LIST, count=None))
    read_at = scene.cluster.last_read_at
    scene.poll()
    scene.shows(
        page={"relationship": [words, "What you see is what was last reported."], "list": "/dr/finance"},
        database={"cluster.trouble": trouble, "cluster.last_read_at": read_at, "row.kept": True},
        ledger=[],
        posts=0,
    )
    scene.honest()
    scene.poll()

    scene.approve()
    scene.fails(answer(path=scene.status, count=None))
    scene.step()
    scene.shows(
        page={"failover": ["dr gives no usable answer.", words]},
        database={"cluster.trouble": "", "failover.state": State.APPROVED, "failover.sent_at": None},
        ledger=APPROVED,
        posts=0,
    )

    scene.honest()
    scene.fails(answer(path=WRITABLE, count=None))
    scene.step()
    sent = {"failover.state": State.SENT, "failover.doubtful": True, "failover.concern": None}
    scene.shows(page={"failover": ["Outcome unknown. Still watching.", words]}, database=sent, ledger=DOUBT, posts=1)

    scene.fails(answer(path=scene.status, count=None))
    scene.revert_ends()
    scene.step(times=3)
    sent |= {"failover.first_writable_at": None, "failover.answered_at": scene.step().answered_at}
    page = {"failover": ["Outcome unknown. Still watching.", "No usable answer since"]}
    scene.shows(page=page, database=sent, ledger=DOUBT, posts=1)

    scene.honest()
    scene.step(times=2)
    scene.shows(
        page={"failover": "The target is writable."},
        database={"failover.state": State.SUCCEEDED, "failover.outcome": "inferred"},
        ledger=[*DOUBT, "failover.disconnected", "failover.succeeded"],
        posts=1,
    )


def body(raw: bytes, content_type: str = "application/json") -> Answer:
    return lambda **where: faults.answers(raw, content_type=content_type, **where)


NOT_JSON = {
    "half an object": body(b'{"id": "7f3c'),
    "a page": body(b"<html><h1>It works</h1></html>"),
    "nothing": body(b""),
    "no UTF-8": body(b'["\xff\xfe"]'),
    "a word": body(b'"ESTABLISHED"'),
}


@pytest.mark.hostile("H1")
@pytest.mark.parametrize("answer", NOT_JSON.values(), ids=NOT_JSON)
def test_an_answer_that_is_not_what_it_has_to_be_changes_nothing_that_is_known(scene, answer):
    anywhere(scene, answer, "The cluster's answer cannot be read.")


@pytest.mark.hostile("H1")
@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8"])
def test_a_good_answer_under_another_kind_of_content_is_somebody_elses(scene, content_type):
    """Whatever stands in between and copies, caches or rewrites answers: it is not the API that speaks."""

    def relabel(_request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(response.status_code, headers={"Content-Type": content_type}, content=response.content)

    scene.through(relabel)
    scene.poll()
    words = "The cluster's answer is not JSON by its own account."
    found = {"cluster.trouble": Trouble.NONSENSE, "row.kept": True}
    scene.shows(page={"relationship": words}, database=found, ledger=[], posts=0)

    scene.honest()
    scene.poll()
    scene.approve()
    scene.through(relabel)
    scene.step()
    scene.shows(
        page={"failover": ["dr gives no usable answer.", words]},
        database={"failover.state": State.APPROVED},
        ledger=APPROVED,
        posts=0,
    )
    scene.through(lambda request, response: relabel(request, response) if request.method == "POST" else response)
    scene.step()
    scene.through(relabel)
    scene.step()
    scene.shows(
        page={"failover": ["Outcome unknown. Still watching.", words]},
        database={"failover.state": State.SENT, "failover.doubtful": True},
        ledger=DOUBT,
        posts=1,
    )


TREACHEROUS = {
    "NaN": b'[{"id": NaN}]',
    "a number beyond all": b"[1e999]",
    "the state twice": json.dumps(good()).replace("{", '{"state": "ENDED", ', 1).encode(),
    "five thousand digits": b"[" + b"9" * 5000 + b"]",
    "a hundred thousand brackets": b"[" * 100_000,
}


@pytest.mark.hostile("H2")
@pytest.mark.parametrize("raw", TREACHEROUS.values(), ids=TREACHEROUS)
def test_json_that_readers_could_disagree_about_is_not_read_at_all(scene, raw):
    anywhere(scene, body(raw), "The cluster's answer cannot be read.")


@pytest.mark.hostile("H5")
def test_an_answer_beyond_the_limit_is_put_down_unread(scene):
    anywhere(scene, body(b" " * (8 * 1024 * 1024 + 1)), "The cluster's answer is too large.")


@pytest.mark.hostile("H7")
def test_a_redirect_is_followed_nowhere_and_proves_nothing(scene):
    def elsewhere(**where: object) -> faults.Fault:
        return faults.redirect("https://192.0.2.1/", applied=True, **where)  # type: ignore[arg-type]

    anywhere(scene, elsewhere, "The cluster answered 307 with a redirect, which is never followed.")


@pytest.mark.hostile("H17")
def test_a_list_that_names_one_relationship_twice_is_worth_nothing(scene):
    scene.approve()
    honest = scene.sim.status()
    scene.says([honest, honest | {"state": "DISCONNECTED", "target_root_read_only": False}], path=LIST)
    scene.poll()
    scene.shows(
        page={"relationship": "It lists the same relationship twice.", "list": "Established"},
        database={"cluster.trouble": Trouble.NONSENSE, "row.kept": True, "row.state": "ESTABLISHED"},
        ledger=APPROVED,
        posts=0,
    )
    scene.step()  # what was approved before rests on a reading of its own, not on the list
    scene.shows(
        page={"failover": "Reverting"},
        database={"failover.state": State.REVERTING, "cluster.trouble": Trouble.NONSENSE},
        ledger=[*APPROVED, "failover.sent", "failover.reverting"],
        posts=1,
    )


@pytest.mark.hostile("H29")
def test_a_list_of_fifty_thousand_is_refused_as_a_whole_and_says_so(scene):
    """There is one limit, that of an answer's size: no list is cut short without a word."""
    one = json.dumps(good(target_cluster_uuid=scene.target.uuid))
    scene.says(f"[{','.join([one] * 50_000)}]".encode(), path=LIST)
    scene.poll()
    Cluster.objects.update(silent=True)  # the list waits that long before it calls an answer trouble
    scene.shows(
        page={"list": ["dr answers what cannot be read.", "The cluster's answer is too large."]},
        database={"cluster.trouble": Trouble.NONSENSE, "rows": 1, "row.kept": True},
        ledger=[],
        posts=0,
    )


@pytest.mark.hostile("H29")
def test_a_list_of_hundreds_is_taken_whole(scene):
    for number in range(300):
        scene.desk.world.relate(scene.desk.world.clusters["prod"], f"/p/{number}", scene.target, f"/dr/{number}")
    scene.poll()
    found = {"cluster.trouble": "", "rows": 301, "row.kept": True}
    scene.shows(page={"list": "100 of 301 relationships"}, database=found, ledger=[], posts=0)


BUSY = {"999999": 60, "40": 40, "99999999999999999999999": 60, "soon": None, "-5": None}


@pytest.mark.hostile("H30")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("asked", "given"), BUSY.items())
def test_a_cluster_that_asks_for_time_is_given_up_to_a_minute_of_it(scene, asked, given, status):
    words = {"error_class": "http_busy_error", "description": "Too many requests."}

    def busy(_request: httpx.Request, _response: httpx.Response) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": asked}, json=words)

    def waits(until: datetime, otherwise: float) -> None:
        assert timedelta(seconds=(given or otherwise) - 2) < until - database_now()
        assert until - database_now() <= timedelta(seconds=given or otherwise)

    scene.through(busy)
    waits(scene.poll().next_read_at, 10)
    said = f"The cluster answered {status} http_busy_error: Too many requests."
    found = {"cluster.trouble": Trouble.NONSENSE, "row.kept": True}
    scene.shows(page={"relationship": said}, database=found, ledger=[], posts=0)

    scene.honest()
    scene.poll()
    scene.approve()
    scene.through(busy)
    waits(scene.step().next_step_at, 3)
    page = {"failover": ["dr gives no usable answer.", said]}
    scene.shows(page=page, database={"failover.state": State.APPROVED}, ledger=APPROVED, posts=0)

    scene.honest()
    scene.step()
    scene.through(busy)
    waits(scene.step().next_step_at, 5)
    scene.shows(
        page={"failover": "Reverting"},
        database={"failover.state": State.REVERTING, "failover.concern": None},
        ledger=[*APPROVED, "failover.sent", "failover.reverting"],
        posts=1,
    )


@pytest.mark.hostile("H30")
@pytest.mark.parametrize(("status", "state"), [(429, State.REFUSED), (503, State.SENT)])
def test_make_writable_that_is_put_off_is_not_sent_again(scene, status, state):
    """A 429 in the API's words is a refusal once a reading agrees; a 503 says nothing of how far it came."""
    scene.approve()
    scene.fails(faults.refusal(status, "http_busy_error", "Too many requests.", path=WRITABLE))
    scene.step(times=3)
    ended = "failover.refused" if state == State.REFUSED else "failover.doubt"
    scene.shows(
        page={"failover": "Refused: dr refused make-writable." if state == State.REFUSED else "Outcome unknown."},
        database={"failover.state": state},
        ledger=[*APPROVED, "failover.sent", ended],
        posts=1,
    )
