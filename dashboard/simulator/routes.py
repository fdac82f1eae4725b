"""Which calls a simulated cluster answers: method, path, needed privilege, handler.

Methods, paths and status codes are DOCUMENTED. Which privilege a call needs is INFERRED from the privilege
texts. The order of the checks (path 404, method 405, token 401, privilege 403, body 400) is INFERRED.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from dashboard.simulator import identity, sources, targets, wire
from dashboard.simulator.calls import (
    NOBODY,
    REVERSE,
    SOURCE_READ,
    SOURCE_WRITE,
    TARGET_READ,
    TARGET_WRITE,
    Answer,
    Ask,
)

if TYPE_CHECKING:
    from dashboard.simulator.calls import Account, Call
    from dashboard.simulator.cluster import Cluster
    from dashboard.simulator.wire import Json, Time

OPEN = ""  # no token needed
SIGNED_IN = "signed in"  # any token will do


def answer(cluster: Cluster, call: Call, account: Account, now: Time) -> Answer:
    """The honest answer of that cluster. Raises wire.Refusal."""
    path = call.path
    there = [route for route in ROUTES if route.pattern.fullmatch(path)]
    if not there:
        raise wire.not_found(f"Resource {path}")
    # A fixed path comes before one with an id, whatever the method.
    fitting = [it for it in there if it.path == there[0].path and it.method == call.method]
    if not fitting:
        raise wire.Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED, "http_method_not_allowed_error", f"{call.method} is not allowed here."
        )
    route = fitting[0]
    if route.privilege != OPEN:
        if account is NOBODY:
            raise wire.Refusal(
                HTTPStatus.UNAUTHORIZED, "http_unauthorized_error", "The bearer token is missing, unknown or expired."
            )
        if route.privilege not in (SIGNED_IN, *account.privileges):
            raise wire.Refusal(HTTPStatus.FORBIDDEN, "http_forbidden_error", f"{account.name} lacks {route.privilege}.")
    found = route.pattern.fullmatch(path)
    return route.handle(Ask(cluster, call, now, found.groupdict().get("id", "") if found else "", account))


def openapi(ask: Ask) -> Answer:
    """The cluster's own description; only its version and its paths are filled in."""
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = {"responses": {"200": {"description": ""}}}
    info = {"title": "Qumulo Core", "version": ask.cluster.version}
    return Answer(HTTPStatus.OK, {"openapi": "3.0.3", "info": info, "paths": paths})


class Route(NamedTuple):
    method: str
    path: str
    privilege: str
    handle: Callable[[Ask], Answer]
    pattern: re.Pattern[str]


def _route(method: str, path: str, privilege: str, handle: Callable[[Ask], Answer]) -> Route:
    # `status` is no id: a collection without its slash is 404, not a malformed id.
    pattern = re.compile(path.replace(".", r"\.").replace("{id}", "(?P<id>(?!status$)[^/]+)"))
    return Route(method, path, privilege, handle, pattern)


_T, _S = "/v2/replication/target-relationships", "/v2/replication/source-relationships"

# Fixed paths stand before those with an id: `status/` and `reverse-target-relationship` are no ids.
ROUTES: tuple[Route, ...] = (
    _route("GET", "/v1/version", OPEN, identity.version),
    _route("GET", "/v1/node/state", OPEN, identity.node_state),
    _route("GET", "/v1/cluster/settings", OPEN, identity.cluster_settings),
    _route("GET", "/openapi.json", OPEN, openapi),
    _route("POST", "/v1/session/login", OPEN, identity.login),
    _route("GET", "/v1/session/who-am-i", SIGNED_IN, identity.who_am_i),
    _route("GET", "/v1/session/roles", SIGNED_IN, identity.roles),
    _route("GET", f"{_T}/status/", TARGET_READ, targets.target_statuses),
    _route("GET", f"{_T}/{{id}}/status", TARGET_READ, targets.target_status),
    _route("POST", f"{_T}/{{id}}/make-writable", TARGET_WRITE, targets.make_writable),
    _route("POST", f"{_T}/{{id}}/authorize", TARGET_WRITE, targets.authorize),
    _route("POST", f"{_T}/{{id}}/reconnect", TARGET_WRITE, targets.reconnect),
    _route("POST", f"{_T}/{{id}}/delete", TARGET_WRITE, targets.delete_target),
    _route("POST", f"{_T}/{{id}}/dismiss-error", TARGET_WRITE, targets.dismiss_target_error),
    _route("POST", f"{_T}/{{id}}/lock", TARGET_WRITE, targets.lock),
    _route("GET", f"{_S}/", SOURCE_READ, sources.source_configurations),
    _route("GET", f"{_S}/status/", SOURCE_READ, sources.source_statuses),
    _route("POST", f"{_S}/reverse-target-relationship", REVERSE, sources.reverse),
    _route("GET", f"{_S}/{{id}}/status", SOURCE_READ, sources.source_status),
    _route("POST", f"{_S}/{{id}}/replicate", SOURCE_WRITE, sources.replicate),
    _route("POST", f"{_S}/{{id}}/abort-replication", SOURCE_WRITE, sources.abort),
    _route("POST", f"{_S}/{{id}}/dismiss-error", SOURCE_WRITE, sources.dismiss_source_error),
    _route("GET", f"{_S}/{{id}}/queued-snapshots/", SOURCE_READ, sources.queued_snapshots),
    _route("GET", f"{_S}/{{id}}", SOURCE_READ, sources.source_configuration),
    _route("PATCH", f"{_S}/{{id}}", SOURCE_WRITE, sources.modify_source),
    _route("DELETE", f"{_S}/{{id}}", SOURCE_WRITE, sources.delete_source),
)
