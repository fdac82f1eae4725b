"""What every page may ask for as `desk`. Nothing is read before a template asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from django.http import HttpRequest
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.accounts.people import may_see_audit
from dashboard.accounts.roles import Role
from dashboard.audit import checkpoints
from dashboard.failovers import reminders
from dashboard.failovers.models import Hold, Request
from dashboard.notifications.told import Trouble, troubles
from dashboard.web.build import build
from dashboard.web.linted import linted
from dashboard.web.live import Pulse, pulse


class Desk:
    """`desk.waiting`, `desk.observed_at`, `desk.holds`, `desk.may_hold`, `desk.overdue`, `desk.may_see_audit`,
    `desk.is_limited`,
    `desk.is_admin`, `desk.policy_reds`, `desk.unsigned`,
    `desk.build`, `desk.now`."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def now(self) -> datetime:
        return timezone.now()

    @property
    def build(self) -> str:
        return build()

    @cached_property
    def pulse(self) -> Pulse:
        return Pulse(None, 0, "") if self.user is None else pulse(self.user)

    @property
    def waiting(self) -> int:
        return self.pulse.waiting

    @property
    def observed_at(self) -> datetime | None:
        return self.pulse.observed_at

    @cached_property
    def holds(self) -> list[Hold]:
        """Those that are on, of everything or of a cluster that this person sees."""
        return [] if self.user is None else list(Hold.objects.visible_to(self.user).standing())

    @property
    def may_hold(self) -> bool:
        """Whether this account may hold anything at all."""
        return self.user is not None and (self.user.has(Role.ADMIN) or self.user.has(Role.APPROVER))

    @cached_property
    def overdue(self) -> list[Request]:
        """Break-glass requests that this person sees and that two others have not reviewed in time, oldest first."""
        late = reminders.overdue(self.now) if self.user else []
        if not late or self.user is None:
            return []
        return list(Request.objects.visible_to(self.user).filter(pk__in=[each.pk for each in late]).order_by("pk"))

    @cached_property
    def user(self) -> User | None:
        """Whoever is signed in; None also where a page is made before anybody could be known."""
        user = getattr(self._request, "user", None)
        return user if isinstance(user, User) else None

    @property
    def may_see_audit(self) -> bool:
        return self.user is not None and may_see_audit(self.user)

    @property
    def may_pack(self) -> bool:
        """Whether this account may make evidence packs, of what it sees."""
        return self.user is not None and any(self.user.has(role) for role in (Role.AUDITOR, Role.APPROVER, Role.ADMIN))

    @property
    def is_limited(self) -> bool:
        """Whether this account may see some clusters only."""
        return self.user is not None and self.user.scope is not None

    @property
    def is_admin(self) -> bool:
        return self.user is not None and self.user.has(Role.ADMIN)

    @cached_property
    def untold(self) -> Sequence[Trouble]:
        """For admins: channels of notices that are dead."""
        return troubles() if self.is_admin else ()

    @cached_property
    def unsigned(self) -> list[str]:
        """For auditors and admins: what of the record has not left the database in time."""
        cares = self.is_admin or (self.user is not None and self.user.has(Role.AUDITOR))
        return checkpoints.standing(self.now).late if cares else []

    @cached_property
    def policy_reds(self) -> int:
        """For admins: how many ways there are in which a policy could not be satisfied tonight."""
        return sum(each.level == "red" for each in linted()) if self.is_admin else 0


def desk(request: HttpRequest) -> dict[str, Desk]:
    return {"desk": Desk(request)}
