"""Policies: everybody reads which rule covers what; admins change them. What weakens waits for a second admin, who
confirms it on a page of its own. The verbs are in `failovers.amending`; here is only what they are asked and answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.accounts.models import Group, User
from dashboard.accounts.people import people_with
from dashboard.accounts.roles import Role
from dashboard.failovers import amending, drafts, policies
from dashboard.failovers import policy_lint as lint
from dashboard.failovers.drafts import Draft
from dashboard.failovers.lifecycle import Refused, Stale
from dashboard.failovers.models import PolicyChange
from dashboard.failovers.policy import DEFAULT, Policy
from dashboard.failovers.weakening import approvals, differences, place
from dashboard.fleet.models import Cluster, Tag
from dashboard.web import confirm, forms
from dashboard.web.guards import actor, kept, record_refusal, requires, signed_in

_EMPTY_ROWS = 3
_MOST_ROWS = drafts.MOST_PEOPLE + _EMPTY_ROWS
_RECENT = 20
_FIELDS = (
    *("name", "cluster", "path_prefix", "tag", "decide_minutes", "run_minutes"),
    *("break_glass", "prompt", "ticket_pattern"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A policy in the list. `count` is of the relationships that it rules and the reader may see."""

    policy: Policy
    covers: str
    approvals: str
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """A share in the form."""

    number: int
    group: str
    count: str

    @property
    def group_name(self) -> str:
        return f"group_{self.number}"

    @property
    def count_name(self) -> str:
        return f"count_{self.number}"


@dataclass(frozen=True, slots=True)
class Form:
    """What the page of a policy sent. `version` names what it showed, "" for a new one."""

    draft: Draft
    version: str
    removes: bool

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Form:
        rows = [(fields.get(f"group_{n}", ""), fields.get(f"count_{n}", "")) for n in range(1, _MOST_ROWS + 1)]
        typed = {name: fields.get(name, "") for name in _FIELDS if name != "break_glass"}
        draft = Draft(**typed, shares=tuple(rows), break_glass=bool(fields.get("break_glass")))
        return cls(draft, fields.get("version", ""), fields.get("verb") == "remove")


