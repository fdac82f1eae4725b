"""The course of one failover, from the request to its end, as its pages tell it: read once, at one moment. (Who decides
on it is in `whole`: people decide on requests.)

It adds nothing to the record. What nobody has read is "not known", never assumed; what was lost is said only of what
was sent. The parts are read when the page asks for them, because each state shows other ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from dashboard.failovers import eyes, history, preflight, reading, readings
from dashboard.failovers.clockwork import TIMING
from dashboard.failovers.history import Earlier
from dashboard.failovers.lifecycle import CONCERN_WORDS, ON_THE_CLUSTER, TERMINAL, Concern, LastRead, State
from dashboard.failovers.models import Failover, Hold, Request
from dashboard.failovers.plan import Item
from dashboard.failovers.preflight import Check, Situation, Verdict
from dashboard.failovers.reading import Fact, Loss
from dashboard.failovers.readings import Closable
from dashboard.fleet.jobs import Estimate
from dashboard.fleet.models import Observation
from dashboard.web import before
from dashboard.web.revert import Progress, progress_of, shown_since_sent
from dashboard.web.standing import outcome, standing

if TYPE_CHECKING:
    from dashboard.web.whole import Whole


@dataclass(frozen=True)
class Course:
    """What is known of one failover of `whole`."""

    failover: Failover
    whole: Whole

    @property
    def now(self) -> datetime:
        return self.whole.now

    @property
    def asked(self) -> Request:
        return self.whole.asked

    @cached_property
    def item(self) -> Item:
        return self.failover.item

    @property
    def place(self) -> int:
        """In the order in which they start, from 1."""
        return self.failover.position + 1

    @property
    def state(self) -> State:
        return State(self.failover.state)

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def on_the_cluster(self) -> bool:
        return self.state in ON_THE_CLUSTER

    @property
    def target(self) -> str:
        return self.failover.relationship.cluster.name

    @property
    def standing(self) -> str:
        """What it counts as among others of its request."""
        return standing(self.failover, self.now)

    @property
    def outcome(self) -> tuple[str, str]:
        """(health, words): how it stands, in a few words."""
        return outcome(self.failover, self.standing)

    @property
    def note(self) -> str:
        """Why, when that is not plain from its standing."""
        if self.concern:
            return self.concern_words
        if self.state in (State.REFUSED, State.STOPPED, State.CLOSED):
            return self.failover.outcome_words
        return self.trouble if self.state is State.APPROVED and self.failover.attempts else ""

    @property
    def may_close(self) -> bool:
        open_now = self.closable is not None and self.closable.other
        return open_now and eyes.may_decide(self.whole.user, [self.target]) and not self.whole.mine

    # ── Before it is sent: facts then and now, checks, loss ──

    @cached_property
    def situation(self) -> Situation:
        return self.whole.situations[self.failover.position]

    @cached_property
    def checks(self) -> list[Check]:
        return preflight.judge(self.situation)

    @property
    def blocks(self) -> int:
        return len(preflight.blocks(self.checks))

    @property
    def warnings(self) -> int:
        return sum(check.verdict is Verdict.WARN for check in self.checks)

    @property
    def bad(self) -> int:
        return self.blocks + self.warnings

    @property
    def worst(self) -> Check | None:
        """The first that blocks, or else that warns."""
        return self.checks[0] if self.bad else None

    @property
    def others(self) -> list[Check]:
        return self.checks[1:] if self.bad else self.checks

    @property
    def passed(self) -> int:
        return sum(check.verdict is Verdict.PASS for check in self.checks)

    @cached_property
    def facts(self) -> list[tuple[Fact, Fact, bool]]:
        return reading.compare(self.asked, self.failover.position, reading.facts(self.situation))

    @cached_property
    def changed(self) -> list[Fact]:
        return [now for _then, now, changed in self.facts if changed]

    @cached_property
    def loss(self) -> Loss:
        if self.failover.sent_at is None:
            return reading.loss(self.situation)
        return reading.loss_of(self.failover, now=self.now)

    @cached_property
    def bytes(self) -> Estimate | None:
        """Of what is lost, where the jobs before allow one."""
        return reading.in_bytes(self.failover.relationship, self.loss)

    @property
    def loss_then(self) -> timedelta | None:
        """How much would have been lost at the request; None when that, or what would be lost now, is not known."""
        start = self.item.loss_from_at
        return None if start is None or self.loss.length is None else max(self.asked.made_at - start, timedelta(0))

    @property
    def loss_more(self) -> timedelta | None:
        """By how much more is lost now than at the request."""
        if self.loss_then is None or self.loss.length is None:
            return None
        return max(self.loss.length - self.loss_then, timedelta(0))

    @property
    def loss_shrank(self) -> timedelta | None:
        """By how much less is lost now, because the recovery point has moved on."""
        if self.loss_then is None or self.loss.length is None:
            return None
        return max(self.loss_then - self.loss.length, timedelta(0))

    @property
    def lost(self) -> str:
        """Which word stands over the loss: "would" (not sent), "maybe" (in doubt), "lost", "nothing"."""
        if self.state in (State.REVERTING, State.SUCCEEDED):
            return "lost"
        if self.state is State.SENT or (self.state is State.CLOSED and self.failover.outcome != "not_applied"):
            return "maybe"
        return "nothing" if self.ended else "would"

    @property
    def point(self) -> datetime | None:
        """The recovery point that it goes back to: of the re-check when there was one, else of the request."""
        raw = (self.failover.precheck or {}).get("recovery_point") or self.item.recovery_point
        return datetime.fromisoformat(raw) if raw else None

    @property
    def snapshot(self) -> str:
        return str((self.failover.precheck or {}).get("snapshot") or "")

    @cached_property
    def hold(self) -> Hold | None:
        return eyes.active_hold(self.target)

    # ── On the cluster ──

    @property
    def _readings(self) -> Any:
        readings = Observation.objects.filter(relationship=self.failover.relationship_id)
        return readings.filter(held_by=self.failover.number)

    @cached_property
    def last(self) -> Observation | None:
        """The newest reading of this failover."""
        found: Observation | None = self._readings.first()
        return found

    @cached_property
    def last_answer(self) -> Observation | None:
        """The newest one that brought an answer."""
        found: Observation | None = self._readings.exclude(state="").first()
        return found

    @cached_property
    def last_read(self) -> LastRead | None:
        return readings.last_read(self.failover)

    @property
    def trouble(self) -> str:
        """Why the newest reading brought nothing; "" when it did."""
        return self.last.words.partition(": ")[2] if self.last and not self.last.state else ""

    @cached_property
    def concern(self) -> Concern | None:
        return readings.concern(self.failover, self.now) if self.on_the_cluster else None

    @property
    def concern_words(self) -> str:
        return CONCERN_WORDS[self.concern] if self.concern else ""

    @cached_property
    def doubtful(self) -> bool:
        return readings.doubtful(self.failover, self.now)

    @property
    def doubt_words(self) -> str:
        return str((self.failover.answer or {}).get("words") or _("No answer to it is recorded."))

    @property
    def closing_reason(self) -> str:
        """What the person who closed it wrote."""
        return self.failover.outcome_words.partition(": ")[2]

    @cached_property
    def closable(self) -> Closable | None:
        return readings.closable(self.failover, self.now)

    @property
    def settles_at(self) -> datetime | None:
        """Until then what was sent may still arrive."""
        return self.failover.sent_at + TIMING.settle if self.failover.sent_at else None

    @property
    def settled(self) -> bool:
        return self.settles_at is not None and self.now >= self.settles_at

    @property
    def asked_every(self) -> timedelta:
        return TIMING.watch_unanswered if self.trouble else TIMING.watch

    @cached_property
    def shown(self) -> list[tuple[str, int]]:
        return shown_since_sent(self.failover)

    @property
    def readings(self) -> int:
        return sum(times for _words, times in self.shown)

    @property
    def revert_read(self) -> bool:
        """Whether the newest answer shows the revert. Until one does, nothing is said about its figures: those of an
        earlier answer belong to the replication job before it."""
        return self.last_answer is not None and self.last_answer.state == "DISCONNECTING"

    @cached_property
    def progress(self) -> Progress | None:
        return progress_of(self.last_answer) if self.last_answer and self.revert_read else None

    @property
    def took(self) -> timedelta | None:
        """From sending to the end."""
        begin, end = self.failover.sent_at, self.failover.ended_at
        return end - begin if begin and end else None

    @cached_property
    def earlier(self) -> list[tuple[Earlier, str]]:
        """What was done to this relationship before, and where its page is."""
        row = self.failover.relationship
        found = history.earlier(row, user=self.whole.user, before_request=self.asked.pk)
        return [(each, before.page_of(each.number)) for each in found]

    @property
    def earlier_count(self) -> int:
        return self.whole.earlier_counts[self.failover.relationship_id]

    @cached_property
    def last_took(self) -> timedelta | None:
        return before.took_last(self.failover.relationship_id)

    @property
    def read_again_at(self) -> datetime | None:
        """The reading that confirmed a refusal."""
        at = (self.failover.answer or {}).get("read_again")
        return datetime.fromisoformat(at) if at else None


def listed(names: list[str]) -> str:
    """`j.lind and k.osei`."""
    if len(names) < 2:
        return "".join(names)
    return _("%(names)s and %(last)s") % {"names": ", ".join(names[:-1]), "last": names[-1]}
