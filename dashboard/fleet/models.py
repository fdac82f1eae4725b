"""Clusters and their target relationships, as last read. Every figure here can be traced to a time of reading."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from dashboard.fleet.health import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboard.accounts.models import User
    from dashboard.qumulo.records import TargetStatus


class Trouble(models.TextChoices):
    """Why the last reading of a cluster failed. The page says it in words; the class decides what is still possible."""

    NONE = "", "Answers"
    UNREACHABLE = "unreachable", "Does not answer"
    CERTIFICATE = "certificate", "Shows another certificate"
    SIGN_IN = "sign-in", "Refuses the sign-in"
    IDENTITY = "identity", "Is another cluster than the one registered"
    NONSENSE = "nonsense", "Answers what cannot be read"


class ClusterQuerySet(models.QuerySet["Cluster"]):
    def visible_to(self, user: User) -> ClusterQuerySet:
        """Those that the person may see; the others are, to them, not there."""
        return self if user.scope is None else self.filter(name__in=user.scope)


class Cluster(models.Model):
    """A cluster whose target relationships are watched. `uuid` is its identity; names and addresses may change."""

    name = models.SlugField(max_length=64, unique=True, help_text="The name by which people here know it.")
    url = models.CharField(max_length=255)
    uuid = models.CharField(max_length=64, unique=True)
    reported_name = models.CharField(max_length=255)
    core_version = models.CharField(max_length=64)

    trust_kind = models.CharField(max_length=8, choices=[("ca", "CA file"), ("pinned", "Pinned certificate")])
    certificate = models.TextField(help_text="PEM: of the CA, or of the pinned certificate itself.")
    reader_token = models.TextField(help_text="Encrypted with READER_KEY.")
    executor_token = models.TextField(blank=True, help_text="Encrypted with EXECUTOR_KEY; empty: watched only.")
    added_at = models.DateTimeField(auto_now_add=True)

    # All times are when a reading began: what it shows is at least as young as that.
    next_read_at = models.DateTimeField(auto_now_add=True, db_index=True)
    last_try_at = models.DateTimeField(null=True, help_text="When a reading began last, whatever came of it.")
    last_read_at = models.DateTimeField(null=True, help_text="The last answer that could be read.")
    sources_read_at = models.DateTimeField(null=True, help_text="When its source statuses were asked for last.")
    silent = models.BooleanField(default=False, help_text="Not read for UNKNOWN_AFTER: its rows are Unknown.")
    trouble = models.CharField(max_length=16, blank=True, choices=Trouble.choices)
    trouble_words = models.TextField(blank=True)
    trouble_since = models.DateTimeField(null=True)
    unreadable_rows = models.TextField(blank=True, help_text="Rows of its list that could never be read, and why.")
    node_state = models.CharField(max_length=64, blank=True)
    clock_ahead = models.IntegerField(null=True, help_text="Seconds by which its clock is ahead of ours.")
    executor_checked_at = models.DateTimeField(null=True)
    executor_trouble = models.TextField(blank=True)
    version = models.BigIntegerField(default=1, help_text="Raised with each change that a page shows.")

    objects = ClusterQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name

    @property
    def watched_only(self) -> bool:
        return not self.executor_token


class Objective(models.Model):
    """How old a recovery point may be. The longest matching prefix of the target path wins."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="objectives")
    path_prefix = models.CharField(max_length=1024)
    seconds = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "path_prefix"], name="one_objective_per_path_prefix"),
            models.CheckConstraint(condition=Q(seconds__gt=0), name="an_objective_is_longer_than_nothing"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name}:{self.path_prefix}"

    def covers(self, path: str) -> bool:
        return covers(self.path_prefix, path)


def covers(prefix: str, path: str) -> bool:
    """Whole components only: `/dr/a` covers `/dr/a/` and `/dr/a/b`, and not `/dr/ab`."""
    return f"{path.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")


