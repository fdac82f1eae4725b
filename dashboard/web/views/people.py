"""The people of the desk, for admins: who has which roles, for which clusters, and who is in which group. Passwords and
accounts are made with the command line only.

To give somebody a role or a group is to give power over failovers, so the form asks its reader to confirm who they are,
and says no to whoever would change their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts import people as persons
from dashboard.accounts import rights
from dashboard.accounts.factors import Factors, of_each
from dashboard.accounts.models import Group, User
from dashboard.accounts.roles import SCOPED, Role
from dashboard.failovers.lifecycle import Refused
from dashboard.fleet import registry
from dashboard.fleet.models import Cluster
from dashboard.web import confirm, forms
from dashboard.web.guards import actor, kept, record_refusal, requires, signed_in

_ROLE, _GROUP = "role:", "group:"


@dataclass(frozen=True, slots=True)
class Held:
    """A role as it is written on pages; `where` is the cluster that it is limited to. `gone`: there is none of that
    name any more."""

    role: str
    where: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Line:
    """An account in the list. `others` are those of the same person."""

    user: User
    roles: list[Held]
    groups: list[str]
    others: list[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """A box to tick. `name` is that of its field."""

    name: str
    word: str
    ticked: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    role: Role
    boxes: list[Choice]


@require_safe
@requires(Role.ADMIN)
def people(request: HttpRequest) -> HttpResponse:
    users = list(User.objects.select_related("person").order_by("-is_active", "username"))
    accounts, there = _accounts(users), _there(request)
    groups = persons.groups_of(user.person_id for user in users)
    lines = [_line(user, there, groups[user.person_id], accounts[user.person_id]) for user in users]
    factors = {pk: _words(has) for pk, has in of_each(users).items()} if settings.SECOND_FACTOR != "off" else {}
    rows = [(line, factors.get(line.user.pk)) for line in lines]
    members = [(group.name, [each.label for each in group.members.all()]) for group in _groups()]
    context = {"section": "people", "rows": rows, "groups": members, "factors": bool(factors)}
    return render(request, "people/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def person(request: HttpRequest, account: str) -> HttpResponse:
    user = User.objects.select_related("person").filter(username=account).first()
    if user is None:
        raise Http404
    if request.method == "POST":
        return _change(request, user)
    return _page(request, user, typed=kept(request))


def _change(request: HttpRequest, user: User) -> HttpResponse:
    boxes = [name for name in request.POST if name.startswith((_ROLE, _GROUP))]
    form = forms.read(request.POST, ["seen", *boxes, *confirm.FIELDS])
    roles = [name.removeprefix(_ROLE) for name in boxes if name.startswith(_ROLE)]
    groups = [name.removeprefix(_GROUP) for name in boxes if name.startswith(_GROUP)]
    try:
        try:
            for cluster in persons.clusters_of(roles) - persons.clusters_of(user.roles):
                registry.find(cluster)
            rights.check(user, roles=roles, groups=groups, seen=form["seen"], actor=actor(request))
            proof = confirm.prove(request, "roles", form["seen"])
            rights.grant(
                user.username, roles=roles, groups=groups, seen=form["seen"], auth=proof.words, actor=actor(request)
            )
        except (persons.Refused, registry.Refused) as said:
            raise Refused(str(said), field="roles", tag="people.refused") from None
    except Refused as refused:
        record_refusal(request, refused, object=f"person:{user.username}")
        return _page(request, user, typed=form, error=refused)
    return HttpResponse(status=303, headers={"Location": f"{reverse('people')}#account-{user.username}"})


def _page(request: HttpRequest, user: User, *, typed: Mapping[str, str], error: Refused | None = None) -> HttpResponse:
    """The form as it was typed, or as the account is."""
    version, there = rights.version_of(user), _there(request)
    own_groups = sorted(persons.groups_of([user.person_id])[user.person_id])
    ticked = set(typed) if typed else {_ROLE + each for each in user.roles} | {_GROUP + name for name in own_groups}
    context = {
        "section": "people",
        "account": user,
        "line": _line(user, there, own_groups, _accounts(User.objects.all())[user.person_id]),
        "own": user.person_id == signed_in(request).person_id,
        "choices": [_choices(role, user, there, ticked) for role in Role],
        "groups": [Choice(_GROUP + each.name, each.name, _GROUP + each.name in ticked) for each in _groups()],
        "seen": version,
        "confirm": confirm.offer(request, "roles", version),
        "error": error,
        "signed_out": bool(typed) and error is None,
    }
    return render(request, "people/person.html", context, status=422 if error else 200)


def _choices(role: Role, user: User, there: set[str], ticked: set[str]) -> Choices:
    """Every cluster, each that is there, and those that are gone although the account is still limited to them."""
    boxes = [
        Choice(_ROLE + role, _("every cluster") if role in SCOPED else _("the whole desk"), _ROLE + role in ticked)
    ]
    if role in SCOPED:
        for cluster in sorted(there | persons.clusters_of(each for each in user.roles if each.startswith(f"{role}@"))):
            name = f"{_ROLE}{role}@{cluster}"
            boxes.append(Choice(name, cluster, name in ticked, gone=cluster not in there))
    return Choices(role, boxes)


def _line(user: User, there: set[str], groups: Iterable[str], accounts: list[str]) -> Line:
    held = [(each.partition("@")[0], each.partition("@")[2]) for each in user.role_names]
    return Line(
        user,
        [Held(role, where, bool(where) and where not in there) for role, where in held],
        sorted(groups),
        [name for name in accounts if name != user.username],
    )


def _words(has: Factors) -> str:
    keys = len(has.keys)
    words = [_("TOTP")] if has.app else []
    words += [ngettext("%d security key", "%d security keys", keys) % keys] if keys else []
    return ", ".join(words) or _("None")


def _accounts(users: Iterable[User]) -> dict[int, list[str]]:
    """Person → names of their accounts."""
    found: dict[int, list[str]] = defaultdict(list)
    for user in users:
        found[user.person_id].append(user.username)
    return found


def _there(request: HttpRequest) -> set[str]:
    return set(Cluster.objects.visible_to(signed_in(request)).values_list("name", flat=True))


def _groups() -> Any:
    return Group.objects.prefetch_related("members")
