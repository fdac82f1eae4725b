"""A request carries one or more failovers: a site that burns has twenty relationships, and nobody asks twenty times.

People decide on the request; each failover touches one relationship on one cluster. What a request says is frozen when
it is made. Rules that must hold whatever code runs are constraints here and triggers in `guards`.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.functional import cached_property

from dashboard.accounts.models import Person, User
from dashboard.failovers import plan as plans
from dashboard.failovers.lifecycle import OPEN, TERMINAL, WORDS, State
from dashboard.fleet.models import Relationship

FIRST_NUMBER = 1001
STATES = [(state.value, WORDS[state]) for state in State]
OPEN_VALUES = [state.value for state in OPEN]


class Mode(models.TextChoices):
    """Why it is done. A drill is marked as one everywhere, for ever."""

    UNPLANNED = "unplanned", "Unplanned"
    PLANNED = "planned", "Planned"
    DRILL = "drill", "Drill"


class RequestQuerySet(models.QuerySet["Request"]):
    def visible_to(self, user: User) -> RequestQuerySet:
        """Those of whose clusters the person may see every one; a request is never shown in part."""
        if user.scope is None:
            return self
        elsewhere = Failover.objects.exclude(relationship__cluster__name__in=user.scope)
        return self.exclude(pk__in=elsewhere.values("request"))


class Request(models.Model):
    """What was asked, by whom, and until when others may decide. Frozen after insert by a trigger."""

    nonce = models.UUIDField(unique=True, default=uuid.uuid4, help_text="Of the form: a double click is one request.")
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="requests")
    requester_label = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    mode = models.CharField(max_length=16, default="unplanned", choices=[(m.value, m.label) for m in Mode])
    break_glass = models.BooleanField(default=False, help_text="Runs on its requester's name alone; reviewed after.")
    size = models.PositiveSmallIntegerField(default=1, help_text="How many failovers it carries.")
    reason = models.TextField()
    ticket = models.CharField(max_length=64, blank=True)
    plan = models.TextField(help_text="Canonical JSON; the digest is of this text.")
    digest = models.CharField(max_length=64)
    facts_seen = models.JSONField(help_text="What the requester saw: facts and checks.")
    required = models.PositiveSmallIntegerField(default=1, help_text="The sum of its shares; 0 for break-glass alone.")
    decide_by = models.DateTimeField()
    run_seconds = models.PositiveIntegerField(default=900, help_text="How long its approval stays good for starting.")

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = [
            models.CheckConstraint(
                condition=Q(required__gte=1, break_glass=False) | Q(required=0, break_glass=True),
                name="at_least_one_other_person_approves",
            ),
            models.CheckConstraint(condition=Q(size__gte=1, size__lte=200), name="a_request_carries_1_to_200"),
            models.CheckConstraint(condition=Q(mode__in=[m.value for m in Mode]), name="a_request_has_a_known_mode"),
        ]

    def __str__(self) -> str:
        return f"FO-{self.pk}"

    @property
    def number(self) -> str:
        return f"FO-{self.pk}"

    @cached_property
    def items(self) -> list[plans.Item]:
        return plans.read(self.plan)

    @property
    def run_for(self) -> timedelta:
        return timedelta(seconds=self.run_seconds)

    @property
    def drill(self) -> bool:
        return self.mode == Mode.DRILL


class Share(models.Model):
    """What a request needs from one group: `count` approvals of its members ("" is any approver). Frozen with it."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="shares")
    group = models.CharField(max_length=32, blank=True)
    count = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=["request", "group"], name="one_share_per_group"),
            models.CheckConstraint(condition=Q(count__gte=1), name="a_share_is_somebody"),
        ]


class Decision(models.Model):
    """One person's vote on one request; append-only. `requester` is a copy, so that the database can compare."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="decisions")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="decisions")
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    person_label = models.CharField(max_length=150)
    verdict = models.CharField(max_length=8, choices=[("approve", "Approved"), ("reject", "Rejected")])
    comment = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    groups = models.TextField(default=",", help_text="The person's groups then: `,storage,security,`.")
    auth = models.CharField(max_length=255, help_text="How the person signed in, and proved it again for this.")
    facts_seen = models.JSONField(help_text="What the person saw when deciding.")
    at = models.DateTimeField()

    class Meta:
        ordering = ("at", "pk")
        constraints = [
            models.UniqueConstraint(fields=["request", "person"], name="one_person_one_vote"),
            models.CheckConstraint(condition=~Q(person=F("requester")), name="nobody_approves_their_own"),
        ]


class Review(models.Model):
    """Somebody looked at a break-glass request afterwards; append-only. `requester` is a copy, as in Decision."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="reviews")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="reviews")
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    person_label = models.CharField(max_length=150)
    comment = models.TextField()
    auth = models.CharField(max_length=255)
    at = models.DateTimeField()

    class Meta:
        ordering = ("at", "pk")
        constraints = [
            models.UniqueConstraint(fields=["request", "person"], name="one_person_one_review"),
            models.CheckConstraint(condition=~Q(person=F("requester")), name="nobody_reviews_their_own"),
        ]


