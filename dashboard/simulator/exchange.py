"""One request against one cluster, with whatever fault is scripted for it: the same behind every door.

Guarantee: the log line is written before anything is applied, a request is applied at most once, and what the
client sees is decided apart from what the cluster did.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import wire
from dashboard.simulator.calls import Answer
from dashboard.simulator.faults import Fault, Sees

if TYPE_CHECKING:
    from dashboard.simulator.calls import Call
    from dashboard.simulator.cluster import Cluster

# Lets that many seconds pass. False: the client left before they were over.
Pause = Callable[[float], bool]

NOT_HTTP = b"\x16\x03 this is not HTTP\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """What goes over the wire. `sees` is ANSWER, CUT, RESET, NOTHING, HALF_BODY or NOT_HTTP."""

    sees: Sees
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def exchange(address: Cluster, call: Call, pause: Pause) -> Reply:
    """Receive a request at that cluster's address and say what its client gets."""
    world = address.world
    with world.entered() as now:
        fault = address.faults.on_request(call.method, call.path, now) or Fault()
        cluster = address.stand_in or address
        entry = cluster.note(call, now)
    answer, sees, delay = None, fault.sees, fault.late
    if not pause(fault.wait_before):
        # The client has gone; the request has not. The cluster will come to it when its wait is over.
        delay, sees = fault.wait_before, Sees.NOTHING
    if delay is not None:
        entry.outcome = f"applied {delay:g} s later; client saw {sees}"
        world.later(now + delay, partial(cluster.apply, call, entry))
        sees = Sees.NOTHING if sees in (Sees.ANSWER, Sees.WRONG_ID) else sees
    elif fault.applied:
        with world.entered() as later:
            answer = cluster.apply(call, entry, later)
        if not pause(fault.wait_after):
            sees = Sees.NOTHING
        entry.outcome = f"decided {answer.status}; client saw {sees}"
    else:
        entry.outcome = f"never processed; client saw {sees}"
    return _reply(fault, sees, answer, cluster.date(now))


def _reply(fault: Fault, sees: Sees, answer: Answer | None, date: str) -> Reply:
    if sees in (Sees.CUT, Sees.RESET, Sees.NOTHING):
        return Reply(sees)
    if sees is Sees.NOT_HTTP:
        return Reply(sees, body=NOT_HTTP)
    headers = {"Date": date, "Content-Type": "application/json"}
    if sees is Sees.ERROR:
        said = wire.envelope(fault.error_class, fault.description)
        return Reply(Sees.ANSWER, fault.status, headers, encode(said))
    if sees is Sees.BODY:
        headers["Content-Type"] = fault.content_type
        if fault.location:
            headers["Location"] = fault.location
        return Reply(Sees.ANSWER, fault.status, headers, fault.body)
    answer = answer or Answer(HTTPStatus.OK, {"id": ""})  # HALF_BODY of a request that nobody processed
    if answer.etag:
        headers["ETag"] = answer.etag
    body = answer.body
    if sees is Sees.WRONG_ID and isinstance(body, dict):
        body = {**body, "id": str(uuid.UUID(int=0, version=4))}
    shape = Sees.HALF_BODY if sees is Sees.HALF_BODY else Sees.ANSWER
    return Reply(shape, answer.status, headers, b"" if body is None else encode(body))


def encode(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
