"""Scripted faults: what goes wrong between a client and a cluster, and how often.

A fault says three things apart from each other: whether the request reaches the connection at all, whether
(and when) the cluster applies it, and what the client gets to see. So "answer lost after applying" and "answer
lost, applied 20 s later" are the same fault with another value, and a test can walk the whole table.

    cluster.faults.add(lost_answer(path="/make-writable"))          # the next one only
    cluster.faults.add(late(20, method="POST", sees=Sees.RESET))    # connection reset, applied 20 s later
    cluster.faults.add(silent(grace=60))                            # dead from a minute after the first request

All makers take `method`, `path` (a part of it), `count` (how many requests; None: for ever), `skip` (how many
matching requests pass first) and `grace` (seconds that still pass after the first matching request).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable


class Sees(StrEnum):
    """What the client gets instead of the honest answer."""

    ANSWER = "ANSWER"  # the honest answer
    CUT = "CUT"  # the connection closed before any answer
    RESET = "RESET"  # the same with a TCP reset
    NOTHING = "NOTHING"  # no answer, ever, on an open connection
    HALF_BODY = "HALF_BODY"  # the headers, half of the body, then the connection closed
    NOT_HTTP = "NOT_HTTP"  # bytes that are no HTTP answer
    WRONG_ID = "WRONG_ID"  # the honest answer with the id of another relationship
    ERROR = "ERROR"  # `status` with the JSON envelope
    BODY = "BODY"  # `status` with `body`, verbatim


class Connect(StrEnum):
    """What a new connection meets."""

    OPENS = "OPENS"
    HANGS = "HANGS"  # never answered: the TLS handshake does not come
    REFUSED = "REFUSED"


@dataclass(eq=False)
class Fault:
    """One fault. `applied` and `late` are about the cluster, the rest is what the client sees."""

    sees: Sees = Sees.ANSWER
    connect: Connect = Connect.OPENS
    applied: bool = True
    late: float | None = None  # applied this many seconds after it arrived, whatever the client sees
    wait_before: float = 0.0
    wait_after: float = 0.0
    status: int = 503
    error_class: str = "http_internal_server_error"
    description: str = "The node is not available."
    body: bytes = b""
    content_type: str = "text/html"
    location: str = ""
    method: str = ""
    path: str = ""
    count: int | None = 1
    skip: int = 0
    grace: float = 0.0
    armed_by: str = ""  # part of the path of the request that starts `grace`
    up: float = 0.0  # with `down`: healthy for `up` seconds, faulty for `down` seconds, and again
    down: float = 0.0
    _since: float | None = field(default=None, repr=False)

    def strikes(self, method: str, path: str, now: float) -> bool:
        """Whether it hits this request; counts it when it does."""
        if (self.method and method != self.method) or self.path not in path or self.count == 0:
            return False
        if self._since is None:
            if self.armed_by not in path:
                return False
            self._since = now
        running = now - self._since - self.grace
        if running < 0 or (self.down > 0 and running % (self.up + self.down) < self.up):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        return True


class Script:
    """The faults of one cluster, in the order in which they were added; the first that strikes wins."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def on_connect(self, now: float) -> Connect:
        """For a new connection. A fault of single requests does not touch it."""
        fault = self._first("", "", now, connecting=True)
        return fault.connect if fault else Connect.OPENS

    def on_request(self, method: str, path: str, now: float) -> Fault | None:
        """For a request on an open connection. A connection that hangs or is refused dies here too."""
        return self._first(method, path, now, connecting=False)

    def _first(self, method: str, path: str, now: float, *, connecting: bool) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                about_connecting = fault.connect is not Connect.OPENS
                if (about_connecting or not connecting) and fault.strikes(method, path, now):
                    return fault
        return None


class Where(TypedDict, total=False):
    """Which requests a fault strikes; see the module's text."""

    method: str
    path: str
    count: int | None
    skip: int
    grace: float


def lost_request(**where: Unpack[Where]) -> Fault:
    """Never processed; the connection closes."""
    return Fault(Sees.CUT, applied=False, **where)


def lost_answer(**where: Unpack[Where]) -> Fault:
    """Processed; the connection closes before the answer."""
    return Fault(Sees.CUT, **where)


