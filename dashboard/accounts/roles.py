"""What an account may do. Roles add up, and none contains another: an admin can neither ask for a failover
nor approve one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Role(StrEnum):
    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        role = str.__new__(cls, value)
        role._value_ = value
        role.meaning = meaning
        return role

    VIEWER = "viewer", "sees relationships, failovers and the wall"
    OPERATOR = "operator", "may ask for a failover"
    APPROVER = "approver", "may approve, reject or close what somebody else asked for"
    AUDITOR = "auditor", "reads the audit trail"
    ADMIN = "admin", "sees clusters; changes roles, groups and policies; may cancel what has not been sent"


# Of the others there is only one kind: the ledger, the clusters and the people belong to the whole desk.
SCOPED = (Role.VIEWER, Role.OPERATOR, Role.APPROVER)
