"""The report of an evidence pack, said once: parts that the page for printing and the PDF both lay out.

Every text that a cluster or a person wrote is made visible here; nothing in it can pose as something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.audit.tags import words_of
from dashboard.failovers.conduct import REVIEWERS
from dashboard.failovers.evidence import Course, Evidence, Line
from dashboard.failovers.models import Mode
from dashboard.failovers.policy import Share
from dashboard.words import bare, duration, visible

NONE = "—"


@dataclass(frozen=True, slots=True)
class Pairs:
    """A label and what is to be said; long texts are allowed."""

    title: str
    rows: Sequence[tuple[str, str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Short cells under a head."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`marks` are hazard words: what this was, for ever."""

    title: str
    subtitle: str
    marks: Sequence[str]
    parts: Sequence[Pairs | Grid]


def report(found: Evidence, *, instance: str, checkpoint: str) -> Report:
    """`checkpoint` says which signed checkpoint covers it, in a sentence."""
    marks = [*(["Drill"] if _drill(found) else []), *(["Break-glass: started on one name"] if _alone(found) else [])]
    items = found.courses
    target = f"{items[0].item.target_cluster}:{bare(items[0].item.target_root_path)}"
    return Report(
        title=f"Evidence of {found.number}",
        subtitle=target if len(items) == 1 else f"{len(items)} relationships",
        marks=marks,
        parts=list(_parts(found, instance, checkpoint)),
    )


def _parts(found: Evidence, instance: str, checkpoint: str) -> Iterator[Pairs | Grid]:
    yield _purpose(found)
    yield _scope(found)
    yield _times(found)
    yield _achieved(found)
    yield _asker(found)
    for vote in found.decisions:
        yield _vote(found, vote)
    for review in found.reviews:
        rows = [("Reviewed by", _who(review)), ("At", stamp(review.at)), *_proof(review), ("Found", _said(review))]
        yield Pairs(f"Review by {visible(review.who)}", rows)
    yield from _seen("What the requester saw", found, found.asked)
    for vote in found.decisions:
        yield from _seen(f"What {visible(vote.who)} saw when deciding", found, vote)
    yield from _rechecks(found)
    yield _deviations(found)
    yield Pairs("Every state and answer", [_told(line) for line in found.lines], note="Each line is one entry.")
    yield _integrity(found, instance, checkpoint)


# ── What it was ──────────────────────────────────────────────────────────────


def _drill(found: Evidence) -> bool:
    return found.plan.get("mode") == Mode.DRILL


def _alone(found: Evidence) -> bool:
    return bool(found.plan.get("break_glass"))


def _purpose(found: Evidence) -> Pairs:
    plan = found.plan
    shares = [Share(group=str(s["group"]), count=int(s["count"])) for s in plan.get("shares", [])]
    asked_of = " and ".join(f"{share.count} of {share.group or 'the approvers'}" for share in shares)
    policies = ", ".join(visible(str(name)) for name in plan.get("policies", [])) or "Default"
    return Pairs(
        "Purpose",
        [
            ("Mode", str(Mode(plan["mode"]).label)),
            ("Reason", visible_text(plan["reason"])),
            ("Ticket", visible(plan["ticket"]) or NONE),
            ("Policy", policies),
            ("Approvals needed", asked_of or "None: break-glass"),
            ("Plan digest", f"{found.digest}{'' if found.digest_matches else ' (DOES NOT MATCH THE PLAN)'}"),
            ("Outcome", "; ".join(dict.fromkeys(_outcome(course) for course in found.courses))),
        ],
        note="The digest is the SHA-256 of the plan; every decision below is on it.",
    )


def _scope(found: Evidence) -> Pairs:
    rows = []
    for course in found.courses:
        item = course.item
        target = f"{item.target_cluster}:{bare(item.target_root_path)}"
        source = f"{visible(item.source_cluster)}:{bare(item.source_root_path)}"
        rows.append((course.number, f"{target}, a copy of {source}. Relationship {visible(item.relationship_id)}"))
    return Pairs("Scope", rows)


def _outcome(course: Course) -> str:
    return words_of(course.end.tag) if course.end else "Not ended yet"


# ── When ─────────────────────────────────────────────────────────────────────


def _times(found: Evidence) -> Grid:
    rows = [
        (
            course.number,
            stamp(course.asked),
            stamp(course.approved.at) if course.approved else NONE,
            stamp(course.sent.at) if course.sent else NONE,
            stamp(course.answered.at) if course.answered else NONE,
            stamp(course.writable_at) if course.writable_at else NONE,
        )
        for course in found.courses
    ]
    head = ("Item", "T0 requested", "T1 approved", "T2 sent", "T3 answered", "T4 writable")
    return Grid("Times (UTC)", head, rows, note="T2 is the intent, committed before the first byte left.")


def _achieved(found: Evidence) -> Grid:
    rows = [
        (
            course.number,
            length(course.recovery_time),
            length(course.recovery_time_from_approval),
            stamp(course.recovery_point) if course.recovery_point else NONE,
            length(course.lost),
            length(course.objective),
            {True: "Yes", False: "No", None: NONE}[course.met],
        )
        for course in found.courses
    ]
    head = ("Item", "Recovery time, T4 − T0", "From approval, T4 − T1", "Recovery point (UTC)")
    note = (
        "Lost is the most that can have been: what changed on the source after the recovery point. The objective is "
        "the one in force when this was packed; it is no part of the record."
    )
    return Grid("Achieved", (*head, "Lost, T2 − recovery point", "Objective", "Within it"), rows, note=note)


