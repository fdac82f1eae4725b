"""What tests read of the list of relationships, and what they put into it."""

from __future__ import annotations

from typing import Any

from dashboard.fleet.models import Cluster, Relationship
from tests.web.fleet import Element


def rows_of(page: Element) -> list[Element]:
    return [row for row in page.one("div", id="relationships").all("tr") if row.attrs.get("data-health")]


def targets(page: Element) -> list[str]:
    return [row.all("bdi", "mono")[-1].text for row in rows_of(page)]


PAYLOADS = (
    "/dr/<script>alert(1)</script>",
    '/dr/"><img src=x onerror=alert(1)>',
    "/dr/' onmouseover='alert(1)",
    "/dr/&lt;b&gt;{{ 7|add:7 }}{% now 'Y' %}",
    "/dr/\u202eecnanif\u2066\x00\x1b[31m",
)


VISIBLE: dict[str, dict[str, Any]] = {
    "the state": {"state": "RECONNECTING"},
    "the target path": {"target_root_path": "/elsewhere/"},
    "the source path": {"source_root_path": "/elsewhere/"},
    "the name of the source": {"source_cluster_name": "renamed"},
    "access to the target": {"target_root_read_only": False},
    "the recovery point": {"recovery_point": "2026-01-02T03:04:05.000000001Z"},
    "the job": {"job_state": "REPLICATION_RUNNING"},
    "its progress": {"job_state": "REPLICATION_RUNNING", "replication_job_status": {"percent_complete": 12.5}},
    "the last error": {"error_from_last_job": "disk is full"},
    "the length of the last job": {"duration_of_last_job": {"nanoseconds": "123000000000"}},
    "the end reason": {"state": "ENDED", "end_reason": "gone"},
    "that it cannot be read": {"state": None},
}


def many(cluster: Cluster, number: int, like: Relationship) -> None:
    rows = []
    for position in range(number):
        row = Relationship.objects.get(pk=like.pk)
        row.pk, row.relationship_id, row.cluster = None, f"copy-{position:04d}", cluster
        row.target_root_path, row.target_root_id = f"/many/{position:04d}/", f"{position}"
        row.search = row.target_root_path
        rows.append(row)
    Relationship.objects.bulk_create(rows)
