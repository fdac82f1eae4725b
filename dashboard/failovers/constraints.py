"""The constraints that the protocol leans on, in whichever room their table is: without one of these, a rule that must
hold whatever code runs would rest on code alone. `models` declare them, migrations make them, and `selfcheck` asks
whether they are still there and still say this. (Those of the ledger's own tables are in `audit.guards`.)
"""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.audit.constraints import Check, Constraint, Unique
from dashboard.failovers.lifecycle import OPEN, State


def _among(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


CONSTRAINTS: list[Constraint] = [
    # At most one: no second failover of a relationship, however it is asked for, and each is what it was asked as.
    Unique(
        name="one_open_failover_per_relationship",
        table="failovers_failover",
        columns=("relationship_id",),
        where=_among("state", OPEN),
    ),
    Unique(name="one_failover_per_key", table="failovers_failover", columns=("id",)),
    Unique(name="one_failover_per_position", table="failovers_failover", columns=("request_id", "position")),
    Check(name="a_failover_is_in_a_known_state", table="failovers_failover", condition=_among("state", State)),
    Check(
        name="what_was_sent_says_when",
        table="failovers_failover",
        condition="NOT state IN ('sent', 'reverting', 'succeeded', 'refused', 'closed') OR sent_at IS NOT NULL",
    ),
    # What was asked: once for each form, and never without somebody else, unless it says that it is break-glass.
    Unique(name="one_request_per_key", table="failovers_request", columns=("id",)),
    Unique(name="one_request_per_nonce", table="failovers_request", columns=("nonce",)),
    Check(
        name="at_least_one_other_person_approves",
        table="failovers_request",
        condition="(NOT break_glass AND required >= 1) OR (break_glass AND required = 0)",
    ),
    Check(name="a_request_carries_1_to_200", table="failovers_request", condition="size >= 1 AND size <= 200"),
    Check(
        name="a_request_has_a_known_mode",
        table="failovers_request",
        condition="mode IN ('unplanned', 'planned', 'drill')",
    ),
    Unique(name="one_share_per_group", table="failovers_share", columns=("request_id", "group")),
    Check(name="a_share_is_somebody", table="failovers_share", condition="count >= 1"),
    # Four eyes: persons, each once, never the one who asked.
    Unique(name="one_person_one_vote", table="failovers_decision", columns=("request_id", "person_id")),
    Check(
        name="nobody_approves_their_own",
        table="failovers_decision",
        condition="NOT person_id = requester_id",
    ),
    Unique(name="one_person_one_review", table="failovers_review", columns=("request_id", "person_id")),
    Check(name="nobody_reviews_their_own", table="failovers_review", condition="NOT person_id = requester_id"),
    Unique(name="one_person_per_key", table="accounts_person", columns=("id",)),
    Unique(name="one_account_per_name", table="accounts_user", columns=("username",)),
    Unique(name="a_confirmation_is_spent_once", table="accounts_spentconfirmation", columns=("nonce",)),
    Unique(name="one_emergency_code_per_hash", table="accounts_emergencycode", columns=("hash",)),
    # The rules for that: one of a name, and weakened by two people only.
    Unique(name="one_policy_per_name", table="failovers_policy", columns=("name",)),
    Unique(
        name="one_waiting_change_per_policy",
        table="failovers_policychange",
        columns=("name",),
        where="verdict = 'waiting'",
    ),
    Check(
        name="nobody_weakens_a_policy_alone",
        table="failovers_policychange",
        condition="NOT weakens OR NOT verdict = 'applied' OR by_id IS NULL OR (decided_by_id IS NOT NULL"
        " AND NOT (decided_by_id = by_id AND decided_by_id IS NOT NULL AND by_id IS NOT NULL))",
    ),
    # Whom it is sent to: one row for each identity, and names that mean one cluster only.
    Unique(name="one_cluster_per_name", table="fleet_cluster", columns=("name",)),
    Unique(name="one_cluster_per_identity", table="fleet_cluster", columns=("uuid",)),
    Unique(
        name="one_row_per_relationship",
        table="fleet_relationship",
        columns=("cluster_id", "relationship_id", "source_cluster_uuid", "target_root_id"),
    ),
]
