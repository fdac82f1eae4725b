"""What stands before a view: roles, methods, clusters, and the record of what was refused.

Whoever is refused because of a role is told so (403). What belongs to a cluster that a person may not see is answered
like what does not exist (404), and the same work is done for both; only the ledger tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.accounts import refusals
from dashboard.accounts.models import User
from dashboard.accounts.people import actor_of
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.failovers.lifecycle import Refused
from dashboard.web.kept import take as kept
from dashboard.words import visible

__all__ = ["actor", "address", "kept", "not_for", "post_only", "record_refusal", "requires", "signed_in"]

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
View: TypeAlias = Callable[Concatenate[HttpRequest, P], R]


def requires(*roles: Role, everywhere: bool = False) -> Callable[[View[P, R]], View[P, R]]:
    """Only for accounts with one of these roles; others get 403 with a sentence. A role that is limited to a cluster
    counts, and the verb asks again for the cluster that it is about, unless `everywhere`: then what is behind it speaks
    of every cluster."""

    def decorate(view: View[P, R]) -> View[P, R]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            user = signed_in(request)
            if not any(role in user.roles if everywhere else user.has(role) for role in roles):
                names = (
                    _("{list} or {last}").format(list=", ".join(roles[:-1]), last=roles[-1]) if roles[1:] else roles[0]
                )
                words = _("This needs the role %s for every cluster.") if everywhere else _("This needs the role %s.")
                raise PermissionDenied(words % names)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def post_only(view: View[P, R]) -> View[P, R]:
    """For addresses that take a form and have no page of their own: the form stands one level up."""
    guarded: Any = require_POST(view)
    guarded.post_only = True
    found: View[P, R] = guarded
    return found


class NotTheirs(Http404):
    """For somebody limited to some clusters. `exists`: it is there, in one of the others."""

    def __init__(self, *, exists: bool) -> None:
        super().__init__()
        self.exists = exists


def not_for(user: User, rows: QuerySet[Any]) -> Http404:
    """To be raised when `user` sees none of `rows`, which are what the address names."""
    return Http404() if user.scope is None else NotTheirs(exists=rows.exists())


class RefusalMiddleware:
    """Has the ledger tell who was refused what. Stands around the one that looks at tokens, so that it sees every
    answer; nothing is written about somebody who is not signed in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        why, words = request.META.get(_REFUSED) or _ANSWERS.get(response.status_code, ("", ""))
        user, match = getattr(request, "user", None), request.resolver_match
        if why and match is not None and isinstance(user, User):
            what = f"{request.method} {visible(request.path)[:_LONGEST]}: {words}"
            refusals.record(user, address(request), route=match.view_name, why=why, words=what)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        if isinstance(exception, PermissionDenied):
            request.META[_REFUSED] = ("role", str(exception))
        elif isinstance(exception, BadRequest):
            request.META[_REFUSED] = ("form", str(exception))
        elif isinstance(exception, NotTheirs):
            request.META[_REFUSED] = (
                ("scope", "it belongs to a cluster that this account may not see.")
                if exception.exists
                else ("absent", "there is nothing of this name.")
            )


_REFUSED = "desk.refused"
_LONGEST = 300
_ANSWERS = {
    403: ("form", "the form was not sent by a page of this desk."),
    405: ("method", "this address does not take the method."),
}


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
