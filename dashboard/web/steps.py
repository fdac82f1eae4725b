"""The six steps of a failover. A step counts as done when the record says when, and in no other way: "Verified
writable" is done only in the state that two agreeing readings of the cluster lead to. An ending stands at the step at
which it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover
from dashboard.web.course import Course
from dashboard.words import clock, duration


@dataclass(frozen=True, slots=True)
class Step:
    """`phase`: done, now, todo. `health` gives the step of now its silhouette and colour."""

    name: str
    phase: str
    note: str = ""
    health: str = ""


def steps(course: Course) -> list[Step]:
    """All six, in order, of a failover whose request is decided."""
    done = _done(course)
    if course.state is State.SUCCEEDED:
        return done
    reached, names = _reached(course.failover), _names(course)
    note = _("Not known") if course.doubtful else _("Not reached") if course.ended else ""
    todo = [Step(name, "todo", note) for name in names]
    under_way = {1: _("Checking again"), 5: _("Verifying")}
    now = _now(course, under_way.get(reached, names[reached]))
    return [*done[:reached], now, *todo[reached + 1 :]]


def _names(c: Course) -> list[str]:
    return [
        _started_by(c),
        _("Re-checked"),
        _("Make-writable sent"),
        _("Reverting to %s") % _time(c.point, c.now) if c.failover.reverting_at else _("Reverting to recovery point"),
        _("Disconnected"),
        _("Verified writable"),
    ]


def _started_by(c: Course) -> str:
    return _("Glass broken") if c.asked.break_glass else _("Approved")


def _done(c: Course) -> list[Step]:
    f = c.failover
    checked = (f.precheck or {}).get("read_at")
    began = f.reverting_at or f.sent_at
    took = _("took %s") % duration(f.first_writable_at - began) if f.first_writable_at and began else ""
    return [
        Step(_started_by(c), "done", _note(f.approved_at, c.now, c.whole.approved_by or c.asked.requester_label)),
        Step(
            _("Re-checked"),
            "done",
            _note(datetime.fromisoformat(checked) if checked else None, c.now, _("nothing blocks")),
        ),
        Step(_("Make-writable sent"), "done", _note(f.sent_at, c.now)),
        Step(_("Reverted to %s") % _time(c.point, c.now), "done", took),
        Step(_("Disconnected"), "done", _note(f.first_writable_at, c.now)),
        Step(_("Verified writable"), "done", _note(f.ended_at, c.now)),
    ]


def _reached(f: Failover) -> int:
    """How many are done; the next one is the step of now."""
    if f.approved_at is None:
        return 0
    if f.sent_at is None:
        return 1
    if f.first_writable_at is not None:
        return 5
    return 3 if f.reverting_at is not None else 2


def _now(c: Course, name: str) -> Step:
    """The step that it stands at: on its way, or ended there."""
    if c.ended:
        return _ending(c)
    sent_at = c.failover.sent_at
    if c.concern:
        return Step(name, "now", _note(sent_at, c.now, _("a person must look")), "warning")
    if c.doubtful:
        return Step(name, "now", _note(sent_at, c.now, _("outcome unknown")), "unknown")
    if c.state is State.APPROVED and c.hold:
        return Step(name, "now", _("held: nothing is sent"), "warning")
    if c.state is State.APPROVED:
        return Step(name, "now", _("%s gives no answer") % c.target if c.trouble else _("at once"), "active")
    return Step(name, "now", _revert_note(c) if c.state is State.REVERTING else _note(sent_at, c.now), "active")


def _ending(c: Course) -> Step:
    f = c.failover
    endings = {
        State.REFUSED: (_("Make-writable refused"), _("answer %s") % (f.answer or {}).get("http_status"), "critical"),
        State.STOPPED: (_("Stopped"), _("nothing was sent"), "warning"),
        State.CLOSED: (_("Closed"), f.ended_by, "unknown"),
        State.EXPIRED: (_("Expired"), "", "inactive"),
        State.REJECTED: (_("Rejected"), f.ended_by, "inactive"),
        State.CANCELLED: (_("Cancelled"), f.ended_by, "inactive"),
    }
    name, note, health = endings[c.state]
    return Step(name, "now", _note(f.ended_at, c.now, note), health)


def _revert_note(c: Course) -> str:
    if c.failover.first_writable_at is not None:
        return _("read once more")
    if c.progress is None or c.progress.percent is None:
        return _("no figures") if c.revert_read else ""
    percent = _("%d %%") % c.progress.percent
    if c.progress.left is None:
        return percent
    return _("%(percent)s, about %(left)s left") % {"percent": percent, "left": duration(c.progress.left)}


def _note(moment: datetime | None, now: datetime, more: str = "") -> str:
    return ", ".join(part for part in (_time(moment, now) if moment else "", more) if part)


def _time(moment: datetime | None, now: datetime) -> str:
    """`03:20:31`: every time of this page is UTC, and the steps are narrow."""
    return clock(moment, now).removesuffix(" UTC")
