"""What must hold after every fault, read past all of our code: from the clusters' own journal, the tables, the ledger
with its own verifier, and what the processes printed.

- Each make-writable that reached a cluster belongs to one sending of the ledger (`failover.sent`), each sending has at
  most one, it stood in the ledger before, and nothing arrives when the settle window is over. A sending that is said
  never to have left has none.
- Nothing was sent without as many approvals as were required, by other persons and of exactly what was asked; nor
  after its time, nor under a hold.
- Each failover has one entry for each move, in an order that the states allow, and the last one names its state.
- Where success stands, the relationship was disconnected and writable at the time; where "refused" stands, nothing was
  carried out; where "not applied" stands, nothing was carried out after it.
- The chain is whole, and nothing secret was printed.

Somebody else may change relationships as well: an administrator (`admin` in the journal) is not the desk.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
NEVER_LEFT = {"failover.notsent", "failover.stopped"}
SETTLE, PROOF = 180.0, 10.0  # seconds, before they are scaled: a second time, too
SKEW = 1.0  # seconds between two clocks of one machine: the journal's and the database's


@dataclass
class Sending:
    """From one `failover.sent` to the entry that ended it (None: it has not ended)."""

    number: str
    sent: dict[str, Any]
    end: dict[str, Any] | None = None
    posts: list[Any] = field(default_factory=list)

    @property
    def may_arrive(self) -> bool:
        return self.end is None or self.end["tag"] not in NEVER_LEFT


def audit(site: Site, *, ended: bool = True) -> None:
    """Raise AssertionError when anything is not as it must be. `ended`: every failover must have ended, too."""
    posts = [post for post in site.posts if post.user != "admin"]  # before the ledger, which must know of them
    entries, failovers = _recorded(site)
    settle, proof = (float(site.env["TIME_SCALE"]) * seconds for seconds in (SETTLE, PROOF))
    said = defaultdict(list)
    for entry in entries:
        said[entry["object"]].append(entry)
    sendings: dict[str, list[Sending]] = defaultdict(list)
    for failover in failovers:
        moves = _replay(failover, said[_number(failover)])
        begun = _sendings(failover, moves)
        sendings[str(failover["on_cluster"])] += begun
        if begun:
            _four_eyes(site, failover, begun)
        if ended:
            assert failover["state"] in ENDED, f"{_number(failover)} is still {failover['state']}"
    _under_no_hold(entries, {_number(failover): failover["cluster"] for failover in failovers})
    for post in posts:
        _belongs(post, sendings[post.path.split("/")[-2]], settle)
    for relationship, episodes in sendings.items():
        for episode in episodes:
            _ended_truly(site, relationship, episode, settle, proof)
    _nothing_secret(site)


def _recorded(site: Site) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ledger and failovers of one moment: every move has an entry, so the ledger must not have grown in between."""
    while True:
        entries = _ledger(site)
        failovers = site.query(
            "SELECT f.*, r.size, r.required, r.digest, r.requester_id, c.name AS cluster, "
            "t.relationship_id AS on_cluster FROM failovers_failover f "
            "JOIN failovers_request r ON r.id = f.request_id JOIN fleet_relationship t ON t.id = f.relationship_id "
            "JOIN fleet_cluster c ON c.id = t.cluster_id ORDER BY f.id"
        )
        if site.query("SELECT seq FROM audit_head")[0]["seq"] == (entries[-1]["seq"] if entries else 0):
            return entries, failovers


def _ledger(site: Site) -> list[dict[str, Any]]:
    rows = "SELECT seq, payload, prev_hash, hash, at, tag, object FROM audit_entry ORDER BY seq"
    head = site.query("SELECT seq, hash FROM audit_head")[0]
    entries = site.query(rows)
    walk = Walk()
    for entry in entries:
        bad = walk.take(Written(entry["seq"], entry["payload"], bytes(entry["prev_hash"]), bytes(entry["hash"])))
        assert bad is None, f"the ledger is broken: {bad}"
    there = {entry["seq"]: bytes(entry["hash"]) for entry in entries}
    assert there.get(head["seq"], b"") == bytes(head["hash"]) or not head["seq"], "the ledger's head is no entry of it"
    for entry in entries:
        payload = json.loads(entry["payload"])
        copied = (payload["tag"], payload["object"]) == (entry["tag"], entry["object"])
        assert copied, f"the columns of entry {entry['seq']} say something else than its text"
        entry |= {"at": _moment(payload["at"]), "detail": payload["detail"]}
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


