"""Entries as the verbs of failovers write them, and rounds of the follower in this thread."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from dashboard.accounts.models import User
from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM, Actor
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.notifications import channels, follow
from dashboard.notifications.models import Channel


def write(tag: str, about: str, words: str = "It happened", actor: Actor = SYSTEM, **detail: Any) -> Entry:
    with transaction.atomic():
        return chain.append(tag, actor=actor, object=about, words=words, detail=detail)


def asked(by: User, number: str = "FO-1042", **changes: Any) -> Entry:
    clusters = changes.pop("clusters", ["dr-west"])
    plan = {
        "items": [{"target_cluster": name, "target_root_path": "/dr/finance"} for name in clusters],
        "shares": [{"group": name, "count": 1} for name in changes.pop("groups", [""])],
        "reason": "dc1-prod lost power.",
        "ticket": "INC-20719",
        "mode": "unplanned",
        "break_glass": False,
    }
    words = changes.pop("words", "Asked to make dr-west:/dr/finance writable")
    detail = {"plan": json.dumps(plan | changes), "decide_by": "2026-03-14T03:12:40.000000Z"}
    return write("request.made", number, words, actor_of(by), **detail)


def broke_glass(by: User, number: str = "FO-1042") -> None:
    asked(by, number, break_glass=True, shares=[])
    write("request.break-glass", number, f"Break-glass: {by} starts {number} on one name", actor_of(by))
    write("request.approved", number, f"Started {number} by break-glass, without approval", actor_of(by))


def enrol() -> None:
    follow._enrol(channels.configured(), database_now())


def tell_all() -> None:
    """Rounds until no channel has anything left to send now."""
    enrol()
    for target in channels.configured().values():
        while follow.tell(target):
            pass


def time_passes(seconds: float) -> None:
    """What waiting looks like to the channels."""
    ago = timedelta(seconds=seconds)
    Channel.objects.update(due_at=F("due_at") - ago)
    Channel.objects.filter(failing_since__isnull=False).update(failing_since=F("failing_since") - ago)
