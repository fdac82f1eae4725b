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


class User(AbstractUser):
    """An account that can sign in, of exactly one person. Django's own flags `is_staff` and `is_superuser`
    grant nothing here.
    """

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="accounts")
    roles: models.JSONField[list[str], list[str]] = models.JSONField(default=list)

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(Lower("username"), name="one_account_per_name_whatever_the_case"),
        ]

    def has(self, role: Role) -> bool:
        """Whether this account, if it is active, has the role."""
        return self.is_active and role in self.roles

    @property
    def role_names(self) -> list[Role]:
        """Its roles in the order of `Role`; names that no role has are left out."""
        return [role for role in Role if role in self.roles]


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
