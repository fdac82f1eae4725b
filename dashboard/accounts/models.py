"""People and their accounts. Who approved what is a question about persons: two accounts of one person are
one pair of eyes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from dashboard.accounts.roles import Role

TELL_EVERY = timedelta(minutes=1)


class Person(models.Model):
    """A human being. Never deleted: requests and decisions point here."""

    label = models.CharField(max_length=150, unique=True)
    email = models.EmailField(unique=True, null=True)

    class Meta:
        verbose_name_plural = "people"
        constraints = [
            # "J.Lind" beside "j.lind" would look like four eyes to everybody but the database.
            models.UniqueConstraint(Lower("label"), name="one_person_per_label_whatever_the_case"),
        ]

    def __str__(self) -> str:
        return self.label


class Group(models.Model):
    """A named circle of persons whose share a policy can ask for ("two of storage, one of security"). Persons, not
    accounts: a second account gives nobody a second voice. Being in a group grants no role."""

    name = models.SlugField(max_length=32, unique=True)
    members = models.ManyToManyField(Person, related_name="groups", blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """An account that can sign in, of exactly one person. Django's own flags `is_staff` and `is_superuser`
    grant nothing here.

    `roles` holds `operator` (for every cluster) or `operator@dr-west` (for that one). Only viewer, operator and
    approver can be limited to clusters; a role for every cluster contains the limited ones.
    """

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="accounts")
    roles: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    epoch = models.PositiveIntegerField(default=0, db_default=0, help_text="Raised to end all its sessions.")

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(Lower("username"), name="one_account_per_name_whatever_the_case"),
        ]

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """What a session must have been begun with to be good: this password, in this epoch."""
        salt = "dashboard.accounts.models.User.session"
        return salted_hmac(salt, f"{self.epoch} {self.password}", secret=secret, algorithm="sha256").hexdigest()

    def has(self, role: Role, at: str | None = None) -> bool:
        """Whether this account, if it is active, has the role: for the cluster named `at`; without it, for any at all.

        A verb that touches a cluster always says which. Menus and routes may ask without.
        """
        if not self.is_active:
            return False
        if role in self.roles:
            return True
        if at is not None:
            return f"{role}@{at}" in self.roles
        return any(each.startswith(f"{role}@") for each in self.roles)

    @property
    def scope(self) -> frozenset[str] | None:
        """Names of the clusters that it may see; None is every cluster, the empty set none."""
        if not self.is_active:
            return frozenset()
        if any("@" not in each for each in self.roles):
            return None
        return frozenset(each.partition("@")[2] for each in self.roles)

    def sees(self, cluster: str) -> bool:
        return self.scope is None or cluster in self.scope

    @property
    def role_names(self) -> list[str]:
        """Its roles in the order of `Role`, as they are written; names that no role has are left out."""
        return [each for role in Role for each in sorted(self.roles) if each.partition("@")[0] == role]


class Counted(models.Model):
    """What anybody can repeat at will. It is counted here and told to the ledger at most once a minute: otherwise they
    could grow the ledger, and hold its lock."""

    untold = models.PositiveIntegerField(default=0, help_text="So many that no ledger entry counts yet.")
    told_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def take(self, now: datetime) -> int:
        """How many to tell now; 0 when there are none, or an entry was written within the last minute. They count as
        told: the caller appends the entry in the same transaction."""
        if not self.untold or (self.told_at is not None and self.told_at + TELL_EVERY > now):
            return 0
        count, self.untold, self.told_at = self.untold, 0, now
        self.save()
        return count

    @classmethod
    def left(cls, now: datetime) -> list[int]:
        """Keys of those whose minute is over although nobody tried again; a hundred at most."""
        rows = cls._default_manager.filter(untold__gt=0, told_at__lte=now - TELL_EVERY)
        return list(rows.values_list("pk", flat=True)[:100])


class AccessRefusals(Counted):
    """What one account was refused at one address of the desk, for one reason (see `refusals`)."""

    account = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    route = models.CharField(max_length=64)
    why = models.CharField(max_length=8)
    address = models.CharField(max_length=64, blank=True)
    words = models.CharField(max_length=500, help_text="Of the last one.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "route", "why"], name="one_count_per_account_route_and_reason")
        ]


class SignInFailures(Counted):
    """Failed sign-ins of one account from one address (see `signin`). Rows live for minutes; the record is
    the ledger.
    """

    account = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    window_from: models.DateTimeField[datetime, datetime] = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField(default=0, help_text="Failures since window_from.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "address"], name="one_count_per_account_and_address")]


class SpentConfirmation(models.Model):
    """A confirmation of identity that was used (see `web.confirm`). The unique row is what makes each good for once.
    Rows outlive the session that they belong to by nothing: then the confirmation is void by itself."""

    nonce = models.CharField(max_length=43, unique=True)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField(db_index=True)


class EmergencyCode(models.Model):
    """A code that lets one account in once while the identity provider is down (see `emergency`). Only its hash is
    kept; a used row stays, so that the record can be asked when it was."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="emergency_codes")
    hash = models.CharField(max_length=64, unique=True)
    made_by = models.CharField(max_length=150)
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    used_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
