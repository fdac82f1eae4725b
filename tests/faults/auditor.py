"""What must hold after every fault, read past all of our code: from the clusters' own journal, the tables, the ledger
with its own verifier, and what the processes printed.

- A cluster received at most one make-writable for each `failover.sent` of the ledger, none for a failover that ended
  without a sending, and each sending stands in the ledger before the cluster heard of it.
- Each failover has one entry for each move, in an order that the states allow, and the last one names its state.
- Success stands only where the cluster is disconnected and writable.
- The chain is whole, and nothing secret was printed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from dashboard.audit.verifier import Walk, Written
from dashboard.simulator.terms import State as OnCluster
from tests.faults.site import KEYS, SECRET_KEY, Site

MOVES = {
    "request.approved": ({"requested"}, "approved"),
    "request.rejected": ({"requested"}, "rejected"),
    "request.cancelled": ({"requested", "approved"}, "cancelled"),
    "request.expired": ({"requested", "approved"}, "expired"),
    "failover.stopped": ({"approved", "sent"}, "stopped"),
    "failover.sent": ({"approved"}, "sent"),
    "failover.notsent": ({"sent"}, "approved"),
    "failover.refused": ({"sent"}, "refused"),
    "failover.reverting": ({"sent"}, "reverting"),
    "failover.succeeded": ({"sent", "reverting"}, "succeeded"),
    "failover.closed": ({"sent", "reverting"}, "closed"),
}
"""What each entry says of a failover's state: written down here a second time, on purpose."""

ENDED = {"rejected", "cancelled", "expired", "stopped", "refused", "succeeded", "closed"}
SKEW = 1.0  # seconds between two clocks of one machine: the journal's and the database's


def audit(site: Site, *, ended: bool = True) -> None:
    """Raise AssertionError when anything is not as it must be. `ended`: every failover must have ended, too."""
    entries = _ledger(site)
    failovers = site.query(
        "SELECT f.*, r.size, c.name AS cluster, t.relationship_id AS on_cluster FROM failovers_failover f "
        "JOIN failovers_request r ON r.id = f.request_id JOIN fleet_relationship t ON t.id = f.relationship_id "
        "JOIN fleet_cluster c ON c.id = t.cluster_id ORDER BY f.id"
    )
    said = defaultdict(list)
    for entry in entries:
        said[entry["object"]].append(entry)
    sendings: dict[str, list[float]] = defaultdict(list)
    may_arrive: Counter[str] = Counter()
    for failover in failovers:
        tags = _replay(failover, said[_number(failover)])
        relationship = str(failover["on_cluster"])
        sendings[relationship] += [_moment(entry["at"]) for entry in tags if entry["tag"] == "failover.sent"]
        never = sum(entry["tag"] == "failover.notsent" for entry in tags)
        gave_up = failover["state"] == "stopped" and failover["attempts"] > never
        may_arrive[relationship] += sum(e["tag"] == "failover.sent" for e in tags) - never - gave_up
        if failover["state"] == "succeeded":
            _is_writable(site, failover)
        if ended:
            assert failover["state"] in ENDED, f"{_number(failover)} is still {failover['state']}"
    for post in site.posts:
        relationship = post.path.split("/")[-2]
        may_arrive[relationship] -= 1
        assert may_arrive[relationship] >= 0, f"more make-writables reached {relationship} than may have left"
        earlier = [at for at in sendings[relationship] if at <= float(post.at) + SKEW]
        assert earlier, f"{relationship} heard make-writable before the ledger said that it is sent"
    _nothing_secret(site)


def _ledger(site: Site) -> list[dict[str, Any]]:
    entries = site.query("SELECT seq, payload, prev_hash, hash, at, tag, object FROM audit_entry ORDER BY seq")
    walk = Walk()
    for entry in entries:
        bad = walk.take(Written(entry["seq"], entry["payload"], bytes(entry["prev_hash"]), bytes(entry["hash"])))
        assert bad is None, f"the ledger is broken: {bad}"
    head = site.query("SELECT seq, hash FROM audit_head")[0]
    assert (head["seq"], bytes(head["hash"])) == (walk.last, walk.hash), "the ledger's head is not its last entry"
    for entry in entries:
        entry["at"] = json.loads(entry["payload"])["at"]
    return entries


def _number(failover: dict[str, Any]) -> str:
    return f"FO-{failover['request_id']}" + (f"/{failover['position'] + 1}" if failover["size"] > 1 else "")


def _replay(failover: dict[str, Any], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries are exactly the moves that led from `requested` to the row's state."""
    state, moves = "requested", [entry for entry in entries if entry["tag"] in MOVES]
    for entry in moves:
        sources, target = MOVES[entry["tag"]]
        assert state in sources, f"{_number(failover)}: {entry['tag']} at entry {entry['seq']}, but it was {state}"
        state = target
    assert state == failover["state"], f"{_number(failover)} is {failover['state']}; its entries say {state}"
    return moves


def _is_writable(site: Site, failover: dict[str, Any]) -> None:
    there = site.world.relationships.get(failover["on_cluster"])
    assert there is not None, f"{_number(failover)} succeeded on a relationship that is gone"
    with site.world.entered() as now:
        there.advance(now)
        found = (there.state, there.target.read_only)
    assert found == (OnCluster.DISCONNECTED, False), f"{_number(failover)} claims success; the cluster says {found}"


def _nothing_secret(site: Site) -> None:
    secrets = [SECRET_KEY, *KEYS.values()]
    for cluster in site.world.clusters.values():
        secrets += [cluster.reader_token, cluster.executor_token]
    for name, text in site.logs():
        for secret in filter(None, secrets):
            assert secret not in text, f"{name} holds a secret"


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
