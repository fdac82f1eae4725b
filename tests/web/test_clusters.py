"""The page of the clusters: for admins, and without a secret."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from dashboard.fleet.models import Cluster
from dashboard.simulator import serve
from dashboard.web.views.clusters import fingerprint
from tests.conftest import Cast
from tests.fleet.lookout import Lookout
from tests.web.fleet import Element, browser, parsed
from tests.web.listing import PAYLOADS

pytestmark = pytest.mark.django_db


def facts(page: Element) -> dict[str, str]:
    terms = [each.text for each in page.all("dt")]
    return dict(zip(terms, [each.text for each in page.all("dd")], strict=True))


def test_only_admins_see_it(pair: Lookout, cast: Cast) -> None:
    for name in ("rivera", "osei", "okafor", "viewer"):
        assert browser(getattr(cast, name)).get("/clusters/").status_code == 403
    assert browser(cast.admin).get("/clusters/").status_code == 200


def test_it_says_what_each_cluster_is_and_how_it_is_trusted(pair: Lookout, cast: Cast) -> None:
    with serve(pair.target) as door:
        pem = door.ca_pem.decode()
    Cluster.objects.update(certificate=pem)
    page = parsed(browser(cast.admin).get("/clusters/"))
    told = facts(page)
    assert told["Address"] == pair.cluster.url
    assert told["UUID"] == pair.target.uuid
    assert told["Calls itself"] == "dr"
    assert told["Node state"] == "ACTIVE"
    assert told["Its clock"] == "Agrees with this desk's"
    assert told["Executor token"] == "Not tried yet"
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert told["Trusted by the CA with SHA-256"].replace(":", "").lower() == digest
    assert fingerprint("") == ""


def test_no_token_is_on_it_sealed_or_open(pair: Lookout, cast: Cast) -> None:
    markup = browser(cast.admin).get("/clusters/").content.decode()
    cluster = Cluster.objects.get()
    for secret in (pair.target.reader_token, pair.target.executor_token, cluster.reader_token, cluster.executor_token):
        assert secret
        assert secret not in markup


def test_it_says_what_is_wrong(pair: Lookout, cast: Cast) -> None:
    Cluster.objects.update(
        trouble="sign-in",
        trouble_words="It answered 401.",
        trouble_since=pair.cluster.added_at,
        executor_trouble="The executor token lacks PRIVILEGE.",
        clock_ahead=-7200,
        unreadable_rows="7f3c: state is missing.\n8a: id is not an identifier.",
    )
    page = parsed(browser(cast.admin).get("/clusters/"))
    panel = page.one("section", id="cluster-dr")
    for words in ("Refuses the sign-in", "It answered 401.", "The executor token lacks PRIVILEGE.", "Refused"):
        assert words in panel.text
    assert facts(page)["Its clock"] == "2 h behind this desk's"
    assert [line.text for line in panel.all("li")] == ["7f3c: state is missing.", "8a: id is not an identifier."]


def test_a_cluster_without_an_executor_token_is_watched_only(pair: Lookout, cast: Cast) -> None:
    Cluster.objects.update(executor_token="")
    page = parsed(browser(cast.admin).get("/clusters/"))
    assert "Watched only" in page.one("section", id="cluster-dr").text
    assert facts(page)["Executor token"] == "None"


def test_it_says_how_to_add_one(cast: Cast) -> None:
    page = parsed(browser(cast.admin).get("/clusters/"))
    assert "No clusters yet" in page.text
    assert "manage.py cluster add NAME https://HOST:8000 --reader-token-file FILE" in page.one("pre").text


def test_the_address_of_a_cluster_is_the_list_of_its_relationships(pair: Lookout, cast: Cast) -> None:
    client = browser(cast.viewer)
    assert client.get("/clusters/dr/")["Location"] == "/?cluster=dr"
    assert client.get("/clusters/nowhere/").status_code == 404


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_cluster_says_of_itself_becomes_markup(pair: Lookout, cast: Cast, payload: str) -> None:
    words = ("reported_name", "core_version", "node_state", "trouble_words", "executor_trouble", "unreadable_rows")
    client = browser(cast.admin)
    payload = payload.replace("\x00", "")

    def say(text: str) -> tuple[Element, str]:
        Cluster.objects.update(**dict.fromkeys(words, text), trouble="nonsense", trouble_since=pair.cluster.added_at)
        answer = client.get("/clusters/")
        return parsed(answer), answer.content.decode()

    (harmless, _), (page, markup) = say("harmless"), say(payload)
    assert page.tags() == harmless.tags()
    assert not {"\u202e", "\u2066", "\x1b"} & set(markup)
