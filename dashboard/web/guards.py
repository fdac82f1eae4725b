"""What stands before a view: roles, methods, and the record of what was refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.accounts.models import User
from dashboard.accounts.people import actor_of
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.failovers.lifecycle import Refused
from dashboard.web.kept import take as kept

__all__ = ["actor", "address", "kept", "post_only", "record_refusal", "requires", "signed_in"]

P = ParamSpec("P")
View: TypeAlias = Callable[Concatenate[HttpRequest, P], HttpResponse]


def requires(*roles: Role) -> Callable[[View[P]], View[P]]:
    """Only for accounts with one of these roles; others get 403 with a sentence."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            user = signed_in(request)
            if not any(user.has(role) for role in roles):
                names = (
                    _("{list} or {last}").format(list=", ".join(roles[:-1]), last=roles[-1]) if roles[1:] else roles[0]
                )
                raise PermissionDenied(_("This needs the role %(roles)s.") % {"roles": names})
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def post_only(view: View[P]) -> View[P]:
    """For addresses that take a form and have no page of their own: the form stands one level up."""
    guarded: Any = require_POST(view)
    guarded.post_only = True
    found: View[P] = guarded
    return found


def signed_in(request: HttpRequest) -> User:
    """Whoever acts. Behind SignInMiddleware there always is somebody."""
    if not isinstance(request.user, User):
        raise PermissionDenied(_("You are not signed in."))
    return request.user


def address(request: HttpRequest) -> str:
    """The client's address: behind a proxy, the one that our own proxy saw (the last it added), never one that the
    client claims."""
    if settings.BEHIND_PROXY and (forwarded := request.headers.get("X-Forwarded-For")):
        return forwarded.rsplit(",", 1)[-1].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def actor(request: HttpRequest) -> Actor:
    """Who acts, for the verbs and their ledger entries."""
    return actor_of(signed_in(request), address(request))


def record_refusal(request: HttpRequest, refused: Refused, *, object: str) -> None:  # noqa: A002 - the ledger's word
    """Write down that a verb said no. In a transaction of its own: the verb has rolled its own entry back."""
    with transaction.atomic():
        chain.append(
            refused.tag,
            actor=actor(request),
            object=object,
            words=refused.words,
            detail={"field": refused.field} if refused.field else {},
        )