def objective_for(path: str, objectives: Iterable[Objective]) -> int:
    """Seconds: of the longest prefix that covers the path, or OBJECTIVE_DEFAULT."""
    covering = [each for each in objectives if each.covers(path)]
    if not covering:
        return int(settings.OBJECTIVE_DEFAULT.total_seconds())
    return max(covering, key=lambda each: len(each.path_prefix.rstrip("/"))).seconds


class Tag(models.Model):
    """A name for every relationship whose target path the prefix covers; policies are chosen by it (`tags`)."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="tags")
    path_prefix = models.CharField(max_length=1024)
    name = models.CharField(max_length=32)

    class Meta:
        ordering = ("cluster__name", "path_prefix", "name")
        constraints = [
            models.UniqueConstraint(fields=["cluster", "path_prefix", "name"], name="a_tag_once_per_path_prefix")
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.cluster.name}:{self.path_prefix}"


class RelationshipQuerySet(models.QuerySet["Relationship"]):
    def visible_to(self, user: User) -> RelationshipQuerySet:
        return self if user.scope is None else self.filter(cluster__name__in=user.scope)

    def listed(self) -> RelationshipQuerySet:
        """What pages show: rows that are gone for a week are hidden, not deleted."""
        return self.filter(hidden=False)

    def worst_first(self) -> RelationshipQuerySet:
        """Stable, so that rows do not jump between two polls."""
        return self.order_by("grade_rank", "cluster__name", "target_root_path", "pk")


class Relationship(models.Model):
    """One target relationship as its target cluster reported it last.

    Its identity is (cluster, relationship id, source cluster, target directory): an id that comes back with another
    source or directory is another relationship, not this one changed.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="relationships")
    relationship_id = models.CharField(max_length=64)
    source_cluster_uuid = models.CharField(max_length=64)
    target_root_id = models.CharField(max_length=64)

    # The whole last good status, in the API's own names; the columns below are copies for lists and filters.
    status = models.JSONField()
    state = models.CharField(max_length=64)
    source_cluster_name = models.CharField(max_length=255)
    source_root_path = models.TextField()
    target_root_path = models.TextField()
    source_root_read_only = models.BooleanField()
    target_root_read_only = models.BooleanField()
    recovery_point_at = models.DateTimeField(null=True)
    loss_from = models.DateTimeField(null=True, help_text="Everything after this moment is lost by a failover.")
    job_running = models.BooleanField(default=False)
    job_percent = models.FloatField(null=True)
    error = models.TextField(blank=True)
    search = models.TextField(help_text="Lower-case text of paths, clusters, error and id, for the search field.")

    # What only watching can know.
    first_seen_at = models.DateTimeField()
    state_since = models.DateTimeField(help_text="When we first saw it in this state.")
    source_read_only_since = models.DateTimeField(
        null=True, help_text="When we first saw the source read-only; empty while it is writable."
    )
    own_read_at = models.DateTimeField(null=True, help_text="Last reading of this row alone, during a failover.")
    missing_since = models.DateTimeField(null=True, help_text="Not in, or not readable in, the lists since then.")
    misses = models.PositiveSmallIntegerField(default=0)
    gone_at = models.DateTimeField(null=True)
    hidden = models.BooleanField(default=False)
    unreadable = models.TextField(blank=True, help_text="Why the last row of the cluster could not be read.")
    stalled_since = models.DateTimeField(null=True, help_text="A job runs and has copied nothing since then.")
    failed_jobs = models.PositiveIntegerField(default=0, help_text="Jobs seen to fail since the recovery point moved.")

    # Judgement (dashboard/fleet/health.py).
    objective = models.PositiveIntegerField(help_text="Seconds.")
    grade = models.CharField(max_length=16, choices=[(g.value, g.name.capitalize()) for g in Grade])
    grade_rank = models.PositiveSmallIntegerField()
    reason = models.CharField(max_length=64, blank=True, help_text="May hold {for} or {at}, filled from reason_since.")
    reason_since = models.DateTimeField(null=True)
    changes_at = models.DateTimeField(null=True, help_text="When time alone will change the grade.")

    # Set by failovers, through hold_rows: the request that has this row, and what we did to it.
    held_by = models.CharField(max_length=32, blank=True)
    held_phase = models.CharField(max_length=8, blank=True, choices=[("waiting", "waiting"), ("running", "running")])
    held_note = models.CharField(max_length=16, blank=True, help_text='Approvals so far, such as "0/1".')
    failed_over_at = models.DateTimeField(null=True)

    version = models.BigIntegerField(default=1, help_text="Raised with each change that a page shows.")

    objects = RelationshipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "relationship_id", "source_cluster_uuid", "target_root_id"],
                name="one_row_per_relationship",
            )
        ]
        indexes = [
            # Not the path too: PostgreSQL refuses a row whose indexed text is longer than a third of a page.
            models.Index(fields=["grade_rank"], name="relationship_worst_first"),
            models.Index(fields=["changes_at"], name="relationship_changes_at"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name}:{self.target_root_path}"

    @property
    def read_at(self) -> datetime | None:
        """When the values of this row were read last."""
        listed = self.missing_since or self.cluster.last_read_at
        return max((t for t in (listed, self.own_read_at) if t), default=None)

    @property
    def objective_time(self) -> timedelta:
        return timedelta(seconds=self.objective)

    @property
    def facts(self) -> TargetStatus:
        """The last good status, typed. Parsed again from `status`; use it on pages of one relationship only."""
        from dashboard.qumulo.records import parse_target_status

        return parse_target_status(self.status)


class Source(models.Model):
    """A source status of a watched cluster: mode, blackout windows and queue exist only on the source side."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="sources")
    relationship_id = models.CharField(max_length=64, db_index=True)
    status: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "relationship_id"], name="one_source_row_per_relationship")
        ]


class Event(models.Model):
    """A change of state, health or error that was seen on a relationship, by whoever it was made."""

    relationship = models.ForeignKey(Relationship, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=16)  # state, health, job, error, access, listing
    words = models.CharField(max_length=255)
    detail = models.TextField(blank=True)
    grade = models.CharField(max_length=16, blank=True, choices=[(g.value, g.name.capitalize()) for g in Grade])

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [models.Index(fields=["relationship", "-at"], name="event_newest_first")]


class RecoveryPoint(models.Model):
    """History of recovery points, each the start of a job that succeeded, with what was seen of that job (`jobs`). At
    most one in five minutes after a relationship's first hour. Pruned after HISTORY_DAYS."""

    relationship = models.ForeignKey(Relationship, on_delete=models.CASCADE, related_name="recovery_points")
    at = models.DateTimeField(help_text="The recovery point itself.")
    seen_at = models.DateTimeField(help_text="When we first saw it.")
    covers = models.DurationField(null=True, help_text="What is kept reaches so much further than before it.")
    copied = models.BigIntegerField(
        null=True, help_text="Bytes, as the job reported them last; empty when it was not seen so late."
    )

    class Meta:
        ordering = ("seen_at", "pk")
        indexes = [models.Index(fields=["relationship", "seen_at"], name="recovery_point_by_time")]


class Observation(models.Model):
    """One reading of a relationship during a failover; kept for ever, because people decide on it.

    `state` is empty when the cluster did not answer, and `words` says what came instead.
    """

    relationship = models.ForeignKey(Relationship, on_delete=models.CASCADE, related_name="observations")
    held_by = models.CharField(max_length=32)
    at = models.DateTimeField()
    state = models.CharField(max_length=64, blank=True)
    target_root_read_only = models.BooleanField(null=True)
    percent = models.FloatField(null=True)
    status = models.JSONField(null=True, help_text="The whole status, for progress and evidence.")
    node_id = models.CharField(max_length=16, blank=True)
    words = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [models.Index(fields=["relationship", "held_by", "-at"], name="observation_newest_first")]