@require_safe
def policies_list(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    found = lint.survey()
    context: dict[str, Any] = {
        "section": "policies",
        "lines": [_line(policy, found, user) for policy in found.policies if _concerns(policy, user)],
        "default": _line(Policy(name="", rules=DEFAULT), found, user),
    }
    if user.has(Role.ADMIN):
        changes = PolicyChange.objects.all()
        context |= {
            "findings": lint.lint(found),
            "waiting": amending.waiting(),
            "recent": changes.exclude(verdict="waiting")[:_RECENT],
        }
    return render(request, "policies/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def policy_new(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _propose(request, None)
    typed = kept(request)
    return _page(request, None, Form.of(typed) if typed else Form(Draft(name=""), "", removes=False), bool(typed))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def policy(request: HttpRequest, name: str) -> HttpResponse:
    there = policies.find(name)
    if there is None:
        raise Http404
    if request.method == "POST":
        return _propose(request, there)
    typed = kept(request)
    as_it_is = Form(drafts.of(there), policies.version_of(there), removes=False)
    return _page(request, there, Form.of(typed) if typed else as_it_is, bool(typed))


def _propose(request: HttpRequest, there: Policy | None) -> HttpResponse:
    rows = [f"{part}_{n}" for n in range(1, _MOST_ROWS + 1) for part in ("group", "count")]
    fields = forms.read(request.POST, [*_FIELDS, *rows, "version", "verb", *confirm.FIELDS])
    if fields["verb"] not in ("set", "remove") or (there is None and fields["verb"] == "remove"):
        raise BadRequest("The form says neither set nor remove.")
    if there is not None and fields["name"] != there.name:
        raise BadRequest("The form is about another policy.")
    form = Form.of(fields)
    try:
        change = _change(request, form)
    except Refused as refused:
        record_refusal(request, refused, object=f"policy:{form.draft.name[:64]}")
        return _page(request, there, form, error=refused)
    if change.verdict == "waiting":
        return _see(reverse("policy-change", args=(change.pk,)))
    return _see(reverse("policies"))


def _change(request: HttpRequest, form: Form) -> PolicyChange:
    """What is typed is judged before the proof is spent: whoever mistypes a field confirms once, not twice."""
    user, draft, version = signed_in(request), form.draft, form.version
    if not form.removes:
        drafts.read(draft)
    auth = confirm.prove(request, "policy", _bound(form)).words
    if form.removes:
        return amending.remove(user=user, actor=actor(request), name=draft.name, version=version, auth=auth)
    return amending.propose(user=user, actor=actor(request), draft=draft, version=version, auth=auth)


def _bound(form: Form) -> str:
    """What a confirmation is for: this policy as the page showed it."""
    return f"{form.draft.name} {form.version}" if form.version else "new"


def _page(
    request: HttpRequest, there: Policy | None, form: Form, signed_out: bool = False, error: Refused | None = None
) -> HttpResponse:
    draft = form.draft
    groups = set(Group.objects.values_list("name", flat=True))
    named = {group for group, _count in draft.shares if group}
    clusters = list(Cluster.objects.order_by("name").values_list("name", flat=True))
    context = {
        "section": "policies",
        "there": there,
        "form": form,
        "draft": draft,
        "rows": _rows(draft),
        "groups": sorted(groups | named),
        "gone": named - groups,
        "clusters": sorted({*clusters, draft.cluster} - {""}),
        "tags": sorted(set(Tag.objects.values_list("name", flat=True))),
        "waits": PolicyChange.objects.filter(name=there.name, verdict="waiting").first() if there else None,
        "confirm": confirm.offer(request, "policy", _bound(form)),
        "error": error,
        "signed_out": signed_out,
    }
    status = 200 if error is None else 409 if isinstance(error, Stale) else 422
    return render(request, "policies/policy.html", context, status=status)


def _rows(draft: Draft) -> list[Row]:
    """As they were typed, up to the last that holds something, and empty ones for more."""
    last = max((position for position, row in enumerate(draft.shares, start=1) if any(row)), default=0)
    shares = [*draft.shares[:last], *[("", "")] * min(_EMPTY_ROWS, _MOST_ROWS - last)]
    return [Row(number, group, count) for number, (group, count) in enumerate(shares, start=1)]


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def policy_change(request: HttpRequest, pk: int) -> HttpResponse:
    """A change that waits, or waited: what it does, and for another admin the button that makes it so."""
    change = get_object_or_404(PolicyChange, pk=pk)
    if request.method == "POST":
        return _decide(request, change)
    return _change_page(request, change)


def _decide(request: HttpRequest, change: PolicyChange) -> HttpResponse:
    fields = forms.read(request.POST, ["verb", *confirm.FIELDS])
    user = signed_in(request)
    try:
        match fields["verb"]:
            case "confirm":
                proof = confirm.prove(request, "policy", f"change {change.pk}")
                amending.confirm(user=user, actor=actor(request), change_pk=change.pk, auth=proof.words)
            case "drop":
                amending.drop(user=user, actor=actor(request), change_pk=change.pk)
            case _:
                raise BadRequest("The form says neither confirm nor drop.")
    except Refused as refused:
        record_refusal(request, refused, object=f"policy:{change.name}")
        change.refresh_from_db()
        return _change_page(request, change, error=refused)
    return _see(reverse("policies"))


def _change_page(request: HttpRequest, change: PolicyChange, error: Refused | None = None) -> HttpResponse:
    user = signed_in(request)
    others = {admin.person.label for admin in people_with(Role.ADMIN) if admin.person_id != change.by_id}
    context = {
        "section": "policies",
        "change": change,
        "differences": differences(amending.will_be(change), amending.was(change)),
        "weakens": amending.weakens(change),
        "own": user.person_id == change.by_id,
        "others": sorted(others),
        "confirm": confirm.offer(request, "policy", f"change {change.pk}"),
        "error": error,
    }
    status = 200 if error is None else 409 if isinstance(error, Stale) else 422
    return render(request, "policies/change.html", context, status=status)


def _see(address: str) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": address})


def _concerns(policy: Policy, user: User) -> bool:
    """Whoever is limited to some clusters does not learn the names of the others."""
    return not policy.scope.cluster or user.sees(policy.scope.cluster)


def _line(policy: Policy, found: lint.Survey, user: User) -> Line:
    ruled = found.ruled.get(policy.name, {})
    count = sum(count for cluster, count in ruled.items() if user.sees(cluster))
    covers = place(policy.scope) if policy.name else _("every relationship that no policy covers")
    return Line(policy, covers, approvals(policy.rules.shares), count)
