"""The life of one replication relationship: one truth, which the clusters at both ends show.

Guarantee: the state depends only on the clock and on what was asked for. `advance(now)` plays every event that
is due, each at its own moment, so a world that nobody looked at for an hour is where it would have been.

States and what may follow them are those of the API; names of states in between are INFERRED from its enum
and from the texts of `qq`. What a job, a revert or a resynchronisation reports while it runs is INVENTED
where no capture of a real cluster shows it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import status, wire
from dashboard.simulator.terms import End, RevertEnds, Settings, State, Work

if TYPE_CHECKING:
    from dashboard.simulator.wire import Json, Time


@dataclass(eq=False)
class Relationship:
    """One relationship under one id. Attributes below the first block may be changed at any time by a test."""

    id: str
    source: End
    target: End
    state: State = State.ESTABLISHED

    every: float = 600.0  # seconds from the start of one job to the start of the next
    takes: float = 60.0  # seconds that a job takes
    rate: float = 400e6  # bytes per second
    error: str = ""  # what running and coming jobs fail with; "" means they succeed
    stalls: bool = False  # running and coming jobs stand still
    revert_takes: float = 3.0
    revert_ends: RevertEnds = RevertEnds.DONE
    revert_shows_progress: bool = True
    revert_error: str = "Target cluster error: The revert could not be completed."
    reconnect_takes: float = 3.0
    target_directory: str = "empty"  # what authorize meets: empty, filled or missing
    source_address: str | None = None  # null in every capture of a real cluster
    next_active_at: Time | None = None  # end of a blackout window: no job starts before it

    settings: Settings = field(default_factory=Settings)
    end_reason: str = ""
    recovery_point: Time | None = None
    recovery_point_snapshot: Json | None = None
    error_from_last_job: str = ""
    duration_of_last_job: float | None = None
    next_job_at: Time | None = None
    work: Work | None = None
    queue: list[Json] = field(default_factory=list)  # policy snapshots that wait on the source, oldest first
    replicating: Json | None = None
    reversed_since: bool = False
    version: int = 1  # of the source's settings: its ETag
    jobs: int = 0
    past: list[tuple[Time, State, bool]] = field(default_factory=list)  # state and whether the target was read-only

    # -- what moves with the clock ---------------------------------------------------------------------------

    def advance(self, now: Time) -> None:
        """Play what is due until `now`."""
        while (due := self._due()) is not None and due <= now:
            self._happen(due)
            self._remember(due)
        if self.work is None and self.next_job_at is not None:
            self.next_job_at = max(self.next_job_at, now)  # what lets jobs start again later does not start them now
        self._remember(now)

    def _remember(self, at: Time) -> None:
        is_now = (self.state, self.target.read_only)
        if not self.past or self.past[-1][1:] != is_now:
            self.past.append((at, *is_now))

    def was(self, begin: Time, end: Time) -> set[tuple[State, bool]]:
        """Each state in which it was at some moment from `begin` to `end`, with whether its target was read-only."""
        over = [at for at, *_ in self.past[1:]] + [float("inf")]
        there = zip(self.past, over, strict=True)
        return {(state, read_only) for (at, state, read_only), until in there if at <= end and until >= begin}

    def _due(self) -> Time | None:
        if self.work is not None:
            return self.work.ends
        if self.state is not State.ESTABLISHED or not self.settings.replication_enabled:
            return None
        if self.next_job_at is None or (self.settings.only_policy_snapshots and not self.queue):
            return None
        return max(self.next_job_at, self.next_active_at or 0)

    def _happen(self, at: Time) -> None:
        if self.work is None:
            self.start_job(at)
        elif self.state is State.ESTABLISHED:
            self._finish_job(self.work, at)
        elif self.state is State.DISCONNECTING:
            self._finish_revert(at)
        else:  # RECONNECTING or REESTABLISHING
            self.work = None
            self.state, self.reversed_since = State.ESTABLISHED, False
            self.next_job_at = at + self.jitter()

    def jitter(self) -> float:
        """Under a millisecond and different each time: real times are never round."""
        return (1 + zlib.crc32(f"{self.id}/{self.jobs}".encode()) % 999_999) / 1e9

    def start_job(self, at: Time) -> None:
        self.jobs += 1
        self.work = Work(at, self.takes, stands_at=0.64 if self.stalls else None)
        self.replicating = self.queue.pop(0) if self.queue else None

    def _finish_job(self, job: Work, at: Time) -> None:
        self.work = None
        self.duration_of_last_job = at - job.begun
        self.next_job_at = max(at + self.jitter(), job.begun + self.every)
        if self.error:
            if self.replicating is not None:
                self.queue.insert(0, self.replicating)
            self.replicating, self.error_from_last_job = None, self.error
            return
        self.error_from_last_job = ""
        self.set_recovery_point(job.begun + self.source.cluster.clock_ahead)

    def set_recovery_point(self, at: Time) -> None:
        """Record a successful job that started at `at` (recovery point = its start: DOCUMENTED)."""
        name = f"replication_from_{self.source.cluster.name}"
        number = self.target.cluster.next_snapshot()
        file_id = self.target.root_id
        self.recovery_point = at
        if self.replicating is None:
            self.recovery_point_snapshot = wire.snapshot(number, name, at, file_id=file_id)
        else:
            # The data of a policy snapshot is as old as the snapshot, not as its job (INFERRED).
            theirs = self.replicating
            copy = wire.snapshot(number, f"{name}_{theirs['name']}", at, file_id=file_id)
            self.recovery_point_snapshot = {**copy, "timestamp": theirs["timestamp"]}
            self.replicating = None

    def _finish_revert(self, at: Time) -> None:
        self.work = None
        if self.revert_ends is RevertEnds.FAILS:
            self.state, self.error_from_last_job = State.ESTABLISHED, self.revert_error
            self.next_job_at = at + self.every
            return
        self.state, self.target.read_only = State.DISCONNECTED, False
        old = self.recovery_point_snapshot["id"] if self.recovery_point_snapshot else 0
        # The recovery point itself is not moved by the revert; only the snapshot is a new one (SEEN LIVE).
        self.recovery_point_snapshot = wire.snapshot(
            self.target.cluster.next_snapshot(),
            f"revert_to_{old}_for_{self.source.cluster.name}",
            at,
            file_id=self.target.root_id,
        )

    def _drop_work(self) -> None:
        if self.replicating is not None:
            self.queue.insert(0, self.replicating)
        self.work, self.replicating = None, None

    # -- what people ask for ---------------------------------------------------------------------------------

    def make_writable(self, now: Time) -> None:
        """Accept the revert. A running job is given up (INFERRED); the source is not needed (DOCUMENTED)."""
        self._require(State.ESTABLISHED)
        if self.recovery_point is None:
            raise wire.conflict(
                "replication_no_recovery_point_error",
                "Initial replication has not completed; there is no recovery point.",
            )
        self._drop_work()
        hangs = self.revert_ends is RevertEnds.HANGS
        self.state = State.DISCONNECTING
        self.work = Work(now, self.revert_takes, stands_at=0.41 if hangs else None)

    def reconnect(self, now: Time) -> None:
        """Read-only again and changes reverted (DOCUMENTED); after a reversal REESTABLISHING (INFERRED)."""
        self._require(State.DISCONNECTED)
        self.target.read_only = True
        self.state = State.REESTABLISHING if self.reversed_since else State.RECONNECTING
        self.work = Work(now, self.reconnect_takes)

    def authorize(self, now: Time, *, allow_filled: bool, allow_create: bool) -> None:
        self._require(State.AWAITING_AUTHORIZATION)
        if self.target_directory == "filled" and not allow_filled:
            raise wire.Refusal(
                HTTPStatus.BAD_REQUEST, "replication_target_not_empty_error", f"{self.target.path} is not_empty."
            )
        if self.target_directory == "missing" and not allow_create:
            raise wire.Refusal(HTTPStatus.BAD_REQUEST, "fs_no_such_entry_error", f"{self.target.path} does not exist.")
        self.target.path = self.target.path.rstrip("/") + "/"
        self.target.read_only, self.state = True, State.ESTABLISHED
        self.next_job_at = now + self.jitter()

    def reverse(self, source_address: str, source_port: int) -> None:
        """Swap the ends; nothing replicates until the new target reconnects (DOCUMENTED)."""
        self._require(State.DISCONNECTED)
        self.source, self.target = self.target, self.source
        self.settings.target_address, self.settings.target_port = source_address, source_port
        self.source_address, self.reversed_since = None, not self.reversed_since
        self.version += 1

    def delete(self, end: End) -> None:
        """Forget it at one end, without any revert; the other end keeps a record that says so (SEEN LIVE)."""
        end.gone = True
        self._drop_work()
        self.state = State.ENDED
        self.target.read_only = False
        side = "target" if end is self.target else "source"
        self.end_reason = f"The relationship was deleted on the {side} cluster."

    def replicate(self, now: Time) -> None:
        """Start a job now; where only policy snapshots are replicated and none waits, there is none (INVENTED)."""
        self._require(State.ESTABLISHED)
        if self.work is None and (self.queue or not self.settings.only_policy_snapshots):
            self.start_job(now)

    def abort(self, now: Time) -> None:
        """Give the running job up; its progress is lost (DOCUMENTED)."""
        if self.state is State.ESTABLISHED and self.work is not None:
            self._drop_work()
            self.next_job_at = now + self.every

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise wire.conflict(
                "replication_relationship_wrong_state_error",
                f"Relationship {self.id} is {self.state}; it must be {state}.",
            )

    # -- handles for tests: each first plays what is due -----------------------------------------------------

    def status(self) -> Json:
        """The target status as it is on the wire right now."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            return status.of_target(self, now)

    def source_status(self) -> Json:
        """The source status as it is on the wire right now."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            return status.of_source(self, now)

    def jobs_fail(self, error: str) -> None:
        """The running job and all that follow fail with `error` when their time is up."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            self.error = error

    def jobs_stall(self) -> None:
        """The running job stops where it is; one that starts later stops half-way. No error is reported."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            self.stalls = True
            if self.state is State.ESTABLISHED and self.work is not None:
                self.work.stands_at = self.work.fraction(now)

    def jobs_work(self) -> None:
        """Jobs go on where they stopped and succeed again."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            self.error, self.stalls = "", False
            if self.state is State.ESTABLISHED and self.work is not None and self.work.stands_at is not None:
                self.work = Work(now - self.work.fraction(now) * self.work.takes, self.work.takes)

    def take_policy_snapshot(self, name: str) -> None:
        """A snapshot policy of the source takes one now: it waits until a job carries it, before anything else
        (DOCUMENTED)."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            at = now + self.source.cluster.clock_ahead
            number = self.source.cluster.next_snapshot()
            self.queue.append(wire.snapshot(number, name, at, file_id=self.source.root_id, by_policy=True))

    def move_recovery_point(self, seconds: float) -> None:
        """Shift it; negative is backwards, which no healthy cluster does."""
        with self.target.cluster.world.entered() as now:
            self.advance(now)
            if self.recovery_point is not None:
                self.set_recovery_point(self.recovery_point + seconds)
