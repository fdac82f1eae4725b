"""The audit page: who may see it, what it finds, and that it says of the chain only what it has verified."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from dashboard.audit import chain, guards, verifier
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.audit.search import PAGE
from dashboard.database import database_now
from tests.web.fleet import Element, browser, parsed
from tests.web.scene import STAGES


def trail(cast: Any, **query: str) -> Element:
    return parsed(browser(cast.okafor).get("/audit/", query))


def rows(root: Element) -> list[Element]:
    return root.one("tbody").all("tr")


def numbers(root: Element) -> list[int]:
    return [int(row.children[0].text.replace(",", "")) for row in rows(root)]


def write(times: int, tag: str = "cluster.tested", **more: Any) -> None:
    with transaction.atomic():
        for number in range(times):
            chain.append(tag, actor=SYSTEM, **{"words": f"Entry {number}"} | more)


def forge(seq: int, **columns: Any) -> None:
    """As somebody with the database in their hands would."""
    guards.drop(connection)
    Entry.objects.filter(seq=seq).update(**columns)
    guards.install(connection)


@pytest.mark.parametrize(
    ("who", "may"),
    [("okafor", True), ("osei", True), ("admin", True), ("rivera", False), ("viewer", False)],
)
def test_auditors_approvers_and_admins_see_it(cast, who, may):
    client = browser(getattr(cast, who))
    assert client.get("/audit/").status_code == (200 if may else 403)
    assert client.get("/audit/1/").status_code == (200 if may else 403)


def test_newest_first_with_who_what_result_and_hash(desk, cast):
    failover = STAGES["succeeded"](desk)
    root = trail(cast)
    assert numbers(root) == sorted(numbers(root), reverse=True)
    top = rows(root)[0]
    newest = Entry.objects.latest("seq")
    assert top.one("th").text.startswith("Verified: dr reports the target as writable")
    assert failover.number in top.one("th").text
    assert "System" in top.text
    assert top.one("span", "tag").text == "Succeeded"
    assert top.one("a", "hash").text == bytes(newest.hash).hex()[:8] + "…"


def test_a_request_stands_with_its_ticket_and_reason(desk, cast):
    STAGES["requested"](desk)
    text = rows(trail(cast))[0].text
    assert "INC-20719. “dc1-prod lost power in row C at 02:53.”" in text
    assert "Waiting" in text


def test_nothing_in_it_is_filled_because_all_of_it_is_past(desk, cast):
    STAGES["refused"](desk)
    tags = trail(cast).all("span", "tag")
    assert tags
    assert all("flat" in tag.classes for tag in tags)


@pytest.mark.parametrize("q", ["FO-", "k.osei", "request.approved", "inc-20719", "row C at", "Verified: dr"])
def test_it_is_searched_in_tag_person_object_and_words(desk, cast, q):
    STAGES["succeeded"](desk)
    root = trail(cast, q=q)
    assert 0 < len(rows(root)) < Entry.objects.count()
    for row in rows(root):
        assert q.lower() in Entry.objects.get(seq=int(row.children[0].text)).payload.lower()
    assert root.one("input", id="q").attrs["value"] == q


def test_a_search_finds_quotes_and_backslashes_as_they_were_written(cast):
    write(1, words='said "no\\yes"')
    assert len(rows(trail(cast, q='"no\\yes"'))) == 1


@pytest.mark.parametrize("q", ["nobody wrote this", "%", "\x00", "<script>alert(1)</script>"])
def test_a_search_that_finds_nothing_says_so(cast, q):
    root = trail(cast, q=q)
    assert root.one("h2").text == "No entry matches"
    assert root.all("script", src="") == []
    assert root.one("div", "empty").one("a", href="/audit/").text == "Clear the search"


def test_it_comes_in_pages_by_key(cast):
    write(PAGE + 5)
    root = trail(cast)
    total = Entry.objects.count()
    assert numbers(root) == list(range(total, total - PAGE, -1))
    assert f"{PAGE} entries of {total}, newest first." in root.one("caption").text
    write(3)  # what is written meanwhile moves nothing
    older = parsed(browser(cast.okafor).get(root.one("a", rel="next").attrs["href"]))
    assert numbers(older)[0] == total - PAGE
    assert older.all("a", rel="next") == []
    assert [a.text for a in older.one("nav", aria_label="Pages").all("a")] == ["Newest", "Newer"]
    newer = parsed(browser(cast.okafor).get(older.one("a", rel="prev").attrs["href"]))
    assert numbers(newer) == list(range(total, total - PAGE, -1))
    newest = parsed(browser(cast.okafor).get(newer.one("a", rel="prev").attrs["href"]))
    assert numbers(newest) == [total + 3, total + 2, total + 1]
    assert newest.all("a", rel="prev") == []


def test_the_next_page_keeps_the_search(cast):
    write(PAGE + 5, words="needle & thread")
    root = trail(cast, q="needle & thread")
    older = parsed(browser(cast.okafor).get(root.one("a", rel="next").attrs["href"]))
    assert len(rows(older)) == 5


@pytest.mark.parametrize("before", ["x", "-1", "²", "9" * 40, ""])
def test_a_key_that_is_none_is_the_newest_page(cast, before):
    assert numbers(trail(cast, before=before))[0] == Entry.objects.latest("seq").seq


# ── Looking for some of it ──


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"who": "k.osei"}, lambda entry: entry.actor == "k.osei"),
        ({"kind": "failovers"}, lambda entry: entry.tag.startswith("failover.")),
        ({"kind": "request.approved"}, lambda entry: entry.tag == "request.approved"),
        ({"refused": "1"}, lambda entry: entry.tag in ("signin.failed", "decision.refused")),
        (
            {"kind": "requests", "who": "k.osei"},
            lambda entry: (entry.actor, entry.tag) == ("k.osei", "request.approved"),
        ),
        ({"since": "2020-01-01", "until": "2099-12-31"}, lambda entry: True),
    ],
)
def test_it_is_narrowed_by_who_what_and_when(desk, cast, query, holds):
    STAGES["succeeded"](desk)
    write(1, tag="signin.failed")
    write(1, tag="decision.refused")
    expected = [entry.seq for entry in Entry.objects.order_by("-seq") if holds(entry)]
    assert expected
    assert numbers(trail(cast, **query)) == expected


def test_a_request_is_found_with_each_of_its_items(cast):
    for about in ("FO-1001", "FO-1001/1", "FO-1001/200", "FO-10010", "FO-1002/1"):
        write(1, object=about)
    found = {row.one("th").one("span", "why").text for row in rows(trail(cast, object="FO-1001"))}
    assert found == {"FO-1001", "FO-1001/1", "FO-1001/200"}


def test_days_are_those_of_utc_and_the_last_one_counts(cast):
    today = f"{database_now():%Y-%m-%d}"
    assert len(rows(trail(cast, since=today, until=today))) == Entry.objects.count()
    assert trail(cast, until="2020-01-01").one("h2").text == "No entry matches"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, "“yesterday” is no day; write it as 2026-03-14."),
        ({"until": "0001-01-01"}, "“0001-01-01” is no day"),
        ({"since": "2026-03-14", "until": "2026-03-13"}, "The last day is before the first one."),
        ({"kind": "nonsense"}, "There is no kind of entry “nonsense”."),
    ],
)
def test_what_cannot_be_looked_for_is_said_and_nothing_is_shown(cast, query, words):
    root = trail(cast, **query)
    assert words in root.one("p", "wrong").text
    assert root.all("tbody") == []


def test_whoever_was_renamed_since_can_still_be_chosen(cast):
    root = trail(cast, who="j.married")
    chosen = [option.text for option in root.one("select", id="f-who").all("option") if "selected" in option.attrs]
    assert chosen == ["j.married"]


# ── Taking it away ──


def take(user: Any, **fields: str) -> Any:
    return browser(user).post("/audit/export/", fields)


def text_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_an_export_verifies_by_itself_and_is_recorded_before_it_leaves(desk, cast):
    STAGES["succeeded"](desk)
    total = Entry.objects.count()
    response = take(cast.okafor, format="jsonl")
    recorded = Entry.objects.latest("seq")
    assert (recorded.seq, recorded.tag, recorded.actor) == (total + 1, "audit.exported", "m.okafor")
    assert recorded.record["detail"] == {"format": "jsonl", "first": 1, "last": total, "count": total, "filter": ""}
    assert response["Content-Disposition"] == f'attachment; filename="audit-1-{total}.jsonl"'
    said, bad = verifier.check(io.BytesIO(text_of(response)))
    assert bad is None
    assert said[0] == f"All {total} entries, 1 to {total}, are what was written, in order."


def test_what_was_looked_for_is_what_is_taken(desk, cast):
    STAGES["succeeded"](desk)
    count = Entry.objects.filter(actor="k.osei").count()
    response = take(cast.okafor, format="jsonl", who="k.osei")
    said, bad = verifier.check(io.BytesIO(text_of(response)))
    assert bad is None
    assert said[0] == f"Each of the {count} entries matches its own hash, which anybody can compute."
    assert Entry.objects.latest("seq").record["detail"]["filter"] == 'who "k.osei"'
    assert Entry.objects.latest("seq").record["detail"]["count"] == count


def test_a_range_is_a_whole_of_its_own(cast):
    said, bad = verifier.check(io.BytesIO(text_of(take(cast.okafor, format="jsonl", first="3", last="5"))))
    assert bad is None
    assert said[0] == "All 3 entries, 3 to 5, are what was written, in order."


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x"])
def test_a_spreadsheet_is_given_no_formula(cast, start):
    write(1, words=start, detail={"comment": 'said "so", twice'})
    data = text_of(take(cast.okafor, format="csv")).decode("utf-8-sig")
    last = list(csv.DictReader(io.StringIO(data, newline="")))[-1]
    assert (last["words"], last["guarded"]) == (f"'{start}", "words")
    assert json.loads(last["detail"]) == {"comment": 'said "so", twice'}
    assert data.count("\r\n") >= Entry.objects.count()


def test_only_auditors_take_it_and_only_by_a_form(cast):
    for user in (cast.osei, cast.admin, cast.rivera, cast.viewer):
        assert take(user, format="csv").status_code == 403
    assert browser(cast.okafor).get("/audit/export/").status_code == 405
    assert Entry.objects.filter(tag="audit.exported").count() == 0
    assert trail(cast).all("details", id="export")
    assert parsed(browser(cast.osei).get("/audit/")).all("details", id="export") == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"format": "xml"}, 400),
        ({}, 400),
        ({"format": "csv", "colour": "red"}, 400),
        ({"format": "csv", "first": "x"}, 422),
        ({"format": "csv", "last": "-1"}, 422),
        ({"format": "jsonl", "first": "3", "last": "2"}, 422),
        ({"format": "jsonl", "first": "999999"}, 422),
        ({"format": "csv", "since": "soon"}, 422),
    ],
)
def test_an_export_that_cannot_be_meant_takes_nothing(cast, fields, status):
    assert take(cast.okafor, **fields).status_code == status
    assert Entry.objects.filter(tag="audit.exported").count() == 0


def test_the_verifier_is_handed_out_as_it_is(cast):
    response = browser(cast.osei).get("/audit/verify.py")
    assert text_of(response) == Path(verifier.__file__).read_bytes()
    assert browser(cast.viewer).get("/audit/verify.py").status_code == 403


# ── What it says of the chain ──


def test_all_of_it_is_verified_when_all_of_it_is_shown(cast):
    words = trail(cast).one("p", "verified").text
    head = bytes(Entry.objects.latest("seq").hash).hex()[:8]
    assert words.startswith(f"Chain verified: all {Entry.objects.count()} entries are whole and in order,")
    assert f"Head {head}…" in words


def test_of_a_part_it_says_that_it_is_a_part(cast):
    write(PAGE + 5)
    newest = trail(cast)
    words = newest.one("p", "verified").text
    assert words.startswith(
        f"Chain verified for the {PAGE} entries shown: they are whole and in order and end at the head"
    )
    assert "All of it is verified by manage.py verifyaudit." in words
    older = parsed(browser(cast.okafor).get(newest.one("a", rel="next").attrs["href"]))
    words = older.one("p", "verified").text
    assert "they are whole and follow one another" in words
    assert "head" not in words.lower()


def test_a_search_verifies_each_entry_and_claims_no_order(desk, cast):
    STAGES["succeeded"](desk)
    words = trail(cast, q="k.osei").one("p", "verified").text
    assert words.startswith("Each entry shown matches its own hash")
    assert "in order" not in words


def test_a_changed_entry_is_a_red_banner_and_nothing_is_called_verified(cast):
    forge(3, payload=Entry.objects.get(seq=3).payload.replace("j.lind", "j.linx"))
    for query in ({}, {"q": "j.lin"}):
        root = trail(cast, **query)
        banner = root.one("section", role="alert", data_health="critical")
        assert "The audit chain is broken at entry 3." in banner.text
        assert "Tell the security owner." in banner.text
        assert root.all("p", "verified") == []


def test_a_cut_tail_is_seen_on_the_newest_page(cast):
    guards.drop(connection)
    Entry.objects.filter(seq=Entry.objects.latest("seq").seq).delete()
    guards.install(connection)
    assert "The audit chain is broken" in trail(cast).one("section", role="alert", data_health="critical").text


def test_an_older_page_sees_a_gap(cast):
    write(PAGE + 5)
    guards.drop(connection)
    Entry.objects.filter(seq=4).delete()
    guards.install(connection)
    root = trail(cast, before="8")
    assert "broken at entry 4" in root.one("section", role="alert", data_health="critical").text


# ── One entry ──


def test_an_entry_shows_everything_that_was_hashed(desk, cast):
    STAGES["requested"](desk)
    entry = Entry.objects.latest("seq")
    root = parsed(browser(cast.okafor).get(f"/audit/{entry.seq}/"))
    assert [code.text for code in root.all("code", "whole")] == [bytes(entry.hash).hex(), bytes(entry.prev_hash).hex()]
    assert root.one("details", id="payload").one("pre").text == " ".join(entry.payload.split())
    assert "a.rivera" in root.text
    assert "request.made" in root.text
    assert "This entry matches its hash and follows the entry before it" in root.one("p", "verified").text


def test_the_first_entry_follows_nothing(cast):
    root = parsed(browser(cast.okafor).get("/audit/1/"))
    assert root.one("p", "verified").text.startswith("This entry matches its hash,")
    assert [a.text for a in root.one("nav", aria_label="Entries").all("a")] == ["Entry after"]


def test_an_entry_that_was_changed_says_so(cast):
    forge(3, payload=Entry.objects.get(seq=3).payload.replace("j.lind", "j.linx"))
    root = parsed(browser(cast.okafor).get("/audit/3/"))
    assert "The audit chain is broken at entry 3." in root.one("section", role="alert", data_health="critical").text


@pytest.mark.parametrize("payload", ["{", "[]", '{"tag": 1}', '{"detail": {"plan": "{"}, "tag": "request.made"}', ""])
def test_an_entry_that_holds_no_record_breaks_no_page(cast, payload):
    forge(3, payload=payload)
    assert "broken at entry 3" in trail(cast).text
    assert "broken at entry 3" in parsed(browser(cast.okafor).get("/audit/3/")).text


@pytest.mark.parametrize("seq", ["0", "999", "9" * 30])
def test_an_entry_that_is_not_there_is_404(cast, seq):
    assert browser(cast.okafor).get(f"/audit/{seq}/").status_code == 404


def test_whatever_was_recorded_stays_text(cast):
    write(1, words="<img src=x onerror=alert(1)>\u202e", detail={"comment": "<script>alert(1)</script>"})
    seq = Entry.objects.latest("seq").seq
    for root in (trail(cast), parsed(browser(cast.okafor).get(f"/audit/{seq}/"))):
        assert root.all("img") == []
        assert all("src" in script.attrs for script in root.all("script"))
        assert "\u202e" not in root.one("h1" if root.all("pre") else "tbody").text