def late(seconds: float, *, sees: Sees = Sees.CUT, **where: Unpack[Where]) -> Fault:
    """The client loses it now, the cluster processes it later."""
    return Fault(sees, late=seconds, **where)


def slow_before(seconds: float, **where: Unpack[Where]) -> Fault:
    """Waits, then processes and answers. A client that leaves meanwhile does not stop it."""
    return Fault(wait_before=seconds, **where)


def slow_after(seconds: float, **where: Unpack[Where]) -> Fault:
    """Processes at once, answers later."""
    return Fault(wait_after=seconds, **where)


def no_answer(*, applied: bool = True, **where: Unpack[Where]) -> Fault:
    return Fault(Sees.NOTHING, applied=applied, **where)


def reset(*, applied: bool = True, **where: Unpack[Where]) -> Fault:
    return Fault(Sees.RESET, applied=applied, **where)


def half_body(*, applied: bool = True, **where: Unpack[Where]) -> Fault:
    return Fault(Sees.HALF_BODY, applied=applied, **where)


def not_http(*, applied: bool = True, **where: Unpack[Where]) -> Fault:
    return Fault(Sees.NOT_HTTP, applied=applied, **where)


def wrong_id(**where: Unpack[Where]) -> Fault:
    """200, applied, but the answer speaks of another relationship."""
    return Fault(Sees.WRONG_ID, **where)


def error(status: int = 503, *, applied: bool = False, **where: Unpack[Where]) -> Fault:
    """The cluster itself fails: JSON envelope, before or after applying."""
    return Fault(Sees.ERROR, status=status, applied=applied, **where)


def refusal(
    status: int = 409,
    error_class: str = "replication_relationship_wrong_state_error",
    description: str = "The relationship cannot be made writable now.",
    **where: Unpack[Where],
) -> Fault:
    """The cluster says no, in JSON; nothing is applied."""
    return Fault(Sees.ERROR, status=status, error_class=error_class, description=description, applied=False, **where)


def expired_token(**where: Unpack[Where]) -> Fault:
    return refusal(401, "http_unauthorized_error", "The bearer token has expired.", **where)


def answers(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    applied: bool = True,
    **where: Unpack[Where],
) -> Fault:
    """Exactly these bytes as the body: for whatever a test wants a hostile cluster to say."""
    return Fault(Sees.BODY, status=status, body=body, content_type=content_type, applied=applied, **where)


def garbage(*, applied: bool = True, **where: Unpack[Where]) -> Fault:
    """200 with a body that is no JSON."""
    return answers(b'{"id": "7f3c', applied=applied, **where)


def html(status: int = 502, *, applied: bool = False, **where: Unpack[Where]) -> Fault:
    """A load balancer in between speaks."""
    page = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
    return answers(page, status=status, content_type="text/html", applied=applied, **where)


def redirect(location: str = "https://192.0.2.1/", *, applied: bool = False, **where: Unpack[Where]) -> Fault:
    return Fault(Sees.BODY, status=307, location=location, applied=applied, **where)


def silent(*, count: int | None = None, grace: float = 0.0, armed_by: str = "") -> Fault:
    """The node is gone: connections hang, open ones never answer, nothing is processed."""
    return Fault(Sees.NOTHING, Connect.HANGS, applied=False, count=count, grace=grace, armed_by=armed_by)


def refused(*, count: int | None = None, grace: float = 0.0) -> Fault:
    """Connections are refused, open ones are closed, nothing is processed."""
    return Fault(Sees.CUT, Connect.REFUSED, applied=False, count=count, grace=grace)


def flapping(up: float = 5.0, down: float = 5.0) -> Fault:
    """Healthy and refusing connections by turns."""
    return Fault(Sees.CUT, Connect.REFUSED, applied=False, count=None, up=up, down=down)


# What another process may ask for by name.
_MAKERS: tuple[Callable[..., Fault], ...] = (
    lost_request,
    lost_answer,
    late,
    slow_before,
    slow_after,
    no_answer,
    reset,
    half_body,
    not_http,
    wrong_id,
    error,
    refusal,
    expired_token,
    garbage,
    html,
    redirect,
    silent,
    refused,
    flapping,
)
MAKERS = {maker.__name__: maker for maker in _MAKERS}
