"""What the database itself refuses to do to the ledger; used by the migration, the start-up check and the
tests.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from dashboard.audit import constraints, triggers
from dashboard.audit.constraints import Check, Constraint, Unique
from dashboard.audit.triggers import Guard

LEDGER = [
    *triggers.append_only("audit_entry", "The audit trail is append-only."),
    Guard(
        name="audit_entry_follows_the_last",
        table="audit_entry",
        event="INSERT",
        words="An entry of the audit trail must follow the last one.",
        sqlite=(
            "NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit_entry)"
            " OR NEW.prev_hash IS NOT"
            " coalesce((SELECT hash FROM audit_entry ORDER BY seq DESC LIMIT 1), zeroblob(32))"
        ),
        postgresql=(
            "NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM audit_entry)"
            " OR NEW.prev_hash IS DISTINCT FROM"
            " coalesce((SELECT hash FROM audit_entry ORDER BY seq DESC LIMIT 1), decode(repeat('00', 32), 'hex'))"
        ),
    ),
]
CHECKPOINTS = [
    *triggers.append_only("audit_checkpoint", "Checkpoints are append-only."),
    Guard(
        name="audit_checkpoint_follows_the_last",
        table="audit_checkpoint",
        event="INSERT",
        words="A checkpoint must follow the last one.",
        sqlite="NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit_checkpoint)",
        postgresql="NEW.number IS DISTINCT FROM (SELECT coalesce(max(number), 0) + 1 FROM audit_checkpoint)",
    ),
]
GUARDS = [*LEDGER, *CHECKPOINTS]

CONSTRAINTS: list[Constraint] = [
    Unique(name="one_entry_per_number", table="audit_entry", columns=("seq",)),
    Unique(name="one_head_per_key", table="audit_head", columns=("id",)),
    Check(name="the_ledger_has_one_head", table="audit_head", condition="id = 1"),
    Unique(name="one_checkpoint_per_number", table="audit_checkpoint", columns=("number",)),
]


def install(connection: BaseDatabaseWrapper) -> None:
    triggers.install(connection, GUARDS)


def drop(connection: BaseDatabaseWrapper) -> None:
    triggers.drop(connection, GUARDS)


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of the triggers and constraints that are not there as they were made."""
    return [*triggers.missing(connection, GUARDS), *constraints.missing(connection, CONSTRAINTS)]
