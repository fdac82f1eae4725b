"""Calls to the cluster that receives: list, status, authorize, make writable, reconnect, delete, lock."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import status, wire
from dashboard.simulator.calls import Answer
from dashboard.simulator.terms import State

if TYPE_CHECKING:
    from dashboard.simulator.calls import Ask


def target_statuses(ask: Ask) -> Answer:
    here = ask.cluster.relationships.values()
    mine = [it for it in here if it.target.cluster is ask.cluster and not it.target.gone]
    return Answer(HTTPStatus.OK, [status.of_target(it, ask.now) for it in mine])


def target_status(ask: Ask) -> Answer:
    return ask.target_status(ask.as_target())


def make_writable(ask: Ask) -> Answer:
    """Accepted at once (200), done later. What a wrong state gets is INVENTED: 409, or 400 by switch."""
    it = ask.as_target()
    if ask.cluster.repeats_are_fine and it.state in (State.DISCONNECTING, State.DISCONNECTED):
        return ask.target_status(it)
    try:
        it.make_writable(ask.now)
    except wire.Refusal as refusal:
        refusal.status = ask.cluster.conflict_status
        raise
    it.advance(ask.now)
    return ask.target_status(it)


def authorize(ask: Ask) -> Answer:
    it, query = ask.as_target(), ask.call.query
    switches = [query.get(name, "false") for name in ("allow-non-empty-directory", "allow-fs-path-create")]
    if not set(switches) <= {"true", "false"}:
        raise wire.undecodable("a switch of the query is neither true nor false")
    it.authorize(ask.now, allow_filled=switches[0] == "true", allow_create=switches[1] == "true")
    return ask.target_status(it)


def reconnect(ask: Ask) -> Answer:
    it = ask.as_target()
    it.reconnect(ask.now)
    it.advance(ask.now)
    return ask.target_status(it)


def delete_target(ask: Ask) -> Answer:
    it = ask.as_target()
    it.delete(it.target)
    return ask.deleted(it)


def dismiss_target_error(ask: Ask) -> Answer:
    ask.as_target().error_from_last_job = ""
    return Answer(HTTPStatus.OK)


def lock(ask: Ask) -> Answer:
    """The request and its answer call `lock_key_ref` what the status calls `lock_key` (DOCUMENTED)."""
    it = ask.as_target()
    body = wire.fields(ask.call.json(), {"lock_key_ref": (str, type(None))}, required=("lock_key_ref",))
    key = body["lock_key_ref"]
    it.target.lock_key = None if key is None else str(key)
    return Answer(HTTPStatus.OK, {"lock_key_ref": it.target.lock_key})
