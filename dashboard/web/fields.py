"""Every field of a cluster's answer in its place, as term and words. What a cluster did not say is "Not reported",
never a zero and never left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from dashboard.fleet.models import Relationship
from dashboard.web.rows import shown
from dashboard.web.templatetags.desk import bytes_, count

_MEASURES = ("transferred", "unchanged", "deleted", "remaining", "total")
_MODES = {
    "REPLICATION_CONTINUOUS": gettext_noop("Continuous"),
    "REPLICATION_SNAPSHOT_POLICY": gettext_noop("By snapshot policy"),
    "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS": gettext_noop("By snapshot policy, and continuous in between"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A term and what is known of it. A `moment` is written as a time, else `words`."""

    term: str
    words: str = ""
    moment: datetime | None = None
    mono: bool = False


def snapshot(status: Any) -> list[Fact]:
    """The eight fields of the recovery point's snapshot; [] when none is reported."""
    found = status.recovery_point_snapshot
    if found is None:
        return []
    not_reported = _("Not reported")
    by = {True: _("Snapshot policy"), False: _("Replication"), None: not_reported}
    deleted = {True: _("Yes"), False: _("No"), None: not_reported}
    return [
        Fact(_("Snapshot"), shown(found.id) or not_reported),
        Fact(_("Name"), shown(found.name) or not_reported),
        Fact(_("Made by"), by[found.created_by_policy]),
        Fact(_("Taken"), not_reported, found.timestamp and found.timestamp.at),
        Fact(_("Directory"), shown(found.directory_name) or not_reported),
        Fact(_("Source file ID"), shown(found.source_file_id) or not_reported),
        Fact(_("Expires"), _("No time is set"), found.expiration and found.expiration.at),
        Fact(_("Being deleted"), deleted[found.in_delete]),
    ]


def counters(status: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """The ten counters of the running job: data and files, each as (measure, value); [] without figures."""
    job = status.replication_job_status
    if job is None:
        return []
    names = (_("Copied"), _("Unchanged"), _("Deleted"), _("Remaining"), _("Total (approx.)"))
    values = {
        _("Data"): [bytes_(getattr(job, f"bytes_{measure}")) for measure in _MEASURES],
        _("Files"): [count(getattr(job, f"files_{measure}")) for measure in _MEASURES],
    }
    return [
        (word, [(name, value or _("Not reported")) for name, value in zip(names, row, strict=True)])
        for word, row in values.items()
    ]


def identity(row: Relationship, status: Any) -> list[Fact]:
    return [
        Fact(_("State in the API"), shown(status.state), mono=True),
        Fact(_("Job state in the API"), shown(status.job_state) or _("Not reported"), mono=True),
        Fact(_("End reason"), shown(status.end_reason or "") or _("Not ended")),
        Fact(_("Relationship"), shown(status.id), mono=True),
        Fact(_("Source cluster"), shown(status.source_cluster_uuid), mono=True),
        Fact(_("Target cluster"), shown(status.target_cluster_uuid), mono=True),
        Fact(_("The target calls itself"), shown(status.target_cluster_name) or _("Not reported")),
        Fact(_("First seen here"), moment=row.first_seen_at),
        Fact(_("In this state at least since"), moment=row.state_since),
    ]


def source_side(status: Mapping[str, Any]) -> list[Fact]:
    """What only the source knows. `status`: as `fleet.Source` keeps it."""
    queued, replicating = status.get("queued_snapshot_count"), status.get("replicating_snapshot")
    mode, next_at = status.get("replication_mode") or "", status.get("next_active_time")
    being = shown(replicating["name"] or replicating["id"]) if replicating else ""
    return [
        Fact(_("Mode"), _(_MODES[mode]) if mode in _MODES else shown(mode) or _("Not reported")),
        Fact(_("Snapshot policies"), "; ".join(_policies(status.get("snapshot_policies") or ())) or _("None")),
        Fact(_("Blackout windows"), _windows(status) or _("None")),
        Fact(_("Next active"), _("Now"), datetime.fromisoformat(next_at) if next_at else None),
        Fact(_("Snapshots in the queue"), count(queued) or _("Not reported")),
        Fact(_("Being replicated"), being or _("No snapshot")),
    ]


def _policies(policies: Iterable[Mapping[str, str]]) -> Iterable[str]:
    for policy in policies:
        kept = shown(policy["target_expiration"]).replace("_", " ") or _("not reported")
        yield _("Policy %(id)s, kept on the target: %(kept)s") % {"id": shown(policy["id"]), "kept": kept}


def _windows(status: Mapping[str, Any]) -> str:
    """`Mon, Tue 08:00 – 18:00 (UTC)`."""
    zone = shown(status.get("blackout_window_timezone") or "")
    words = [
        f"{', '.join(shown(day).capitalize() for day in window['on_days']) or _('every day')}"
        f" {_time(window, 'start')} – {_time(window, 'end')}"
        for window in status.get("blackout_windows") or ()
    ]
    return f"{'; '.join(words)} ({zone})" if words else ""


def _time(window: Mapping[str, Any], end: str) -> str:
    hour, minute = window[f"{end}_hour"], window[f"{end}_minute"]
    return "?" if hour is None else f"{hour:02d}:{minute or 0:02d}"