# ── Who ──────────────────────────────────────────────────────────────────────


def _asker(found: Evidence) -> Pairs:
    asked = found.asked
    rows = [("Asked by", _who(asked)), ("At", stamp(asked.at)), *_proof(asked)]
    if _alone(found):
        return Pairs("Request", [*rows, ("Reviews afterwards", f"{len(found.reviews)} of {REVIEWERS}")])
    return Pairs("Request", [*rows, ("To be decided by", stamp(datetime.fromisoformat(asked.detail["decide_by"])))])


def _vote(found: Evidence, vote: Line) -> Pairs:
    detail = vote.detail
    since = found.deciders_since.get(vote.seq)
    rows = [
        ("Verdict", "Rejected" if vote.tag == "request.rejected" else "Approved"),
        ("By", _who(vote)),
        ("At", f"{stamp(vote.at)}, {length(vote.at - found.asked.at)} after the request"),
        *_proof(vote),
        ("Groups", ", ".join(visible(str(name)) for name in detail.get("groups", [])) or NONE),
        ("Approver since", f"{stamp(since.at)} (entry {since.seq})" if since else "Not in the audit trail"),
        ("Comment", _said(vote)),
        ("Plan digest", visible(str(detail.get("digest", "")))),
    ]
    return Pairs(f"Decision of {visible(vote.who)}", rows)


def _who(line: Line) -> str:
    account = f", account {visible(line.account)}" if line.account else ""
    return f"{visible(line.who)}{account}{f', from {visible(line.ip)}' if line.ip else ''} (entry {line.seq})"


def _proof(line: Line) -> list[tuple[str, str]]:
    return [("Signed in and confirmed", visible(str(line.detail.get("auth") or "")) or "Not recorded")]


def _said(line: Line) -> str:
    return visible_text(str(line.detail.get("comment") or "")) or NONE


# ── What was seen ────────────────────────────────────────────────────────────


def _seen(title: str, found: Evidence, line: Line) -> Iterator[Pairs]:
    seen = line.detail.get("seen") or {}
    for course, item in zip(found.courses, seen.get("items", []), strict=False):
        of = f", {course.number}" if len(found.courses) > 1 else ""
        rows = [(visible(fact["label"]), visible(fact["words"])) for fact in item["facts"]]
        rows += [*_checks(item["checks"]), ("Loss", visible(item["loss"]))]
        yield Pairs(f"{title}{of}", rows, note=f"As frozen in entry {line.seq}.")


_VERDICTS = {"block": "Checks that block", "warn": "Warnings", "pass": "Checks passed", "skip": "Checks skipped"}


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Those that matter most first; every one in its own words."""
    for verdict in [*_VERDICTS, *sorted({str(check["verdict"]) for check in checks} - set(_VERDICTS))]:
        of = [check for check in checks if check["verdict"] == verdict]
        words = [visible(str(check[name])) for check in of for name in ("words", "detail") if check.get(name)]
        if of:
            yield (f"{_VERDICTS.get(verdict, visible(verdict))}, {len(of)}", " ".join(words))


def _rechecks(found: Evidence) -> Iterator[Pairs]:
    for course in found.courses:
        if course.sent is None:
            continue
        detail = course.sent.detail
        rows = [
            ("Read from the cluster at", visible(str(detail.get("read_at", "")))),
            ("State", visible(str(detail.get("state", "")))),
            ("Recovery point", visible(str(detail.get("recovery_point", ""))) or NONE),
            ("Snapshot", visible(str(detail.get("snapshot", ""))) or NONE),
            *_checks(detail.get("checks") or []),
        ]
        yield Pairs(f"What the sender saw, {course.number}", rows, note=f"As frozen in entry {course.sent.seq}.")


# ── What happened ────────────────────────────────────────────────────────────


def _deviations(found: Evidence) -> Pairs:
    rows = [_told(line) for line in found.deviations]
    return Pairs("Deviations and holds", rows or [(NONE, "None is recorded.")])


def _told(line: Line) -> tuple[str, str]:
    about = f", {line.about}" if "/" in line.about or line.about.startswith("hold:") else ""
    answer = ""
    if line.detail.get("http_status"):
        answer = f" (answer {line.detail['http_status']} after {line.detail.get('ms', '?')} ms)"
    said = line.detail.get("comment")
    quoted = f" “{visible_text(str(said))}”" if said else ""
    who = f"{visible(line.who)}: " if line.person is not None or line.account else ""
    words = f"{words_of(line.tag)}{about}. {who}{visible(line.words)}{answer}{quoted}"
    return (f"{stamp(line.at)}, entry {line.seq}", words)


def _integrity(found: Evidence, instance: str, checkpoint: str) -> Pairs:
    return Pairs(
        "Proof of integrity",
        [
            ("Ledger", instance),
            ("Entries", f"{found.asked.seq} to {found.last.seq}, of which {len(found.sequences)} are about this"),
            ("Hash of the first", found.asked.hash),
            ("Hash of the last", found.last.hash),
            ("Signed checkpoint", checkpoint),
        ],
        note="README.txt says how to check this report and the entries behind it, on any machine, without the desk.",
    )


# ── Words ────────────────────────────────────────────────────────────────────


def stamp(moment: datetime) -> str:
    """With milliseconds; UTC, as every time in the report."""
    at = moment.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def length(span: timedelta | None) -> str:
    if span is None:
        return NONE
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if 0 < seconds < 60 else duration(span)


def visible_text(text: str) -> str:
    """What a person typed: its lines become one, and whatever does not show becomes an escape."""
    return visible(" ".join(text.split()))
