"""A fleet of simulated Qumulo clusters that a real Qumulo client accepts. It imports nothing of this product.

Start with `scenarios` (named worlds), `transport` or `serve` (the doors) and `faults`. A world moves with its
clock alone; give it a `ManualClock` and hours pass in a test.

Faithful, and to what:
  DOCUMENTED  methods and paths of the target and source replication calls; one success code each (200, and 202
              for replicate); the 23 fields of the target status, the 30 of the source status, the 11 of a
              source's settings; the seven states; make-writable as an acceptance that is followed by revert,
              disconnect, writable; recovery point = start of the last job that succeeded; a reversal that needs
              a reconnect; sessions of ten hours; which calls need no token; `access_token_id`.
  SEEN LIVE   UTC times with `Z` and trimmed nanoseconds; 64-bit numbers as strings, percentages as numbers; ""
              for unset texts, null for source address, port, lock key and job figures; UUIDs as ids, the same
              on both clusters; paths that end in a slash; file ids beyond 64 bits; `replication_from_…` and
              `revert_to_…_for_…` snapshots; a recovery point that a revert leaves alone; ENDED on the other
              side after a delete; 404 without the trailing slash of a collection; 405; the error envelope;
              token prefixes; 401 for a wrong password. The official `qq` command runs against it in a test.
  INFERRED    which privilege a call needs (403 without); DISCONNECTING, RECONNECTING and REESTABLISHING as the
              states in between; "" for no recovery point; If-Match and 412 on the source; a running job given
              up by make-writable; `source_root_read_only` left alone by it.
Invented, because nothing public tells:
  every `error_class` and text of a refusal; 409 for make-writable in a wrong state (switch: 400) and again while
  or after reverting (switch: 200); 400 for a malformed id; whether a revert reports a job (both, by switch) and
  that it can hang, or fail back to ESTABLISHED with an error; all durations and figures; blackout windows are
  kept and shown but stop jobs only through `next_active_at`; policies take no snapshots of their own; faults,
  the remote control and the manifest. Missing: creating relationships over HTTP, users, files, snapshots.
"""

from __future__ import annotations

from dashboard.simulator import faults, scenarios, wire
from dashboard.simulator.calls import Received
from dashboard.simulator.cluster import Cluster
from dashboard.simulator.doors import Door, serve, transport
from dashboard.simulator.relationship import Relationship
from dashboard.simulator.terms import RevertEnds, State
from dashboard.simulator.world import ManualClock, World

__all__ = [
    "Cluster",
    "Door",
    "ManualClock",
    "Received",
    "Relationship",
    "RevertEnds",
    "State",
    "World",
    "faults",
    "scenarios",
    "serve",
    "transport",
    "wire",
]
