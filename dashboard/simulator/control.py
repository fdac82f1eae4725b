"""A remote control for worlds in another process: scripted faults in, the true log out. All of it INVENTED.

It has a port and a token of its own, so the doors of the clusters stay as faithful as they are.

    GET    /simulator/log[?cluster=NAME]   -> {"entries": [{"cluster", "at", "method", "path", "user", …}]}
    POST   /simulator/faults               <- {"cluster": NAME, "make": "lost_answer", "path": "/make-writable", …}
    DELETE /simulator/faults[?cluster=NAME]
    GET    /simulator/relationships        -> {"entries": [target status as on the wire, also of silent clusters]}
    PATCH  /simulator/relationships/{id}   <- any of RELATIONSHIP_HANDLES
    PATCH  /simulator/clusters/{NAME}      <- any of CLUSTER_HANDLES, or {"expire_tokens": true}
"""

from __future__ import annotations

import hmac
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import faults, wire
from dashboard.simulator.calls import Answer
from dashboard.simulator.exchange import Reply, encode
from dashboard.simulator.terms import RevertEnds

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.simulator.calls import Call
    from dashboard.simulator.cluster import Cluster
    from dashboard.simulator.exchange import Pause
    from dashboard.simulator.world import World

_NUMBER = (int, float)
RELATIONSHIP_HANDLES: dict[str, type | tuple[type, ...]] = {
    "every": _NUMBER,
    "takes": _NUMBER,
    "error": str,
    "stalls": bool,
    "revert_takes": _NUMBER,
    "revert_ends": str,
    "revert_shows_progress": bool,
    "revert_error": str,
    "reconnect_takes": _NUMBER,
    "move_recovery_point": _NUMBER,
    "source_read_only": bool,
    "replication_mode": str,
    "policy_snapshot": str,
}
CLUSTER_HANDLES: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "uuid": str,
    "version": str,
    "clock_ahead": _NUMBER,
    "repeats_are_fine": bool,
    "expire_tokens": bool,
}


class Control:
    """The handler behind the control door of one world."""

    def __init__(self, world: World, token: str) -> None:
        self._world, self._token = world, token

    def respond(self, call: Call, _pause: Pause) -> Reply:
        try:
            answer = self._answer(call)
        except wire.Refusal as refusal:
            answer = Answer(refusal.status, refusal.envelope())
        headers = {"Content-Type": "application/json"}
        return Reply(faults.Sees.ANSWER, answer.status, headers, encode(answer.body))

    def _answer(self, call: Call) -> Answer:
        if not hmac.compare_digest(call.token.encode(), self._token.encode()):
            raise wire.Refusal(HTTPStatus.UNAUTHORIZED, "http_unauthorized_error", "The control token is wrong.")
        place, _, name = call.path.removeprefix("/simulator/").partition("/")
        verbs: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "log"): lambda: self._log(call.query.get("cluster", "")),
            ("POST", "faults"): lambda: self._add_fault(call.json()),
            ("DELETE", "faults"): lambda: self._clear_faults(call.query.get("cluster", "")),
            ("GET", "relationships"): self._relationships,
            ("PATCH", "relationships"): lambda: self._handle_relationship(name, call.json()),
            ("PATCH", "clusters"): lambda: self._handle_cluster(name, call.json()),
        }
        verb = verbs.get((call.method, place))
        if verb is None:
            raise wire.not_found(f"{call.method} {call.path}")
        return verb()

    def _clusters(self, name: str) -> dict[str, Cluster]:
        if not name:
            return self._world.clusters
        if name not in self._world.clusters:
            raise wire.not_found(f"Cluster {name}")
        return {name: self._world.clusters[name]}

    def _log(self, name: str) -> Answer:
        self._world.advance()
        entries = [
            {"cluster": first_name, **asdict(entry)}
            for first_name, cluster in self._clusters(name).items()
            for entry in cluster.log
        ]
        return Answer(HTTPStatus.OK, {"entries": sorted(entries, key=lambda entry: float(str(entry["at"])))})

    def _add_fault(self, body: object) -> Answer:
        if not isinstance(body, dict) or body.get("make") not in faults.MAKERS:
            raise wire.undecodable(f"'make' must be one of {', '.join(faults.MAKERS)}")
        wanted = {name: value for name, value in body.items() if name not in ("make", "cluster")}
        clusters = self._clusters(str(body.get("cluster", "")))
        for cluster in clusters.values():
            try:
                fault = faults.MAKERS[body["make"]](**wanted)
            except TypeError as error:
                raise wire.undecodable(str(error)) from None
            cluster.faults.add(fault)
        return Answer(HTTPStatus.OK, {"clusters": list(clusters)})

    def _clear_faults(self, name: str) -> Answer:
        clusters = self._clusters(name)
        for cluster in clusters.values():
            cluster.faults.clear()
        return Answer(HTTPStatus.OK, {"clusters": list(clusters)})

    def _relationships(self) -> Answer:
        everything = list(self._world.relationships.values())
        return Answer(HTTPStatus.OK, {"entries": [it.status() for it in everything]})

    def _handle_relationship(self, wanted: str, body: object) -> Answer:
        it = self._world.relationships.get(wire.relationship_id(wanted))
        if it is None:
            raise wire.not_found(f"Relationship {wanted}")
        changes = wire.fields(body, RELATIONSHIP_HANDLES)
        with self._world.entered() as now:
            it.advance(now)
            for name, value in changes.items():
                if name == "move_recovery_point":
                    it.move_recovery_point(float(str(value)))
                elif name == "revert_ends":
                    if value not in RevertEnds.__members__:
                        raise wire.undecodable("revert_ends is DONE, HANGS or FAILS")
                    it.revert_ends = RevertEnds(str(value))
                elif name == "source_read_only":
                    it.source.read_only = value is True
                elif name == "replication_mode":
                    it.settings.replication_mode = str(value)
                elif name == "policy_snapshot":
                    it.take_policy_snapshot(str(value))
                elif name == "stalls":
                    it.jobs_stall() if value else it.jobs_work()
                else:
                    setattr(it, name, value)
        return Answer(HTTPStatus.OK, it.status())

    def _handle_cluster(self, name: str, body: object) -> Answer:
        cluster = self._clusters(name or "-")[name]
        changes = wire.fields(body, CLUSTER_HANDLES)
        if changes.pop("expire_tokens", False):
            cluster.expire_tokens()
        with self._world.entered():
            for attribute, value in changes.items():
                setattr(cluster, attribute, value)
        return Answer(HTTPStatus.OK, {"name": cluster.name, "uuid": cluster.uuid, "version": cluster.version})
