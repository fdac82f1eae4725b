"""What pages may say about notices: who was told of something, whether anybody can be, and which channel is dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from dashboard.notifications.models import Channel, Delivery


@dataclass(frozen=True, slots=True)
class Told:
    """`ok`: the channel's server took a notice about it, first at `at`. Else it did not yet; `at` is the last try."""

    channel: str
    at: datetime
    ok: bool


def told(about: str) -> list[Told]:
    """For each channel whether it was told of `about` (such as FO-1042, with its items), persons first."""
    found: dict[str, Told] = {}
    for row in Delivery.objects.filter(Q(object=about) | Q(object__startswith=f"{about}/")).order_by("pk"):
        if row.tries and not (row.label in found and found[row.label].ok):
            found[row.label] = Told(row.label, row.at, row.ok)
    return sorted(found.values(), key=lambda each: (not each.channel.startswith("mail to "), each.channel))


def tells_anybody() -> bool:
    """Whether there is a channel at all, as far as the relay has seen."""
    return Channel.objects.exists()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A channel that takes no notices."""

    channel: str
    since: datetime
    words: str


def troubles() -> Sequence[Trouble]:
    """The channels of which the ledger says that they are dead, longest first. For admins."""
    rows = Channel.objects.filter(recorded=True, failing_since__isnull=False).order_by("failing_since", "pk")
    return [Trouble(row.label, row.failing_since, row.error) for row in rows if row.failing_since]
