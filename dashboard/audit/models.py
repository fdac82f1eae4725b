"""The tables of the ledger. Only `chain` writes them, and the database refuses whatever else tries
(`guards`).

No foreign keys: an entry keeps people and subjects as the text they had, so that nothing that happens later
to a person, an account or a cluster can change or remove what was recorded.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from django.db import models

from dashboard.audit.verifier import GENESIS

COLUMN = 200  # characters of a copied column: long enough to search by, short enough for an index of either engine


class Entry(models.Model):
    """One recorded act. `payload` is exactly the text that is hashed; `at`, `tag`, `actor` and `object` are
    copies of parts of it, for lists and search, and the verifier compares them.

    `hash` is deliberately not unique: on SQLite INSERT OR REPLACE would remove the row that a unique value
    collides with. For the same reason `seq` is an integer key, which leaves no hidden rowid to collide with;
    it is always given by `chain`.
    """

    seq = models.BigAutoField(primary_key=True)
    payload = models.TextField()
    prev_hash = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField(db_index=True)
    tag = models.CharField(max_length=COLUMN)
    actor = models.CharField(max_length=COLUMN)
    object = models.CharField(max_length=COLUMN, blank=True)

    class Meta:
        ordering = ("seq",)
        verbose_name_plural = "entries"
        # Each with the number, so that the newest entries about something are found without sorting all of them.
        indexes = [
            models.Index(fields=(column, "seq"), name=f"audit_entry_by_{column}")
            for column in ("tag", "actor", "object")
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.tag}"

    @property
    def record(self) -> dict[str, Any]:
        """The payload, read: at, tag, actor {kind, label, person, account, ip}, request_id, object, words,
        detail.

        A payload that somebody damaged is shown as it stands, as `words`, so that a page can still list the
        entry.
        """
        try:
            record = json.loads(self.payload)
        except (ValueError, RecursionError):
            record = None
        return record if isinstance(record, dict) else {"words": self.payload}


class Head(models.Model):
    """The one row that says where the chain ends. It is the lock that puts appenders in line, and it shows a
    cut tail.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(max_length=32, default=GENESIS)
    instance = models.UUIDField(default=uuid.uuid4, help_text="Made once per installation; tells two ledgers apart.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="the_ledger_has_one_head")]

    def __str__(self) -> str:
        return f"{self.seq} {bytes(self.hash).hex()}"


class Checkpoint(models.Model):
    """A signed note of the ledger's head (`verifier.Checkpoint`); `note` is its exact text with its signatures."""

    number = models.BigIntegerField(primary_key=True)
    seq = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    note = models.TextField()

    class Meta:
        ordering = ("number",)


class Sink(models.Model):
    """Where checkpoints are kept outside of the database, and how far each place has come."""

    name = models.CharField(max_length=16, primary_key=True)
    wanted = models.BooleanField(default=False, help_text="The settings of the relay name it.")
    number = models.BigIntegerField(default=0, help_text="Number of the last checkpoint that it took.")
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    trouble = models.CharField(max_length=COLUMN, blank=True, default="")
    next_try_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