class Policy(models.Model):
    """Which relationships need which approvals. Every condition that is given must hold; the most specific policy
    that covers a relationship wins (`policy`). Written by `policies` alone, with its entry in the ledger."""

    name = models.SlugField(max_length=64, unique=True)
    cluster = models.CharField(max_length=64, blank=True, help_text="Name of the target cluster; empty: any.")
    path_prefix = models.CharField(max_length=1024, blank=True, help_text="Of the target path, whole components.")
    tag = models.CharField(max_length=32, blank=True)
    shares: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        help_text='[{"group": "storage", "count": 2}, …]; the group "" is any approver.'
    )
    decide_minutes = models.PositiveIntegerField(default=30)
    run_minutes = models.PositiveIntegerField(default=15)
    break_glass = models.BooleanField(default=False)
    prompt = models.CharField(max_length=300, blank=True, help_text="Shown above the reason.")
    ticket_pattern = models.CharField(max_length=200, blank=True, help_text="The whole ticket must match it.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class PolicyChange(models.Model):
    """A change of a policy: applied at once, or, when it weakens, waiting for a second person."""

    name = models.SlugField(max_length=64)
    before: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(null=True)
    after: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(null=True)
    words = models.TextField(help_text="What changes, in sentences; and what of it weakens.")
    weakens = models.BooleanField()
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+", null=True, help_text="Null: the shell.")
    by_label = models.CharField(max_length=150)
    at = models.DateTimeField()
    verdict = models.CharField(
        max_length=10, choices=[("waiting", "Waits"), ("applied", "Applied"), ("dropped", "Dropped")]
    )
    decided_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+", null=True)
    decided_label = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-pk",)
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(verdict="waiting"), name="one_waiting_change_per_policy"
            ),
            # The shell is the root of trust: there `by` is null.
            models.CheckConstraint(
                condition=Q(weakens=False)
                | ~Q(verdict="applied")
                | Q(by__isnull=True)
                | (Q(decided_by__isnull=False) & ~Q(decided_by=F("by"))),
                name="nobody_weakens_a_policy_alone",
            ),
        ]


class FailoverQuerySet(models.QuerySet["Failover"]):
    def visible_to(self, user: User) -> FailoverQuerySet:
        return self if user.scope is None else self.filter(request__in=Request.objects.visible_to(user))

    def with_request(self) -> FailoverQuerySet:
        """With its request, but without what the requester was shown: of two hundred items that is half a megabyte to
        read and parse, and a driver asks for the request at each step of each of them."""
        return self.select_related("request").defer("request__facts_seen")

    def open(self) -> FailoverQuerySet:
        return self.filter(state__in=OPEN)

    def ended(self) -> FailoverQuerySet:
        return self.filter(state__in=TERMINAL)


class Failover(models.Model):
    """One relationship to be made writable. `state` is written by `conduct.move` alone."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="failovers")
    position = models.PositiveSmallIntegerField(default=0)
    relationship = models.ForeignKey(Relationship, on_delete=models.PROTECT, related_name="failovers")
    state = models.CharField(max_length=16, choices=STATES, default=State.REQUESTED.value)
    next_step_at = models.DateTimeField(help_text="Spares the cluster; guards nothing.")

    approved_at = models.DateTimeField(null=True)
    run_by = models.DateTimeField(null=True, help_text="An approval is good for starting until then.")
    attempts = models.PositiveSmallIntegerField(default=0)
    sender = models.CharField(max_length=32, blank=True, help_text="Nonce of the one sender that owns this attempt.")
    precheck = models.JSONField(null=True, help_text="The status and checks that the sender acted on.")
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    answer: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(
        null=True, help_text='What came of the POST: {"kind": "accepted" | "refused" | "doubt", …}.'
    )
    reverting_at = models.DateTimeField(null=True)
    first_writable_at = models.DateTimeField(null=True, help_text="First of the agreeing readings that end it.")
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=32, blank=True)
    outcome_words = models.TextField(blank=True, help_text="Why it ended, in one sentence.")
    ended_by = models.CharField(max_length=150, blank=True)
    version = models.BigIntegerField(default=1)

    objects = FailoverQuerySet.as_manager()

    class Meta:
        ordering = ("request", "position")
        constraints = [
            models.UniqueConstraint(
                fields=["relationship"],
                condition=Q(state__in=OPEN_VALUES),
                name="one_open_failover_per_relationship",
            ),
            models.UniqueConstraint(fields=["request", "position"], name="one_failover_per_position"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in State]), name="a_failover_is_in_a_known_state"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["sent", "reverting", "succeeded", "refused", "closed"])
                | Q(sent_at__isnull=False),
                name="what_was_sent_says_when",
            ),
        ]
        indexes = [models.Index(fields=["next_step_at"], condition=Q(state__in=OPEN_VALUES), name="failover_due")]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """FO-1042, or FO-1042/3 when the request carries several."""
        many = self.request.size > 1
        return f"FO-{self.request_id}/{self.position + 1}" if many else f"FO-{self.request_id}"

    @property
    def item(self) -> plans.Item:
        return self.request.items[self.position]

    @property
    def status_word(self) -> State:
        return State(self.state)


class HoldQuerySet(models.QuerySet["Hold"]):
    def visible_to(self, user: User) -> HoldQuerySet:
        """Those of everything, and of clusters that the person sees."""
        return self if user.scope is None else self.filter(Q(scope="") | Q(scope__in=user.scope))

    def standing(self) -> HoldQuerySet:
        return self.filter(lifted_at=None).order_by("pk")


class Hold(models.Model):
    """While one stands, nothing is sent to its scope ("" is every cluster, else a cluster's name)."""

    scope = models.CharField(max_length=64, blank=True)
    reason = models.TextField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=150, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ("-at",)


class Heartbeat(models.Model):
    """When a driver last came round; a page says so when it is late. Health, never a guard."""

    driver = models.CharField(max_length=32, primary_key=True)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
