"""How far each channel has come in the ledger, and what was told to whom."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from dashboard.accounts.models import Person


class Channel(models.Model):
    """One receiver of notices, known by `name` (never by its address, which is a secret). Whoever changes `due_at`
    from the past into the future is its one sender until then."""

    name = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=170, help_text="As pages write it: `chat`, `mail to j.lind`.")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="+")
    seq = models.BigIntegerField(help_text="Entries up to here are deliveries, or do not concern it.")
    due_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0, help_text="Failed ones in a row.")
    failing_since: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    error = models.CharField(max_length=64, blank=True)
    recorded = models.BooleanField(default=False, help_text="The ledger has this outage.")

    class Meta:
        ordering = ("person_id", "name")


class Delivery(models.Model):
    """One entry for one channel. Written before it is sent, so that whoever dies in between sends the same again.

    Entries that went out in one message share `message`, the number of the last of them.
    """

    channel = models.ForeignKey(Channel, on_delete=models.SET_NULL, null=True, related_name="deliveries")
    label = models.CharField(max_length=170)
    entry = models.BigIntegerField()
    object = models.CharField(max_length=200, blank=True, db_index=True)
    message = models.BigIntegerField()
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField(help_text="Of the last try.")
    ok = models.BooleanField(default=False, help_text="The receiver's server took it.")
    tries = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("pk",)
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["channel", "entry"], name="each_entry_once_per_channel")]
        # Every round asks each channel for these, and they are few among all that was ever told.
        indexes = [models.Index(fields=["channel"], condition=models.Q(ok=False), name="deliveries_to_settle")]
