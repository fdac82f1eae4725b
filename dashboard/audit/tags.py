"""What an entry of the ledger can be about: a dotted tag that never changes, and the words a page shows for it.

A tag that is no longer written stays here as a comment, because old entries still carry it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Tag(StrEnum):
    words: str

    def __new__(cls, value: str, words: str) -> Self:
        tag = str.__new__(cls, value)
        tag._value_ = value
        tag.words = words
        return tag

    PERSON_ADDED = "person.added", "Person added"
    PERSON_CHANGED = "person.changed", "Person changed"
    PERSON_REMOVED = "person.removed", "Person removed"

    SIGNIN_SUCCEEDED = "signin.succeeded", "Signed in"
    SIGNIN_FAILED = "signin.failed", "Sign-in failed"
    SIGNIN_EMERGENCY = "signin.emergency", "Emergency sign-in"
    SIGNOUT = "signout", "Signed out"
    SESSION_ENDED = "session.ended", "Session ended"
    FACTOR_ADDED = "factor.added", "Second factor added"
    FACTOR_REMOVED = "factor.removed", "Second factor removed"
    CONFIRM_REFUSED = "confirm.refused", "Confirmation of identity refused"

    GROUP_CHANGED = "group.changed", "Group changed"
    ACCESS_REFUSED = "access.refused", "Access refused"
    PEOPLE_REFUSED = "people.refused", "Change of people refused"

    POLICY_CHANGED = "policy.changed", "Policy changed"
    POLICY_PROPOSED = "policy.proposed", "Change of a policy waits for a second person"
    POLICY_DROPPED = "policy.dropped", "Change of a policy dropped"
    POLICY_REFUSED = "policy.refused", "Change of a policy refused"

    CLUSTER_ADDED = "cluster.added", "Cluster added"
    CLUSTER_CHANGED = "cluster.changed", "Cluster changed"
    CLUSTER_REMOVED = "cluster.removed", "Cluster removed"
    CLUSTER_TESTED = "cluster.tested", "Cluster tested"
    OBJECTIVE_SET = "objective.set", "Objective set"
    TAG_SET = "tag.set", "Tag set"
    TAG_REMOVED = "tag.removed", "Tag removed"

    REQUEST_MADE = "request.made", "Failover requested"
    REQUEST_REFUSED = "request.refused", "Request refused"
    REQUEST_APPROVED = "request.approved", "Approved"
    REQUEST_REJECTED = "request.rejected", "Rejected"
    REQUEST_CANCELLED = "request.cancelled", "Cancelled"
    REQUEST_EXPIRING = "request.expiring", "Expires soon"
    REQUEST_BROKEN_GLASS = "request.break-glass", "Break-glass: started on one name"
    REVIEW_MADE = "review.made", "Break-glass reviewed"
    REVIEW_OVERDUE = "review.overdue", "Review of break-glass overdue"
    REVIEW_REFUSED = "review.refused", "Review refused"
    REQUEST_EXPIRED = "request.expired", "Expired"
    DECISION_MADE = "decision.made", "Decision made, more are needed"
    DECISION_REFUSED = "decision.refused", "Decision refused"
    CANCEL_REFUSED = "cancel.refused", "Cancelling refused"
    CLOSE_REFUSED = "close.refused", "Closing refused"

    FAILOVER_SENT = "failover.sent", "Make-writable is being sent"
    FAILOVER_NOTSENT = "failover.notsent", "Make-writable was not sent"
    FAILOVER_ANSWERED = "failover.answered", "The cluster answered"
    FAILOVER_DOUBT = "failover.doubt", "Outcome unknown"
    FAILOVER_REVERTING = "failover.reverting", "Reverting to the recovery point"
    FAILOVER_DISCONNECTED = "failover.disconnected", "Disconnected"
    FAILOVER_SUCCEEDED = "failover.succeeded", "The target is writable"
    FAILOVER_REFUSED = "failover.refused", "Refused by the cluster"
    FAILOVER_STOPPED = "failover.stopped", "Stopped before sending"
    FAILOVER_CONCERN = "failover.concern", "Needs a person"
    FAILOVER_CLOSED = "failover.closed", "Closed by a person"
    FAILOVER_OUTSIDE = "failover.outside", "Changed by somebody else during a failover"

    HOLD_SET = "hold.set", "Held: nothing is sent"
    HOLD_LIFTED = "hold.lifted", "Hold lifted"
    HOLD_REFUSED = "hold.refused", "Hold or lifting refused"

    AUDIT_EXPORTED = "audit.exported", "Audit trail exported"
    AUDIT_VERIFIED = "audit.verified", "Audit trail verified"
    EVIDENCE_EXPORTED = "evidence.exported", "Evidence pack made"
    NOTICE_FAILED = "notice.failed", "Nobody could be told"


# What a page offers to look for: the first parts of tags, by the words for them.
KINDS = {
    "requests": ("Requests and decisions", ("request", "decision", "cancel", "review")),
    "failovers": ("Failovers", ("failover", "close")),
    "holds": ("Holds", ("hold",)),
    "signins": ("Sign-ins", ("signin", "signout", "session", "factor", "confirm", "access")),
    "people": ("People and policies", ("person", "people", "group", "policy")),
    "clusters": ("Clusters and objectives", ("cluster", "objective", "tag")),
    "record": ("The record itself", ("audit", "evidence", "notice")),
}
# Whatever somebody tried and was not given.
REFUSALS = frozenset(tag for tag in Tag if tag.endswith(".refused")) | {Tag.SIGNIN_FAILED}


def tags_of_kind(kind: str) -> list[str]:
    """The tags of one of the KINDS, or the one tag that has this very name; empty for anything else."""
    if kind in KINDS:
        return [str(tag) for tag in Tag if tag.partition(".")[0] in KINDS[kind][1]]
    return [kind] if kind in _WORDS else []


_WORDS = {str(tag): tag.words for tag in Tag}


def words_of(tag: str) -> str:
    """The words of a tag; one that this version does not know is shown as it is."""
    return _WORDS.get(tag, tag)
