"""People and their accounts. Who approved what is a question about persons: two accounts of one person are
one pair of eyes.
"""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower

from dashboard.accounts.roles import Role


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

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(Lower("username"), name="one_account_per_name_whatever_the_case"),
        ]

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


class SignInFailures(models.Model):
    """Failed sign-ins of one account from one address (see `signin`). Rows live for minutes; the record is
    the ledger.
    """

    account = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    window_from: models.DateTimeField[datetime, datetime] = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField(default=0, help_text="Failures since window_from.")
    untold = models.PositiveIntegerField(default=0, help_text="Failures that no ledger entry counts yet.")
    told_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "address"], name="one_count_per_account_and_address")]
