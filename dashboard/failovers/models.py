"""A request carries one or more failovers: a site that burns has twenty relationships, and nobody asks twenty times.

People decide on the request; each failover touches one relationship on one cluster. What a request says is frozen when
it is made. Rules that must hold whatever code runs are constraints here and triggers in `guards`.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import F, Q

from dashboard.accounts.models import Person
from dashboard.failovers import plan as plans
from dashboard.failovers.lifecycle import OPEN, TERMINAL, WORDS, State
from dashboard.fleet.models import Relationship

FIRST_NUMBER = 1001
STATES = [(state.value, WORDS[state]) for state in State]
OPEN_VALUES = [state.value for state in OPEN]


class Request(models.Model):
    """What was asked, by whom, and until when others may decide. Frozen after insert by a trigger."""

    nonce = models.UUIDField(unique=True, default=uuid.uuid4, help_text="Of the form: a double click is one request.")
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="requests")
    requester_label = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    mode = models.CharField(max_length=16, default="unplanned")
    reason = models.TextField()
    ticket = models.CharField(max_length=64, blank=True)
    plan = models.TextField(help_text="Canonical JSON; the digest is of this text.")
    digest = models.CharField(max_length=64)
    facts_seen = models.JSONField(help_text="What the requester saw: facts and checks.")
    required = models.PositiveSmallIntegerField(default=1)
    decide_by = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)
        constraints = [
            models.CheckConstraint(condition=Q(required__gte=1), name="at_least_one_other_person_approves"),
        ]

    def __str__(self) -> str:
        return f"FO-{self.pk}"

    @property
    def number(self) -> str:
        return f"FO-{self.pk}"

    @property
    def items(self) -> list[plans.Item]:
        return plans.read(self.plan)


class Decision(models.Model):
    """One person's vote on one request; append-only. `requester` is a copy, so that the database can compare."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="decisions")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="decisions")
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    person_label = models.CharField(max_length=150)
    verdict = models.CharField(max_length=8, choices=[("approve", "Approved"), ("reject", "Rejected")])
    comment = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    auth = models.CharField(max_length=64, help_text="How the person was signed in.")
    facts_seen = models.JSONField(help_text="What the person saw when deciding.")
    at = models.DateTimeField()

    class Meta:
        ordering = ("at", "pk")
        constraints = [
            models.UniqueConstraint(fields=["request", "person"], name="one_person_one_vote"),
            models.CheckConstraint(condition=~Q(person=F("requester")), name="nobody_approves_their_own"),
        ]


class FailoverQuerySet(models.QuerySet["Failover"]):
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
        many = self.position or self.request.failovers.count() > 1
        return f"FO-{self.request_id}/{self.position + 1}" if many else f"FO-{self.request_id}"

    @property
    def item(self) -> plans.Item:
        return self.request.items[self.position]

    @property
    def status_word(self) -> State:
        return State(self.state)


class Hold(models.Model):
    """While one stands, nothing is sent to its scope ("" is every cluster, else a cluster's name)."""

    scope = models.CharField(max_length=64, blank=True)
    reason = models.TextField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ("-at",)


class Heartbeat(models.Model):
    """When a driver last came round; a page says so when it is late. Health, never a guard."""

    driver = models.CharField(max_length=32, primary_key=True)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
