"""What a failover is judged by, at one moment, and what the judgement is made of. Plain values; `preflight` judges,
`planned` adds what a planned failover must show, `reading` puts the situation together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from dashboard.failovers.plan import Item
from dashboard.qumulo.records import SourceStatus, TargetStatus

SKEW_TOLERATED = timedelta(minutes=2)


class Verdict(StrEnum):
    BLOCK = "block"
    WARN = "warn"
    PASS = "pass"  # noqa: S105
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list. `subject` is a stable key; `words` a sentence; `detail` what stands under it."""

    subject: str
    verdict: Verdict
    words: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is known of the source cluster. `known`: it is one of the clusters here. `answers`: it was read lately.

    `status` is what it says of this relationship itself, read at `read_at`; None when it was not asked or did not say.
    """

    known: bool = False
    answers: bool = False
    last_read_at: datetime | None = None
    clock_ahead: timedelta | None = None
    status: SourceStatus | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The relationship as it was read (a moment ago by the sender, seconds ago by the page), and what is known around
    it.

    `status` is None when the cluster has not been read, or its row was not readable. `item` is what was approved; None
    while the request is being written. `source_read_only_since` is when we first saw it so, which is later than it was.
    """

    now: datetime
    target: str
    status: TargetStatus | None
    read_at: datetime | None
    answers: bool
    objective: timedelta
    source: Source = field(default_factory=Source)
    trouble: str = ""
    node_state: str = "ACTIVE"
    clock_ahead: timedelta | None = None
    executor: str = "ready"  # ready | missing | refused
    stalled_since: datetime | None = None
    source_read_only_since: datetime | None = None
    other_request: str = ""
    held: str = ""
    may_request: bool = True
    item: Item | None = None
    mode: str = "unplanned"  # unplanned | planned | drill
