"""Every time of the protocol, in one place, with the order that makes it safe. (How long a
request waits, and how long an approval is good for starting, is the policy's to say: minutes, not seconds.)

The settle window is the reason for the order: a person may say "not applied" only when nothing can be on its way any
more. That is the send window (GO) from the check to the first byte, plus the time for which the kernel keeps trying to
deliver it (TCP_USER_TIMEOUT, set on the socket), plus what the cluster may take to act on it. This is rule 4: killing a
process proves nothing, because its kernel goes on without it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    go: timedelta = timedelta(seconds=5)  # from the answer of the re-check to the first byte of the POST
    user_timeout: timedelta = timedelta(seconds=10)  # TCP_USER_TIMEOUT: the kernel gives up on unacknowledged bytes
    handling: timedelta = timedelta(seconds=30)  # what the cluster may take to act on a request that it has received
    settle: timedelta = timedelta(seconds=180)  # after this, nothing that was sent can still arrive
    post_deadline: timedelta = timedelta(seconds=40)  # how long the sender waits for the answer
    turn: timedelta = timedelta(seconds=3)  # the second of two drivers waits; spares the cluster, guards nothing
    sign_in_again: timedelta = timedelta(seconds=60)  # after the cluster refused the executor token
    watch: timedelta = timedelta(seconds=2)  # between two readings of a failover that is on the cluster
    watch_unanswered: timedelta = timedelta(seconds=5)  # the same while the cluster does not answer
    agree: timedelta = timedelta(seconds=2)  # success needs two agreeing readings at least this far apart
    fresh: timedelta = timedelta(seconds=30)  # a request rests on an observation at most this old
    proof: timedelta = timedelta(seconds=10)  # closing as not applied rests on a reading at most this old
    vanished: timedelta = timedelta(seconds=30)  # "not found" for this long before a person is called
    unanswered: timedelta = timedelta(seconds=30)  # no answer for this long, after settle, before a person is called
    attempts: int = 3  # sends that provably never left the machine, before it is given up

    def __post_init__(self) -> None:
        if self.settle <= self.go + self.user_timeout + self.handling:
            raise ValueError("settle must be longer than go + user_timeout + handling: a late POST could still arrive.")
        if self.settle <= self.post_deadline:
            raise ValueError("settle must be longer than post_deadline: the sender itself may still be waiting.")

    def scaled(self, factor: float) -> Timing:
        """All times multiplied by `factor`, the order kept; for tests."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        scaled: dict[str, Any] = {
            name: value * factor for name, value in values.items() if isinstance(value, timedelta)
        }
        return replace(self, **scaled)


STANDARD = Timing()
