"""What the database refuses by itself, whatever code runs (rule 9). The same list serves the migration, the start-up
check and the tests. Rules that need no trigger (one open failover per relationship, nobody approves their own, one
person one vote) are constraints: declared in `models`, and listed in `constraints` for the check that they are there.

- What was asked is frozen when it is asked.
- A decision is for ever, carries the digest of what was asked, and names the true requester.
- `approved` needs enough decisions of others on that digest, and of each group its share. Break-glass is the one way
  without: the request itself says so, frozen, and two other people must review it.
- A failover moves along `lifecycle.MOVES` only: `sent` is reached from `approved` alone, an ending is final. (Which of
  these moves is made when, is kept by `moves`.)
- It stays what it was made for: the request, one of its positions, the relationship.
- A change of a policy stays as it was proposed, and is decided once.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from dashboard.audit import constraints, triggers
from dashboard.audit.triggers import Guard, append_only
from dashboard.failovers.constraints import CONSTRAINTS
from dashboard.failovers.lifecycle import MOVES, OPEN

_OPEN = ", ".join(f"'{state.value}'" for state in OPEN)

_STEPS = ", ".join(
    sorted({f"'{source.value} {move.target.value}'" for move in MOVES.values() for source in move.sources})
)

# Counted over distinct persons, on the digest of the request, without the requester: the same sentence that people
# read.
_TOO_FEW = """
    NEW.state = 'approved' AND OLD.state = 'requested' AND (
        SELECT count(DISTINCT d.person_id) FROM failovers_decision d JOIN failovers_request r ON r.id = d.request_id
        WHERE r.id = NEW.request_id AND d.verdict = 'approve' AND d.digest = r.digest AND d.person_id <> r.requester_id
    ) < (SELECT required FROM failovers_request WHERE id = NEW.request_id)
"""
# Of each group its share. (That no person stands for two groups at once is the sum, which `required` is, and `policy`.)
_SHARE_LACKS = """
    NEW.state = 'approved' AND OLD.state = 'requested' AND EXISTS (
        SELECT 1 FROM failovers_share s JOIN failovers_request r ON r.id = s.request_id
        WHERE s.request_id = NEW.request_id AND s.count > (
            SELECT count(DISTINCT d.person_id) FROM failovers_decision d
            WHERE d.request_id = r.id AND d.verdict = 'approve' AND d.digest = r.digest
            AND d.person_id <> r.requester_id AND (s."group" = '' OR {position}(d.groups, ',' || s."group" || ',') > 0)
        )
    )
"""
_REJECTED = """
    NEW.state = 'approved' AND OLD.state = 'requested'
    AND EXISTS (SELECT 1 FROM failovers_decision d WHERE d.request_id = NEW.request_id AND d.verdict = 'reject')
"""
_NOT_THE_REQUEST = """
    NOT EXISTS (
        SELECT 1 FROM failovers_request r
        WHERE r.id = NEW.request_id AND r.requester_id = NEW.requester_id AND r.digest = NEW.digest
    )
"""
_NOT_TO_REVIEW = """
    NOT EXISTS (
        SELECT 1 FROM failovers_request r
        WHERE r.id = NEW.request_id AND r.requester_id = NEW.requester_id AND r.break_glass
    )
