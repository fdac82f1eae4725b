"""A request with all its failovers, as its pages tell it: read once, at one moment, for one person.

People decide on requests, so what belongs to the decision is here: who gave a vote, who still can, what has changed
since, and how far all of it has come. What belongs to one failover is its `Course`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from dashboard.accounts.models import User
from dashboard.accounts.people import groups_of
from dashboard.accounts.roles import Role
from dashboard.failovers import conduct, eyes, reading, readings
from dashboard.failovers.lifecycle import OPEN, State
from dashboard.failovers.models import Decision, Failover, Request, Review
from dashboard.failovers.policy import Share, lacking
from dashboard.failovers.preflight import Situation
from dashboard.failovers.reading import Fact
from dashboard.web.course import Course, listed
from dashboard.web.standing import standing, summary
from dashboard.web.votes import can, needed, of_group
from dashboard.words import visible

# Seconds between two polls while it waits, and once something may be sent.
WAITING_CADENCE, STARTED_CADENCE = 5, 2


@dataclass(frozen=True)
class Whole:
    """What is known of `asked` and its `failovers` at `now`, for the person of `user`."""

    asked: Request
    failovers: list[Failover]  # in the order in which they start, with relationship and cluster
    user: User
    now: datetime

    @property
    def number(self) -> str:
        return self.asked.number

    @property
    def many(self) -> bool:
        return self.asked.size > 1

    @cached_property
    def courses(self) -> list[Course]:
        """In the order in which they start."""
        return [Course(failover, self) for failover in self.failovers]

    @property
    def one(self) -> Course:
        """The first of them, which stands for a request that has no other."""
        return self.courses[0]

    @cached_property
    def targets(self) -> list[str]:
        """Names of the target clusters."""
        return sorted({course.target for course in self.courses})

    @property
    def targets_words(self) -> str:
        return listed(self.targets)

    @property
    def sources_words(self) -> str:
        return listed(sorted({visible(item.source_cluster) for item in self.asked.items}))

    # ── How far it is ──

    @cached_property
    def waiting(self) -> bool:
        """A decision moves all of them at once."""
        return any(failover.state == State.REQUESTED for failover in self.failovers)

    @cached_property
    def ended(self) -> bool:
        return not any(failover.state in OPEN for failover in self.failovers)

    @property
    def cadence(self) -> int | None:
        """None when it has ended."""
        if self.waiting:
            return WAITING_CADENCE
        return None if self.ended else STARTED_CADENCE

    @cached_property
    def standings(self) -> Counter[str]:
        return Counter(standing(course.failover, self.now) for course in self.courses)

    @property
    def done(self) -> int:
        return self.standings["done"]

    @property
    def summary(self) -> str:
        """`7 of 12 writable, 3 reverting, 1 needs a person`."""
        return summary(self.failovers, self.now)

    @cached_property
    def early(self) -> int:
        """How many of them can still be taken back."""
        return sum(failover.state in (State.REQUESTED, State.APPROVED) for failover in self.failovers)

    # ── Who decided, and who can ──

    @cached_property
    def votes(self) -> list[Decision]:
        return list(self.asked.decisions.all())

    @property
    def approvals(self) -> int:
        return len(eyes.approvals(self.asked))

    @property
    def next_vote(self) -> int:
        return self.approvals + 1

    @property
    def approved_by(self) -> str:
        return listed([vote.person_label for vote in self.votes if vote.verdict == "approve"])

    @property
    def rejection(self) -> Decision | None:
        return next((vote for vote in self.votes if vote.verdict == "reject"), None)

    @property
    def voted(self) -> Decision | None:
        return next((vote for vote in self.votes if vote.person_id == self.user.person_id), None)

    @property
    def mine(self) -> bool:
        return self.user.person_id == self.asked.requester_id

    @property
    def is_approver(self) -> bool:
        """For every cluster that it touches."""
        return eyes.may_decide(self.user, self.targets)

    @property
    def may_decide(self) -> bool:
        in_time = self.waiting and self.now < self.asked.decide_by
        return in_time and self.is_approver and not self.mine and self.voted is None

    @cached_property
    def shares(self) -> list[Share]:
        return eyes.shares_of(self.asked)

    @cached_property
    def _voters(self) -> dict[int, frozenset[str]]:
        return eyes.voters(eyes.approvals(self.asked))

    @cached_property
    def _my_groups(self) -> frozenset[str]:
        return groups_of([self.user.person_id])[self.user.person_id]

    @property
    def may_approve(self) -> bool:
        """Whether an approval of this person would fill a place that is still open."""
        return self.may_decide and eyes.counts(self.shares, self._voters, self.user.person_id, self._my_groups)

    @property
    def completes(self) -> bool:
        """Whether the approval of this person starts it."""
        return not lacking(self.shares, self._voters | {self.user.person_id: self._my_groups})

    @cached_property
    def missing(self) -> list[eyes.Missing]:
        return eyes.missing(self.asked)

    @property
    def needed(self) -> str:
        return needed(self.shares)

    @property
    def still_needed(self) -> list[tuple[str, str]]:
        """(what is missing, who can give it), share by share."""
        return [(of_group(each.share), can(each.names)) for each in self.missing]

    @property
    def approvers(self) -> str:
        """Who could still decide, by name; "" when nobody could."""
        return listed(sorted({name for each in self.missing for name in each.names}))

    @property
    def unreachable(self) -> bool:
        """Whether somebody who is needed does not exist."""
        return any(len(each.names) < each.share.count for each in self.missing)

    @property
    def decide_seconds(self) -> int:
        return int((self.asked.decide_by - self.asked.made_at).total_seconds())

    @property
    def decide_left(self) -> int:
        return max(int((self.asked.decide_by - self.now).total_seconds()), 0)

    @property
    def may_cancel(self) -> bool:
        """Only what was not sent can be taken back."""
        return self.early > 0 and (self.mine or self.is_approver or self.user.has(Role.ADMIN))

    @property
    def may_ask_again(self) -> bool:
        able = all(self.user.has(Role.OPERATOR, name) for name in self.targets)
        return self.ended and able and self.done < len(self.failovers)

    @property
    def again(self) -> list[int]:
        """Keys of the relationships that were not made writable."""
        return [each.relationship_id for each in self.failovers if each.state != State.SUCCEEDED]

    # ── Break-glass, looked at afterwards ──

    @cached_property
    def reviews(self) -> list[Review]:
        return list(self.asked.reviews.all())

    @property
    def reviews_needed(self) -> int:
        return conduct.REVIEWERS

    @property
    def reviewed(self) -> bool:
        return len(self.reviews) >= conduct.REVIEWERS

    @property
    def review_by(self) -> datetime:
        return self.asked.made_at + conduct.REVIEW_WITHIN

    @property
    def review_overdue(self) -> bool:
        return self.asked.break_glass and not self.reviewed and self.now >= self.review_by

    @property
    def may_review(self) -> bool:
        mine = any(review.person_id == self.user.person_id for review in self.reviews)
        return self.asked.break_glass and not mine and conduct.may_review(self.user, self.asked)

    # ── Then and now ──

    @cached_property
    def held(self) -> list[str]:
        """Names of the target clusters that are held."""
        return sorted({course.target for course in self.courses if course.situation.held})

    @property
    def held_words(self) -> str:
        return listed(self.held)

    @property
    def all_held(self) -> bool:
        """Whether an approval could start nothing at all."""
        return self.held == self.targets

    @cached_property
    def situations(self) -> list[Situation]:
        return reading.situations(self.failovers, now=self.now)

    @cached_property
    def changes(self) -> list[tuple[int, Fact]]:
        """(position, fact as it is now), item by item."""
        return reading.changed(self.asked, self.situations)

    @property
    def changed_digest(self) -> str:
        return reading.digest_of(self.changes)

    @property
    def changed_words(self) -> list[tuple[str, list[str]]]:
        """What a tick names: each fact once, and of which failovers when there are several."""
        found: dict[str, list[str]] = {}
        for position, fact in self.changes:
            found.setdefault(f"{fact.label}: {fact.words}", []).append(str(position + 1))
        return list(found.items())

    @property
    def blocks(self) -> int:
        """How many checks block."""
        return sum(course.blocks for course in self.courses)

    @property
    def warnings(self) -> int:
        return sum(course.warnings for course in self.courses)

    @cached_property
    def worst(self) -> Course:
        """The one that loses most; one whose loss is not known comes before all others."""
        return max(self.courses, key=lambda course: (course.loss.kind == "unknown", course.loss.length or timedelta(0)))

    @cached_property
    def earlier_counts(self) -> Counter[int]:
        """How often each relationship was to be failed over before, as far as this person may see."""
        rows = [failover.relationship_id for failover in self.failovers]
        before = Failover.objects.visible_to(self.user).filter(relationship__in=rows, request__lt=self.asked.pk)
        return Counter(before.values_list("relationship_id", flat=True))

    # ── Around it ──

    @cached_property
    def late_sender(self) -> readings.LateSender | None:
        return readings.late_sender(self.now, asked_at=self.asked.made_at)


def wholes(requests: Iterable[Request], user: User, now: datetime) -> list[Whole]:
    """Each with its failovers, in two queries."""
    asked = list(requests)
    found: defaultdict[int, list[Failover]] = defaultdict(list)
    rows = Failover.objects.filter(request__in=asked).select_related("relationship__cluster").order_by("position")
    for failover in rows:
        found[failover.request_id].append(failover)
    for each in asked:
        for failover in found[each.pk]:
            failover.request = each  # its plan is read once for all
    return [Whole(each, found[each.pk], user, now) for each in asked]
