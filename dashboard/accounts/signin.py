"""Sign-ins in the ledger, and the limit on guessing. Lives in the database, so that Redis being down opens no
door.

- Ten failures for one account from one address within five minutes: that pair is refused until the five
  minutes are over. Other addresses are not, so nobody can lock an approver out from elsewhere.
- A code has six digits, and whoever is asked for one knows the password or holds the session: thirty wrong codes for
  one account within five minutes, from wherever they come, and it takes no code until those are over. Security keys,
  which nobody guesses, work all the while.
- The ledger gets at most one entry of failures per account and address a minute, with their count. Otherwise
  anybody who can reach the page could grow the ledger at will and hold its lock.
- A name that no account has is not recorded: it is often a password, typed into the wrong field. All such
  names of one address share one ledger entry a minute. They are limited just like real ones, so that the
  limit does not tell which names exist.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from dashboard.accounts.models import TELL_EVERY, SignInFailures, User
from dashboard.accounts.people import actor_of
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now
from dashboard.words import duration

LIMIT = 10
CODES_LIMIT = 30  # of one account, from all addresses together
WINDOW = timedelta(minutes=5)
_ANYWHERE = "anywhere"  # in the place of an address; there is none of that name


def refusal(account: str, ip: str, *, code: bool = False) -> str | None:
    """Ask before the password, or the `code`, is looked at: the words of the refusal, or None. Reads only."""
    now, counted = database_now(), _counted_as(account)
    if left := _left(counted, _address(ip), LIMIT, now):
        return f"Too many failed sign-ins for this account from your address. Try again in {duration(left)}."
    if code and (left := _left(counted, _ANYWHERE, CODES_LIMIT, now)):
        return f"Too many wrong codes for this account. Use a security key, or try again in {duration(left)}."
    return None


def record_failure(account: str, ip: str, *, code: bool = False) -> None:
    """Count a failed sign-in, and record it unless this account and address had an entry in the last minute."""
    address = _address(ip)
    counted, told = _counted_as(account), _told_as(account)
    _forget_spent_rows()
    with transaction.atomic():
        now = database_now()
        row = _count(counted, address, now)
        if told != counted:
            row = _row(told, address, now)
        row.untold += 1
        row.save()
        if code:
            _count(counted, _ANYWHERE, now)
        _tell(row, now)


def count_failure(account: str, ip: str, *, code: bool = False) -> None:
    """A wrong try of somebody who is signed in, for the limit alone: its refusal is recorded where it happened."""
    _forget_spent_rows()
    with transaction.atomic():
        now, counted = database_now(), _counted_as(account)
        _count(counted, _address(ip), now)
        if code:
            _count(counted, _ANYWHERE, now)


def record_success(user: User, ip: str, how: Sequence[str] = (), *, emergency: bool = False) -> None:
    """Record the sign-in, with the failures before it that no entry counts yet, and start counting anew. `how` names
    what was proved."""
    with transaction.atomic():
        rows = SignInFailures.objects.filter(account=user.username, address=_address(ip))
        failed = sum(row.untold for row in rows.select_for_update())
        rows.delete()
        signed = f"Signed in with {' and '.join(how)}" if how else "Signed in"
        chain.append(
            Tag.SIGNIN_EMERGENCY if emergency else Tag.SIGNIN_SUCCEEDED,
            actor=actor_of(user, ip),
            object=f"person:{user.username}",
            words=f"{signed}, after {_times(failed)} more." if failed else f"{signed}.",
            detail={"failed_before": failed, "how": list(how)},
        )


def record_sign_out(user: User, ip: str) -> None:
    with transaction.atomic():
        chain.append(Tag.SIGNOUT, actor=actor_of(user, ip), object=f"person:{user.username}", words="Signed out.")


def record_left_alone(user: User, ip: str) -> None:
    """The session ended by itself; somebody came back to it, or somebody else did."""
    with transaction.atomic():
        words = f"The session ended: no click for {duration(settings.SESSION_IDLE)}."
        chain.append(Tag.SESSION_ENDED, actor=actor_of(user, ip), object=f"person:{user.username}", words=words)


def tell_what_is_left() -> int:
    """Record the counts whose minute is over although nobody tried again; the sweep calls it. Returns how many."""
    told = 0
    for pk in SignInFailures.left(database_now()):
        with transaction.atomic():
            row = SignInFailures.objects.select_for_update().filter(pk=pk).first()
            if row is not None:
                told += _tell(row, database_now())
    return told


def _tell(row: SignInFailures, now: datetime) -> bool:
    count = row.take(now)
    if not count:
        return False
    name = row.account or "unknown names"
    chain.append(
        Tag.SIGNIN_FAILED,
        # Whoever it was did not prove to be the account's person, so the person is the object, not the actor.
        actor=Actor("user", "Not signed in", ip=row.address),
        object=f"person:{row.account}" if row.account else "",
        words=f"{_times(count)} for {name} from {row.address or 'an unknown address'}.",
        detail={"count": count},
    )
    return True


def _times(count: int) -> str:
    return "1 failed sign-in" if count == 1 else f"{count} failed sign-ins"


def _forget_spent_rows() -> None:
    """Guessed names must not fill the table for longer than a window. In a transaction of its own: it locks rows in no
    particular order, and so leaves alone those that are locked beside another: one for an account that has codes."""
    now = database_now()
    told = Q(told_at__isnull=True) | Q(told_at__lt=now - TELL_EVERY)
    spent = SignInFailures.objects.filter(told, window_from__lt=now - WINDOW, untold=0)
    spent.exclude(address=_ANYWHERE).delete()


def _left(account: str, address: str, limit: int, now: datetime) -> timedelta | None:
    """How long this pair is refused from now on; None when it is not."""
    row = SignInFailures.objects.filter(account=account, address=address).first()
    if row is None or row.count < limit or row.window_from + WINDOW <= now:
        return None
    return row.window_from + WINDOW - now


def _count(account: str, address: str, now: datetime) -> SignInFailures:
    row = _row(account, address, now)
    if row.window_from + WINDOW <= now:
        row.window_from, row.count = now, 0
    row.count += 1
    row.save()
    return row


def _row(account: str, address: str, now: datetime) -> SignInFailures:
    """The row of this pair, locked, made when it is not there."""
    rows = SignInFailures.objects.select_for_update()
    return rows.get_or_create(account=account, address=address, defaults={"window_from": now})[0]


def _told_as(account: str) -> str:
    """The account's own spelling, or "" for a name that no account has."""
    name = chain.clean(account)[:150]
    return User.objects.filter(username__iexact=name).values_list("username", flat=True).first() or ""


def _counted_as(account: str) -> str:
    return _told_as(account) or "?" + salted_hmac("dashboard.signin", chain.clean(account).lower()).hexdigest()


def _address(ip: str) -> str:
    """One machine: an IPv6 host owns a whole /64, so it is counted by that."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    if address.version == 6:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
