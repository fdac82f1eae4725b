"""The page of the evidence pack: looking makes none, and handing one out is in the ledger."""

from __future__ import annotations

import hashlib

import pytest

from dashboard.audit import verifier
from dashboard.audit.models import Entry
from tests.audit.ledger import tamper
from tests.web.fleet import browser, parsed
from tests.web.scene import requested, succeeded


def exported():
    return list(Entry.objects.filter(tag="evidence.exported"))


def test_looking_at_it_makes_none_and_says_what_is_in_it(desk, cast):
    number = succeeded(desk).number
    before = Entry.objects.count()
    root = parsed(browser(cast.okafor).get(f"/failovers/{number}/evidence/"))
    for name in ("report.html", "report.pdf", "entries.jsonl", "verifier.py", "manifest.json"):
        assert name in root.text
    assert "Make the evidence pack" in root.text
    assert "None yet: the relay signs one within a minute" in root.text
    assert Entry.objects.count() == before


def test_handing_it_out_is_in_the_ledger_with_its_sum(desk, cast):
    number = succeeded(desk).number
    answer = browser(cast.okafor).post(f"/failovers/{number}/evidence/")
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == f'attachment; filename="{number}-evidence.zip"'
    assert verifier.check_pack(answer.content)[1] is None
    [entry] = exported()
    assert (entry.object, entry.actor) == (number, "m.okafor")
    assert entry.record["detail"]["sha256"] == hashlib.sha256(answer.content).hexdigest()


@pytest.mark.parametrize(
    ("who", "status"),
    [("okafor", 200), ("osei", 200), ("admin", 200), ("rivera", 403), ("viewer", 403)],
)
def test_auditors_approvers_and_admins_may_make_it(desk, cast, who, status):
    number = requested(desk).number
    client = browser(getattr(cast, who))
    assert client.get(f"/failovers/{number}/evidence/").status_code == status
    assert client.post(f"/failovers/{number}/evidence/").status_code == status
    assert len(exported()) == (status == 200)


def test_an_approver_of_other_clusters_finds_nothing_there(desk, cast):
    number = requested(desk).number
    cast.osei.roles = ["approver@elsewhere"]
    cast.osei.save()
    client = browser(cast.osei)
    assert client.get(f"/failovers/{number}/evidence/").status_code == 404
    assert client.post(f"/failovers/{number}/evidence/").status_code == 404
    assert exported() == []


@pytest.mark.parametrize("number", ["FO-9999", "FO-1001x", "1001", "FO-"])
def test_a_number_that_was_never_given_leads_nowhere(desk, cast, number):
    requested(desk)
    assert browser(cast.okafor).get(f"/failovers/{number}/evidence/").status_code == 404


def test_of_one_that_goes_on_it_says_that_it_has_not_ended(desk, cast):
    root = parsed(browser(cast.okafor).get(f"/failovers/{requested(desk).number}/evidence/"))
    assert "It has not ended yet." in root.text


def test_of_a_damaged_ledger_there_is_no_pack_and_the_page_says_why(desk, cast):
    failover = succeeded(desk)
    tamper(
        "UPDATE audit_entry SET payload = replace(payload, 'k.osei', 'm.mole') WHERE tag = %s AND object = %s",
        ["request.approved", failover.number],
    )
    answer = browser(cast.okafor).post(f"/failovers/{failover.number}/evidence/")
    assert answer.status_code == 422
    assert "is not what was written" in answer.content.decode()
    assert exported() == []


def test_the_page_of_the_failover_leads_to_it_for_those_who_may(desk, cast):
    number = succeeded(desk).number
    link = f"/failovers/{number}/evidence/"
    assert link in browser(cast.osei).get(f"/failovers/{number}/").content.decode()
    assert link not in browser(cast.viewer).get(f"/failovers/{number}/").content.decode()
