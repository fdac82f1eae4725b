"""Access that was refused to somebody who is signed in, in the ledger: because of a role, a cluster, a method or a
forged form.

At most one entry for an account, an address of the desk and a reason in a minute, with their count and the words of the
last one. What a verb refuses is not counted here: the verb knows better what was asked, and has an entry of its own.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from dashboard.accounts.models import AccessRefusals, User
from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.tags import Tag
from dashboard.database import database_now

_LONGEST = 500


def record(user: User, ip: str, *, route: str, why: str, words: str) -> None:
    """Count a refusal, and tell of it unless there was an entry in the last minute. In a transaction of its own."""
    with transaction.atomic():
        # Before the ledger: of a row that is changed twice PostgreSQL locks the account at COMMIT, for its foreign key.
        User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        now = database_now()
        rows = AccessRefusals.objects.select_for_update()
        row, _made = rows.get_or_create(account=user, route=route[:64], why=why)
        row.untold += 1
        row.address, row.words = ip[:64], chain.clean(words)[:_LONGEST]
        row.save()
        _tell(row, now)


def tell_what_is_left() -> int:
    """Record the counts whose minute is over although nobody tried again; the sweep calls it. Returns how many."""
    told = 0
    for pk in AccessRefusals.left(database_now()):
        with transaction.atomic():
            row = AccessRefusals.objects.select_for_update().get(pk=pk)
            told += _tell(row, database_now())
    return told


def _tell(row: AccessRefusals, now: datetime) -> bool:
    count = row.take(now)
    if not count:
        return False
    chain.append(
        Tag.ACCESS_REFUSED,
        actor=actor_of(row.account, row.address),
        object=f"page:{row.route}",
        words=row.words if count == 1 else f"{row.words} It is the last of {count} such attempts.",
        detail={"why": row.why, "count": count},
    )
    return True
