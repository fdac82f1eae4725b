"""What an evidence pack says, taken from failovers that were walked with the real verbs and drivers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.accounts.people import actor_of
from dashboard.audit.chain import SYSTEM
from dashboard.failovers import conduct, evidence, evidence_pack, holds
from dashboard.failovers.evidence import Course, Line
from dashboard.failovers.evidence_pdf import plain
from dashboard.failovers.evidence_report import Pairs, report
from dashboard.failovers.lifecycle import Refused
from tests.audit.ledger import tamper
from tests.failovers.build import item
from tests.failovers.desk import policy, site
from tests.web import scene

T0 = datetime(2026, 3, 14, 2, 44, tzinfo=UTC)


def said(asked, title):
    """The rows under a title of the report, by label."""
    found = report(evidence.collect(asked), instance="x", checkpoint="none")
    part = next(part for part in found.parts if part.title == title)
    if isinstance(part, Pairs):
        return dict(part.rows)
    return dict(zip(part.head, part.rows[0], strict=True))


def line(tag: str, after: float, seq: int, **detail) -> Line:
    at = T0 + timedelta(seconds=after)
    return Line(seq, at, tag, "FO-1042", "System", "", "", None, tag, detail, "")


def course(*lines: Line, objective: int = 900) -> Course:
    return Course("FO-1042", item(recovery_point="2026-03-14T02:30:00Z"), T0, timedelta(seconds=objective), lines)


DONE = (
    line("request.approved", 120, 2),
    line("failover.sent", 130, 3, recovery_point="2026-03-14T02:40:00Z"),
    line("failover.reverting", 131, 4, ms=800, http_status=200),
    line("failover.disconnected", 190, 5, read_at="2026-03-14T02:47:09+00:00"),
    line("failover.succeeded", 193, 6),
)


def test_recovery_time_and_point_are_measured_from_what_is_on_record():
    done = course(*DONE)
    assert done.writable_at == T0 + timedelta(seconds=189)
    assert done.recovery_time == timedelta(seconds=189)
    assert done.recovery_time_from_approval == timedelta(seconds=69)
    assert done.recovery_point == datetime(2026, 3, 14, 2, 40, tzinfo=UTC)  # of the re-check, not of the request
    assert done.lost == timedelta(minutes=6, seconds=10)
    assert done.met is True
    assert course(*DONE, objective=300).met is False
    assert done.answered is DONE[2]


def test_an_attempt_that_never_left_is_not_the_sending():
    taken_back = (line("failover.sent", 125, 3), line("failover.notsent", 126, 4))
    assert course(DONE[0], *taken_back).sent is None
    assert course(DONE[0], *taken_back).lost is None
    again = course(DONE[0], *taken_back, line("failover.sent", 140, 5, recovery_point="2026-03-14T02:40:00Z"))
    assert again.sent is not None
    assert again.sent.seq == 5


def test_a_revert_that_fell_back_has_no_time_at_which_it_became_writable():
    assert course(*DONE[:4], line("failover.closed", 900, 6)).recovery_time is None


def test_nothing_is_lost_when_the_sender_found_the_source_read_only_before():
    sent = line("failover.sent", 130, 3, recovery_point="2026-03-14T02:40:00Z", nothing_lost=True)
    assert course(DONE[0], sent).lost == timedelta(0)


def test_of_success_it_tells_who_asked_and_decided_and_what_each_saw(desk, cast):
    failover = scene.succeeded(desk)
    asked = failover.request
    assert said(asked, "Purpose") == {
        "Mode": "Unplanned",
        "Reason": "dc1-prod lost power in row C at 02:53.",
        "Ticket": "INC-20719",
        "Policy": "Default",
        "Approvals needed": "1 of the approvers",
        "Plan digest": asked.digest,
        "Outcome": "The target is writable",
    }
    assert said(asked, "Request")["Asked by"].startswith("a.rivera, account a.rivera (entry ")
    decision = said(asked, "Decision of k.osei")
    assert decision["Verdict"] == "Approved"
    assert decision["Signed in and confirmed"] == "Signed in with a password"
    assert decision["Comment"] == "Go."
    assert "(entry " in decision["Approver since"]
    frozen = asked.facts_seen["items"][0]
    saw = said(asked, "What the requester saw")
    assert [saw[fact["label"]] for fact in frozen["facts"]] == [fact["words"] for fact in frozen["facts"]]
    assert saw["Loss"] == frozen["loss"]
    assert said(asked, "What k.osei saw when deciding")["Replication state"] == "Established"
    assert said(asked, f"What the sender saw, {asked.number}")["State"] == "ESTABLISHED"
    times = said(asked, "Times (UTC)")
    assert "—" not in times.values()
    assert list(times.values())[1:] == sorted(list(times.values())[1:])
    assert said(asked, "Achieved")["Within it"] == "Yes"
    assert said(asked, "Deviations and holds") == {"—": "None is recorded."}


@pytest.mark.parametrize(
    ("stage", "outcome", "deviation"),
    [
        (scene.rejected, "Rejected", ""),
        (scene.refused, "Refused by the cluster", "Refused by the cluster"),
        (scene.stopped, "Stopped before sending", "Stopped before sending"),
        (scene.not_applied, "Closed by a person", "Outcome unknown"),
        (scene.undecided, "Expired", "Expired"),
        (scene.requested, "Not ended yet", ""),
    ],
)
def test_every_other_end_is_named_and_its_deviations_with_it(desk, stage, outcome, deviation):
    asked = stage(desk).request
    assert said(asked, "Purpose")["Outcome"] == outcome
    assert deviation in " ".join(said(asked, "Deviations and holds").values())
    assert said(asked, "Achieved")["Recovery time, T4 − T0"] == "—"


def test_who_tried_to_decide_and_was_refused_is_a_deviation(desk, cast):
    from django.db import transaction

    from dashboard.audit import chain

    asked = desk.request()
    with transaction.atomic():
        chain.append("decision.refused", actor=actor_of(cast.rivera), object=asked.number, words="You asked for it.")
    assert any("You asked for it." in words for words in said(asked, "Deviations and holds").values())


def test_a_hold_on_its_cluster_meanwhile_is_part_of_it_and_one_elsewhere_is_not(desk, cast):
    asked = desk.request()
    holds.hold(actor=actor_of(cast.admin), scope="dr", reason="Flood of alarms")
    holds.hold(actor=actor_of(cast.admin), scope="elsewhere", reason="Another building")
    desk.approve(asked)
    found = evidence.collect(asked)
    assert [line.about for line in found.holds] == ["hold:dr"]


def test_a_drill_is_marked_for_ever(desk):
    drill = report(evidence.collect(desk.request(mode="drill")), instance="x", checkpoint="none")
    assert drill.marks == ["Drill"]


def test_break_glass_says_that_nobody_approved_and_who_reviewed(desk, cast):
    policy(shares={"": 1}, break_glass=True)
    asked = desk.request(break_glass=True, auth="Signed in with password and TOTP")
    for user in (cast.lind, cast.okafor):
        conduct.review(user=user, actor=actor_of(user), request_pk=asked.pk, comment="It was right.", auth="TOTP")
    found = report(evidence.collect(asked), instance="x", checkpoint="none")
    assert found.marks == ["Break-glass: started on one name"]
    assert said(asked, "Purpose")["Approvals needed"] == "None: break-glass"
    assert said(asked, "Request")["Reviews afterwards"] == "2 of 2"
    assert said(asked, "Request")["Signed in and confirmed"] == "Signed in with password and TOTP"
    assert [part.title for part in found.parts if part.title.startswith("Review by")] == [
        "Review by j.lind",
        "Review by m.okafor",
    ]


def test_of_many_each_item_has_its_own_times_and_what_was_seen_of_it(db, cast):
    desk = site(cast)
    asked = desk.ask_for(desk.rows)
    desk.approve(asked)
    first = desk.see_it_through(desk.step(asked.failovers.get(position=0)))
    found = evidence.collect(asked)
    assert first.state == "succeeded"
    assert len(found.courses) == 5
    assert [bool(each.writable_at) for each in found.courses] == [True, False, False, False, False]
    assert len(found.decisions) == 1
    titles = [part.title for part in report(found, instance="x", checkpoint="none").parts]
    assert f"What the requester saw, {asked.number}/5" in titles
    assert f"What k.osei saw when deciding, {asked.number}/2" in titles


def test_a_damaged_entry_is_no_evidence(desk):
    asked = desk.request()
    tamper("UPDATE audit_entry SET payload = %s WHERE object = %s", ["not JSON", asked.number])
    with pytest.raises(Refused, match="is damaged"):
        evidence.collect(asked)


def test_a_changed_entry_is_no_evidence_either(desk):
    asked = desk.request()
    tamper("UPDATE audit_entry SET payload = replace(payload, 'power', 'POWER') WHERE object = %s", [asked.number])
    with pytest.raises(Refused, match="is not what was written"):
        evidence_pack.hand_out(asked, actor=SYSTEM)


def test_the_fonts_of_the_pdf_know_western_letters_and_the_others_become_escapes():
    assert plain("Zürich “ok” – 東") == 'Zürich "ok" - \\u6771'