def _sendings(failover: dict[str, Any], moves: list[dict[str, Any]]) -> list[Sending]:
    found: list[Sending] = []
    for entry in moves:
        if entry["tag"] == "failover.sent":
            found.append(Sending(_number(failover), entry))
        elif found and entry["tag"] != "failover.reverting":
            found[-1].end = found[-1].end or entry
    return found


def _four_eyes(site: Site, failover: dict[str, Any], sendings: list[Sending]) -> None:
    votes = site.query(
        "SELECT person_id, at FROM failovers_decision "
        "WHERE request_id = ? AND verdict = 'approve' AND digest = ? AND person_id <> ?",
        *(failover["request_id"], failover["digest"], failover["requester_id"]),
    )
    first = sendings[0].sent["at"] + SKEW
    others = {vote["person_id"] for vote in votes if _moment(vote["at"]) <= first}
    assert len(others) >= failover["required"], f"{_number(failover)} was sent with the approval of {len(others)}"
    for sending in sendings:
        in_time = sending.sent["at"] < _moment(failover["run_by"]) + SKEW
        assert in_time, f"{_number(failover)} was sent after {failover['run_by']}"


def _under_no_hold(entries: Iterable[dict[str, Any]], clusters: dict[str, str]) -> None:
    """By the order of the entries alone: whoever sets a hold or sends waits for the ledger's head."""
    holds: set[str] = set()
    for entry in entries:
        if entry["tag"] == "hold.set":
            holds.add(entry["object"])
        elif entry["tag"] == "hold.lifted":
            holds.discard(entry["object"])
        elif entry["tag"] == "failover.sent":
            standing = holds & {"hold:all", f"hold:{clusters[entry['object']]}"}
            assert not standing, f"{entry['object']} was sent at entry {entry['seq']} under {standing}"


def _belongs(post: Any, sendings: list[Sending], settle: float) -> None:
    """Give it to the sending whose time is over first. None left: it is one too many, too early or too late."""
    there = [
        sending
        for sending in sendings
        if sending.may_arrive
        and not sending.posts
        and sending.sent["at"] - SKEW <= post.at <= sending.sent["at"] + settle + SKEW
    ]
    known = [(s.number, s.sent["at"], s.end and s.end["tag"], len(s.posts)) for s in sendings]
    assert there, f"a make-writable at {post.at} ({post.path}, {post.outcome}) belongs to no sending of {known}"
    min(there, key=lambda sending: sending.sent["at"]).posts.append(post)


def _ended_truly(site: Site, relationship: str, sending: Sending, settle: float, proof: float) -> None:
    number, end = sending.number, sending.end
    if end is None or end["tag"] in NEVER_LEFT:
        return
    there = site.world.relationships.get(relationship)
    applied = [post.applied_at for post in sending.posts if post.applied_at is not None]
    if end["tag"] == "failover.succeeded":
        assert there is not None, f"{number} succeeded on a relationship that is gone"
        with site.world.entered() as now:
            there.advance(now)
        assert "read_at" in end["detail"], f"{number} claims success without a reading"
        was = there.was(_moment(end["detail"]["read_at"]) - SKEW, end["at"] + SKEW)
        assert (OnCluster.DISCONNECTED, False) in was, f"{number} claims success; the cluster was {was}"
    elif end["tag"] == "failover.refused":
        assert not applied, f"{number} says that {relationship} refused; the cluster carried it out"
    elif end["tag"] == "failover.closed":
        early = sending.sent["at"] + settle - end["at"]
        assert early <= SKEW, f"{number} was closed {early:.1f} s before nothing could arrive any more"
    if end["detail"].get("outcome") == "not_applied":
        late = [at for at in applied if at > end["at"] + SKEW]
        assert not late, f"{number} was closed as not applied at {end['at']}; the cluster carried it out at {late}"
        if there is not None:
            was = there.was(end["at"] - proof - SKEW, end["at"] + SKEW)
            assert (OnCluster.ESTABLISHED, True) in was, f"{number} was closed as not applied; the cluster was {was}"


def _nothing_secret(site: Site) -> None:
    secrets = [SECRET_KEY, *KEYS.values()]
    for cluster in site.world.clusters.values():
        secrets += [cluster.reader_token, cluster.executor_token]
    for name, text in site.logs():
        for secret in filter(None, secrets):
            assert secret not in text, f"{name} holds a secret"


def _moment(at: str | datetime) -> float:
    """Seconds since the epoch: SQLite keeps text without a zone, the ledger text with one, PostgreSQL moments."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
