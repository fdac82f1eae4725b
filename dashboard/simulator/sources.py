"""Calls to the cluster that sends: settings, statuses, jobs, the queue, and the reversal (sent to the target)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import status, wire
from dashboard.simulator.calls import Answer

if TYPE_CHECKING:
    from dashboard.simulator.calls import Ask
    from dashboard.simulator.relationship import Relationship


def _sources(ask: Ask) -> list[Relationship]:
    here = ask.cluster.relationships.values()
    return [it for it in here if it.source.cluster is ask.cluster and not it.source.gone]


def _etag(it: Relationship) -> str:
    return f'"{it.version}"'


def source_configurations(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, [status.configuration(it) for it in _sources(ask)])


def source_configuration(ask: Ask) -> Answer:
    it = ask.as_source()
    return Answer(HTTPStatus.OK, status.configuration(it), _etag(it))


def source_statuses(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, [status.of_source(it, ask.now) for it in _sources(ask)])


def source_status(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, status.of_source(ask.as_source(), ask.now))


CHANGEABLE: dict[str, type | tuple[type, ...]] = {
    "target_address": str,
    "target_port": int,
    "source_root_read_only": bool,
    "map_local_ids_to_nfs_ids": bool,
    "replication_enabled": bool,
    "replication_mode": str,
    "blackout_window_timezone": str,
    "blackout_windows": list,
    "snapshot_policies": list,
}


def modify_source(ask: Ask) -> Answer:
    """Any subset of the settings; a stale If-Match is 412 (INFERRED from clients that handle it)."""
    it = ask.as_source()
    expected = ask.call.headers.get("if-match", "")
    if expected and expected != _etag(it):
        raise wire.Refusal(
            HTTPStatus.PRECONDITION_FAILED, "http_precondition_failed_error", "The relationship was changed meanwhile."
        )
    body = wire.fields(ask.call.json(), CHANGEABLE)
    for name, value in body.items():
        if name == "source_root_read_only":
            it.source.read_only = value is True
        else:
            setattr(it.settings, name, value)
    it.version += 1
    return Answer(HTTPStatus.OK, status.configuration(it), _etag(it))


def delete_source(ask: Ask) -> Answer:
    it = ask.as_source()
    it.delete(it.source)
    return ask.deleted(it)


def dismiss_source_error(ask: Ask) -> Answer:
    ask.as_source().error_from_last_job = ""
    return Answer(HTTPStatus.OK)


def replicate(ask: Ask) -> Answer:
    """The only call here that answers 202 with a place to look (DOCUMENTED)."""
    it = ask.as_source()
    it.replicate(ask.now)
    return Answer(HTTPStatus.ACCEPTED, {"monitor_uri": f"/v2/replication/source-relationships/{it.id}/status"})


def abort(ask: Ask) -> Answer:
    ask.as_source().abort(ask.now)
    return Answer(HTTPStatus.OK)


def queued_snapshots(ask: Ask) -> Answer:
    """Entries have two fields more than other snapshots (DOCUMENTED)."""
    queue = ask.as_source().queue
    return Answer(HTTPStatus.OK, {"entries": [{"target_expiration": "", "policy_id": 1, **it} for it in queue]})


def reverse(ask: Ask) -> Answer:
    """Sent to the cluster that is the target now; it becomes the source (DOCUMENTED)."""
    known: dict[str, type | tuple[type, ...]] = {
        "target_relationship_id": str,
        "source_address": str,
        "source_port": int,
    }
    body = wire.fields(ask.call.json(), known, required=("target_relationship_id", "source_address"))
    it = ask.as_target(str(body["target_relationship_id"]))
    port = body.get("source_port")
    it.reverse(str(body["source_address"]), port if isinstance(port, int) else 3712)
    return Answer(HTTPStatus.OK, status.configuration(it), _etag(it))