"""
_TAKEN = "EXISTS (SELECT 1 FROM {table} t WHERE t.id = NEW.id{more})"
_ASTRAY = f"NEW.state <> OLD.state AND OLD.state || ' ' || NEW.state NOT IN ({_STEPS})"
_NOT_ANEW = "NEW.state <> 'requested'"
_BEYOND = "NEW.position >= (SELECT size FROM failovers_request WHERE id = NEW.request_id)"
_MOVED_ELSEWHERE = " OR ".join(f"NEW.{c} <> OLD.{c}" for c in ("id", "request_id", "position", "relationship_id"))
# What a change of a policy says stays as the second person reads it, and it is decided once.
_CHANGE_SAYS = ("id", "name", '"before"', '"after"', "words", "weakens", "by_id", "by_label", "at")
_REWRITTEN = "OLD.verdict <> 'waiting' OR " + " OR ".join(f"NEW.{c} {{differs}} OLD.{c}" for c in _CHANGE_SAYS)


def _both(condition: str, **guard: str) -> Guard:
    return Guard(sqlite=condition, postgresql=condition, **guard)  # type: ignore[arg-type]


GUARDS: list[Guard] = [
    *append_only("failovers_request", "A request is frozen when it is made."),
    *append_only("failovers_decision", "A decision is for ever."),
    *append_only("failovers_share", "A request is frozen when it is made."),
    *append_only("failovers_review", "A review is for ever."),
    # SQLite's INSERT OR REPLACE removes the old row without any DELETE trigger: a taken key is refused first.
    Guard(
        name="failovers_request_is_not_replaced",
        table="failovers_request",
        event="INSERT",
        words="A request is frozen when it is made.",
        sqlite=_TAKEN.format(table="failovers_request", more=" OR t.nonce = NEW.nonce"),
        postgresql="false",
    ),
    Guard(
        name="failovers_decision_is_not_replaced",
        table="failovers_decision",
        event="INSERT",
        words="A decision is for ever.",
        sqlite=_TAKEN.format(
            table="failovers_decision",
            more=" OR (t.request_id = NEW.request_id AND t.person_id = NEW.person_id)",
        ),
        postgresql="false",
    ),
    _both(
        _NOT_THE_REQUEST,
        name="failovers_decision_is_on_the_request",
        table="failovers_decision",
        event="INSERT",
        words="A decision must name the requester and the digest of its request.",
    ),
    Guard(
        name="failovers_share_is_not_replaced",
        table="failovers_share",
        event="INSERT",
        words="A request is frozen when it is made.",
        sqlite=_TAKEN.format(
            table="failovers_share", more=' OR (t.request_id = NEW.request_id AND t."group" = NEW."group")'
        ),
        postgresql="false",
    ),
    Guard(
        name="failovers_review_is_not_replaced",
        table="failovers_review",
        event="INSERT",
        words="A review is for ever.",
        sqlite=_TAKEN.format(
            table="failovers_review",
            more=" OR (t.request_id = NEW.request_id AND t.person_id = NEW.person_id)",
        ),
        postgresql="false",
    ),
    _both(
        _NOT_TO_REVIEW,
        name="failovers_review_is_of_break_glass",
        table="failovers_review",
        event="INSERT",
        words="A review must name the requester of a break-glass request.",
    ),
    _both(
        _NOT_ANEW,
        name="failovers_failover_begins_as_requested",
        table="failovers_failover",
        event="INSERT",
        words="A failover begins as requested.",
    ),
    _both(
        _BEYOND,
        name="failovers_failover_is_of_its_request",
        table="failovers_failover",
        event="INSERT",
        words="A request carries as many failovers as it was made for.",
    ),
    Guard(
        name="failovers_failover_is_not_replaced",
        table="failovers_failover",
        event="INSERT",
        words="A failover is not replaced.",
        sqlite=_TAKEN.format(
            table="failovers_failover",
            more=" OR (t.request_id = NEW.request_id AND t.position = NEW.position)"
            f" OR (t.relationship_id = NEW.relationship_id AND t.state IN ({_OPEN}))",
        ),
        postgresql="false",
    ),
    Guard(
        name="failovers_failover_never_vanishes",
        table="failovers_failover",
        event="DELETE",
        words="A failover is never deleted.",
    ),
    Guard(
        name="failovers_failover_is_never_emptied",
        table="failovers_failover",
        event="TRUNCATE",
        words="A failover is never deleted.",
    ),
    _both(
        f"({_TOO_FEW}) OR ({_REJECTED})",
        name="failovers_approved_by_enough_others",
        table="failovers_failover",
        event="UPDATE",
        words="A failover is approved only by enough other people on what was asked.",
    ),
    Guard(
        name="failovers_approved_by_each_group",
        table="failovers_failover",
        event="UPDATE",
        words="A failover is approved only with the share of each group.",
        sqlite=_SHARE_LACKS.format(position="instr"),
        postgresql=_SHARE_LACKS.format(position="strpos"),
    ),
    _both(
        _ASTRAY,
        name="failovers_failover_moves_along",
        table="failovers_failover",
        event="UPDATE",
        words="Only an approved failover is sent, and an ending is final: a failover moves along its states.",
    ),
    _both(
        _MOVED_ELSEWHERE,
        name="failovers_failover_stays",
        table="failovers_failover",
        event="UPDATE",
        words="A failover stays with its request and its relationship.",
    ),
    Guard(
        name="failovers_policychange_is_decided_once",
        table="failovers_policychange",
        event="UPDATE",
        words="A change of a policy stays as it was proposed, and is decided once.",
        sqlite=_REWRITTEN.format(differs="IS NOT"),
        postgresql=_REWRITTEN.format(differs="IS DISTINCT FROM"),
    ),
    Guard(
        name="failovers_policychange_is_not_replaced",
        table="failovers_policychange",
        event="INSERT",
        words="A change of a policy stays as it was proposed, and is decided once.",
        sqlite=_TAKEN.format(
            table="failovers_policychange",
            more=" OR (t.name = NEW.name AND t.verdict = 'waiting' AND NEW.verdict = 'waiting')",
        ),
        postgresql="false",
    ),
    Guard(
        name="failovers_policychange_never_vanishes",
        table="failovers_policychange",
        event="DELETE",
        words="A change of a policy is never deleted.",
    ),
    Guard(
        name="failovers_policychange_is_never_emptied",
        table="failovers_policychange",
        event="TRUNCATE",
        words="A change of a policy is never deleted.",
    ),
]


def install(connection: BaseDatabaseWrapper) -> None:
    triggers.install(connection, GUARDS)


def drop(connection: BaseDatabaseWrapper) -> None:
    triggers.drop(connection, GUARDS)


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of the triggers and constraints that are not there as they were made."""
    return [*triggers.missing(connection, GUARDS), *constraints.missing(connection, CONSTRAINTS)]
