"""Sessions on the database's clock: how somebody signed in, and when the session is over. As SESSION_ENGINE this module
gives Django its `SessionStore`.

- Over for good SESSION_ABSOLUTE after the sign-in, whatever happens in between: that is the row's `expire_date`.
- Idle after SESSION_IDLE without a click. A poll is no click, so a page that stands open does not keep its session. The
  wall, which is meant to stand there, shows its figures to an idle session; nothing else does.
- Over at once with a new password, a removed account or a removed second factor: `User.epoch` and the password are in
  the hash that Django compares at each request.

The time of now comes with the row that is read anyway, so that a poll costs no query for it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, login
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.models import Session
from django.db import DatabaseError, InterfaceError
from django.db.models.functions import Now
from django.http import HttpRequest

from dashboard.accounts.models import User
from dashboard.database import database_now

_HOW, _SEEN, _TOLD = "signed_in", "seen", "told"
_HALF_WAY_IN = timedelta(minutes=15)  # between password and second factor, or at the identity provider
_TOUCH_EVERY = timedelta(minutes=1)  # a row need not be written for every click; idle sessions end up to this earlier


class SessionStore(db.SessionStore):
    """`now` is the database's time at which the row was read."""

    now: datetime | None = None
    _ends: datetime | None = None

    def _get_session_from_db(self) -> Session | None:
        rows = self.model.objects.annotate(now=Now())
        found: Any = rows.filter(session_key=self.session_key, expire_date__gt=Now()).first()
        if found is None:
            self._session_key = None
            return None
        self.now, self._ends = found.now, found.expire_date
        row: Session = found
        return row

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        now = database_now()
        data.setdefault(_SEEN, now.isoformat())
        if SESSION_KEY in data:
            self._ends = ends = self._ends or now + settings.SESSION_ABSOLUTE
        else:
            self._ends, ends = None, now + _HALF_WAY_IN
        return Session(
            session_key=self._get_or_create_session_key(),  # type: ignore[attr-defined]  # absent from the stubs
            session_data=self.encode(data),
            expire_date=ends,
        )

    def save(self, must_create: bool = False) -> None:
        """Django takes every error of the database for a session that was deleted. Only that one is."""
        try:
            super().save(must_create)
        except UpdateError as gone:
            if type(gone.__context__) is DatabaseError:  # "Forced update did not affect any rows"
                raise
            raise gone.__context__ or gone from None

    def start_over(self) -> None:
        """From here on it is a new session: its end is counted from the next time it is saved."""
        self._ends = None


def begin(request: HttpRequest, user: User, how: list[str], *, provider: bool = False) -> None:
    """Sign this browser in. `how` names what was proved, in the words of a sentence: "password", "TOTP". `provider`: an
    identity provider vouches for it, and a second factor was its business. Sessions that are over are forgotten."""
    Session.objects.filter(expire_date__lt=Now()).delete()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    if isinstance(request.session, SessionStore):
        request.session.start_over()
    now = database_now().isoformat()
    request.session[_HOW] = {"how": how, "at": now, "provider": provider}
    request.session[_SEEN] = now
    request.session.pop(_TOLD, None)


def how(session: SessionBase) -> tuple[list[str], datetime | None]:
    """What was proved at the sign-in, and when; nothing for a session that an older version began."""
    found = session.get(_HOW)
    return (found["how"], datetime.fromisoformat(found["at"])) if found else ([], None)


def through_provider(session: SessionBase) -> bool:
    return bool(session.get(_HOW, {}).get("provider"))


def is_idle(session: SessionBase) -> bool:
    """Whether it was left alone for too long. Costs the read of the session, which every page needs."""
    seen = session.get(_SEEN)
    now: datetime | None = getattr(session, "now", None)
    if seen is None or now is None:
        return False
    return now - datetime.fromisoformat(seen) >= settings.SESSION_IDLE


def left_alone(session: SessionBase) -> User | None:
    """Whose session it was that is idle, once: for the record."""
    if not is_idle(session) or session.get(_TOLD) or SESSION_KEY not in session:
        return None
    session[_TOLD] = True
    return User.objects.select_related("person").filter(pk=session[SESSION_KEY]).first()


def touch(session: SessionBase) -> None:
    """Somebody clicked. A database that does not take that keeps nobody from reading."""
    seen = session.get(_SEEN)
    now: datetime | None = getattr(session, "now", None)
    if now is None:
        return
    if seen is None or now - datetime.fromisoformat(seen) >= _TOUCH_EVERY:
        session[_SEEN] = now.isoformat()
        with suppress(DatabaseError, InterfaceError, UpdateError):
            session.save()
        session.modified = False
