"""How a policy changes.

A change that weakens nothing holds at once. One that weakens anything waits for a second admin, another person, who
sees what was there, what will be, and what of it weakens. It is applied once, and only upon what it was proposed
against. The shell is the root of trust: there every change holds at once, and the ledger tells.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.audit import chain
from dashboard.audit.chain import Actor
from dashboard.audit.tags import Tag
from dashboard.database import database_now
from dashboard.failovers import drafts, models
from dashboard.failovers.drafts import Draft
from dashboard.failovers.lifecycle import Refused, Stale
from dashboard.failovers.models import PolicyChange
from dashboard.failovers.policies import fields_of, find, of_fields, standing, version_of
from dashboard.failovers.policy import Policy
from dashboard.failovers.weakening import differences, weakened


def propose(*, user: User | None, actor: Actor, draft: Draft, version: str, auth: str = "") -> PolicyChange:
    """Put a policy in the place of what `version` names ("": there is none yet). Without a user it is the shell."""
    _only_admins(user)
    after = drafts.read(draft)
    with transaction.atomic():
        _in_line()
        before = find(after.name)
        if before is None and version:
            raise Stale(f"The policy {after.name} was removed meanwhile.", tag=drafts.TAG)
        if before is None and models.Policy.objects.filter(name__iexact=after.name).exists():
            raise Refused("There is already a policy of that name, in other letters.", field="name", tag=drafts.TAG)
        if before is not None and not version:
            raise Refused(f"There is already a policy {after.name}.", field="name", tag=drafts.TAG)
        if before is not None and version != version_of(before):
            raise Stale(f"The policy {after.name} changed meanwhile. Read it again.", tag=drafts.TAG)
        if before == after:
            raise Refused("Nothing changes.", tag=drafts.TAG)
        return _change(user, actor, after.name, before, after, auth)


def remove(*, user: User | None, actor: Actor, name: str, version: str, auth: str = "") -> PolicyChange:
    """Take a policy away. That always weakens."""
    _only_admins(user)
    with transaction.atomic():
        _in_line()
        before = find(name)
        if before is None:
            raise Stale(f"There is no policy {name}.", tag=drafts.TAG)
        if version != version_of(before):
            raise Stale(f"The policy {name} changed meanwhile. Read it again.", tag=drafts.TAG)
        return _change(user, actor, name, before, None, auth)


def confirm(*, user: User, actor: Actor, change_pk: int, auth: str = "") -> PolicyChange:
    """The second person says yes: the change holds. When it no longer fits what is there, it is dropped instead, and
    the answer says so."""
    _only_admins(user)
    with transaction.atomic():
        _in_line()
        change = _waiting(change_pk)
        if change.by_id == user.person_id:
            raise Refused("You proposed this change; another person must confirm it.", tag=drafts.TAG)
        before, after = was(change), will_be(change)
        now = find(change.name)
        moved = now != before
        if moved or _words(after, before, _others(change.name)) != change.words:
            what = f"The policy {change.name}" if moved else "Another policy"
            why = f"{what} changed after this was proposed. Propose it again."
            _decide(change, "dropped", user)
            _tell_dropped(change, actor, why)
        else:
            why = ""
            _decide(change, "applied", user)
            _write(change.name, after)
            _tell_changed(change, actor, {"confirmed": auth, "proposed_by": change.by_label})
    if why:
        raise Stale(why, tag=drafts.TAG)
    return change


def drop(*, user: User, actor: Actor, change_pk: int) -> PolicyChange:
    """A waiting change is not made: by whoever proposed it or any other admin."""
    _only_admins(user)
    with transaction.atomic():
        _in_line()
        change = _waiting(change_pk)
        _decide(change, "dropped", user)
        _tell_dropped(change, actor, f"The change of {change.name} that waited was dropped.")
    return change


def waiting() -> list[PolicyChange]:
    return list(PolicyChange.objects.filter(verdict="waiting").order_by("pk"))


def was(change: PolicyChange) -> Policy | None:
    return None if change.before is None else of_fields(change.name, change.before)


def will_be(change: PolicyChange) -> Policy | None:
    return None if change.after is None else of_fields(change.name, change.after)


def weakens(change: PolicyChange) -> list[str]:
    """What it weakens, in the sentences that it was proposed with."""
    return change.words.partition("\n\n")[2].splitlines()


def _only_admins(user: User | None) -> None:
    if user is not None and not user.has(Role.ADMIN):
        raise Refused("Only an admin may change policies.", tag=drafts.TAG)


def _in_line() -> None:
    """Whether a change weakens depends on every other policy, so changes stand in line. On SQLite all writers do."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE failovers_policy IN SHARE ROW EXCLUSIVE MODE")


