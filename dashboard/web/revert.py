"""What the readings of a failover showed: figures of the newest, and how often each kind came since the sending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _

from dashboard.failovers import readings
from dashboard.failovers.models import Failover
from dashboard.fleet.models import Observation
from dashboard.web.templatetags.desk import state_word


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Figures of a running revert as the cluster reports them; None for each that it does not. `percent` is rounded
    down, so that nothing unfinished reads 100."""

    percent: int | None
    left: timedelta | None
    throughput: int | None
    sizes: list[tuple[str, int | None]]
    files: list[tuple[str, int | None]]


def progress_of(observation: Observation) -> Progress | None:
    """None when it came without figures."""
    job = (observation.status or {}).get("replication_job_status")
    if not job:
        return None
    parts = {
        "transferred": _("Copied"),
        "unchanged": _("Unchanged"),
        "deleted": _("Deleted"),
        "remaining": _("Remaining"),
        "total": _("Total (approx.)"),
    }
    left = job["estimated_seconds_remaining"]
    percent = job["percent_complete"]
    return Progress(
        percent=None if percent is None else int(percent),
        left=None if left is None else timedelta(seconds=left),
        throughput=job["throughput_current"],
        sizes=[(name, job[f"bytes_{part}"]) for part, name in parts.items()],
        files=[(name, job[f"files_{part}"]) for part, name in parts.items()],
    )


def shown_since_sent(failover: Failover) -> list[tuple[str, int]]:
    """Each kind of reading in words, and how often it came."""
    return [(_words(raw), times) for raw, times in readings.evidence(failover)["shown"].items()]


def _words(raw: str) -> str:
    """A state with its access, or a kind of failure, as `readings.evidence` names them."""
    failures = {
        "unreachable": _("no usable answer"),
        "identity": _("another relationship or cluster"),
        "vanished": _("not found"),
    }
    state, _space, access = raw.partition(" ")
    if not access:
        return failures.get(raw, raw)
    access_word = _("read-only") if access == "read-only" else _("writable")
    return _("%(state)s, %(access)s") % {"state": state_word(state), "access": access_word}
