"""What this client believes about the API and no public document says, in one place. Each wants a check on a
real cluster.

SEEN LIVE: in answers of real clusters that others published. INFERRED: a reading of names and texts.
"""

from __future__ import annotations

from datetime import UTC, datetime

# INFERRED from the texts of the privileges; the reference lists none per call. Reading target statuses needs
# the first, make-writable the second. The writer needs both, because it reads the relationship again before
# it writes.
READ_PRIVILEGE = "PRIVILEGE_REPLICATION_TARGET_READ"
WRITE_PRIVILEGE = "PRIVILEGE_REPLICATION_TARGET_WRITE"

# INFERRED that a row always has these: without one of them it cannot be told what would be made writable, or
# whether it is. All were in every answer SEEN LIVE. Everything else may be missing, null or "".
REQUIRED = (
    "id",
    "state",
    "source_cluster_uuid",
    "source_root_path",
    "source_root_read_only",
    "target_cluster_uuid",
    "target_root_path",
    "target_root_read_only",
)

# INFERRED from ids SEEN LIVE, which are lower-case UUIDs. Wider than that, and nothing in it can bend a path.
ID_PATTERN = "[A-Za-z0-9-]{1,64}"

# INFERRED that an answer with both keys is the API's own error and not one of a machine in between; three
# independent readers of the API know this envelope, no document draws it. `inner` may hold another one.
ERROR_KEYS = ("error_class", "description")

# INFERRED that every answer with a body is of this kind; the official client asks for no other.
CONTENT_TYPE = "application/json"

# SEEN LIVE: "revision_id": "Qumulo Core 7.8.0". INFERRED that it always begins so.
PRODUCT = "Qumulo Core "

# SEEN LIVE: UTC with `Z` and 6 to 9 fractional digits. Times outside these years are a broken clock or an
# attack, and would overflow when a page converts them.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 12, 31, tzinfo=UTC)

# INFERRED: a job of more than a hundred years is a wrong number, not a duration.
LONGEST_SECONDS = 100 * 366 * 86400

# DOCUMENTED: the three values of `replication_mode`, which the source alone tells.
CONTINUOUS = "REPLICATION_CONTINUOUS"
SNAPSHOT_POLICY = "REPLICATION_SNAPSHOT_POLICY"
SNAPSHOT_POLICY_WITH_CONTINUOUS = "REPLICATION_SNAPSHOT_POLICY_WITH_CONTINUOUS"

# SEEN LIVE: a job leaves `replication_from_<source cluster>` on the target, one that carried a policy snapshot
# `replication_from_<source cluster>_<its name>`. INFERRED that it is always so.
SNAPSHOT_FROM = "replication_from_"