def _change(
    user: User | None, actor: Actor, name: str, before: Policy | None, after: Policy | None, auth: str
) -> PolicyChange:
    others = _others(name)
    weak = bool(weakened(after, before, others))
    waits = weak and user is not None
    standing_change = PolicyChange.objects.filter(name=name, verdict="waiting").first()
    if standing_change is not None and waits:
        raise Refused(f"A change of {name} waits already: confirm or drop that one first.", tag=drafts.TAG)
    if standing_change is not None:
        _decide(standing_change, "dropped", user, actor.label)
    change = PolicyChange.objects.create(
        name=name,
        before=fields_of(before) if before else None,
        after=fields_of(after) if after else None,
        words=_words(after, before, others),
        weakens=weak,
        by=user.person if user else None,
        by_label=actor.label,
        at=database_now(),
        verdict="waiting" if waits else "applied",
    )
    if not waits:
        _write(name, after)
    if standing_change is not None:
        _tell_dropped(standing_change, actor, f"The change of {name} that waited was dropped: {name} changed.")
    if waits:
        words = f"{_title(change)} waits for a second person: {_flat(change)}"
        chain.append(
            Tag.POLICY_PROPOSED, actor=actor, object=f"policy:{name}", words=words, detail=_detail(change, auth)
        )
    else:
        _tell_changed(change, actor, {"proved": auth} if auth else {})
    return change


def _waiting(change_pk: int) -> PolicyChange:
    change = PolicyChange.objects.select_for_update(of=("self",)).filter(pk=change_pk).first()
    if change is None or change.verdict != "waiting":
        decided = f": it was {change.verdict} by {change.decided_label}" if change else ""
        raise Stale(f"This change waits no longer{decided}.", tag=drafts.TAG)
    return change


def _decide(change: PolicyChange, verdict: str, user: User | None, label: str = "") -> None:
    """Once: whoever comes second finds that it waits no longer."""
    change.verdict, change.decided_at = verdict, database_now()
    change.decided_by = user.person if user else None
    change.decided_label = user.person.label if user else label
    decided = {name: getattr(change, name) for name in ("verdict", "decided_at", "decided_by", "decided_label")}
    if not PolicyChange.objects.filter(pk=change.pk, verdict="waiting").update(**decided):
        raise Stale("This change waits no longer.", tag=drafts.TAG)


def _write(name: str, after: Policy | None) -> None:
    if after is None:
        models.Policy.objects.filter(name=name).delete()
    else:
        models.Policy.objects.update_or_create(name=name, defaults=fields_of(after))


def _others(name: str) -> list[Policy]:
    return [each for each in standing() if each.name != name]


# ── Words ──


def _words(after: Policy | None, before: Policy | None, others: list[Policy]) -> str:
    """The text of a change: what becomes different, an empty line, what of it weakens."""
    changed = [
        f"{label}: {new}" + (f", before {old}" if old else "") for label, old, new in differences(after, before) if new
    ]
    return "\n".join(changed or ["Removed."]) + "\n\n" + "\n".join(weakened(after, before, others))


def _title(change: PolicyChange) -> str:
    if change.after is None:
        return f"Removing the policy {change.name}"
    return f"A new policy {change.name}" if change.before is None else f"A change of the policy {change.name}"


def _flat(change: PolicyChange) -> str:
    return "; ".join(change.words.partition("\n\n")[0].splitlines())


def _tell_changed(change: PolicyChange, actor: Actor, more: Mapping[str, chain.JSON]) -> None:
    done = "removed" if change.after is None else "made" if change.before is None else "changed"
    words = f"The policy {change.name} was {done}: {_flat(change)}"
    detail = _detail(change, "") | dict(more)
    chain.append(Tag.POLICY_CHANGED, actor=actor, object=f"policy:{change.name}", words=words, detail=detail)


def _tell_dropped(change: PolicyChange, actor: Actor, words: str) -> None:
    detail = _detail(change, "")
    chain.append(Tag.POLICY_DROPPED, actor=actor, object=f"policy:{change.name}", words=words, detail=detail)


def _detail(change: PolicyChange, auth: str) -> dict[str, chain.JSON]:
    found: dict[str, chain.JSON] = {
        "change": change.pk,
        "before": change.before,
        "after": change.after,
        "weakens": weakens(change),
    }
    return found | ({"proved": auth} if auth else {})
