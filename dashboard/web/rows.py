"""A relationship as the list shows it: everything is decided and worded here, so that the template only writes it down.

A hundred rows are rendered at each change, so this parses no status again, and asks the database at most once. What a
cluster sent is made visible here, once. A row that has gone stale keeps the age it had when it was read: it does not
tick on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.accounts.models import User
from dashboard.accounts.roles import Role
from dashboard.failovers.models import Request
from dashboard.failovers.preflight import SKEW_TOLERATED
from dashboard.fleet.health import KNOWN_STATES
from dashboard.fleet.models import Relationship
from dashboard.web.forms import number_of
from dashboard.web.templatetags.desk import health_word, iso, rate, state_word
from dashboard.words import bare, duration, visible

# The same paths and names come again at each poll.
shown = lru_cache(maxsize=4096)(visible)
path_shown = lru_cache(maxsize=4096)(bare)


@dataclass(frozen=True, slots=True)
class Why:
    """The reason of a health. With `at` there is a time between `before` and `after`: `words`, which the browser writes
    on when `rel` says how."""

    before: str
    at: str = ""
    words: str = ""
    after: str = ""
    rel: str = ""

    def __str__(self) -> str:
        return f"{self.before}{self.words}{self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How old the recovery point is. `of` is what stands beside it. `since` is empty when the age stands still. Only
    one that is measured against an objective has a gauge: `used` and `over` are its per cent, up to twice the
    objective."""

    words: str = ""
    of: str = ""
    late: bool = False
    since: str = ""
    gauge: bool = False
    seconds: int = 0
    ratio: float = 0
    used: str = ""
    over: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job and what went wrong. `percent` None: the cluster reports no figures. `quiet`: a narrow screen leaves it
    out."""

    running: bool = False
    head: str = ""
    percent: int | None = None
    left: str = ""
    rate: str = ""
    stands: bool = False
    colour: str = ""
    words: str = ""
    error: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`state` is empty for one that is not known here; `fail_over` when there is nothing to fail over, or this person
    may not ask; `held_href` when the request that has it is also about clusters that this person does not see."""

    pk: int
    href: str
    fail_over: str
    health: str
    word: str
    why: Why | None
    state: str
    state_word: str
    writable: bool
    source: str
    source_path: str
    target: str
    target_path: str
    stale: bool
    age: Age
    job: Job
    held_by: str
    held_running: bool
    held_note: str
    held_href: str
    held_mark: str  # break-glass, drill or ""

    @property
    def held_title(self) -> str:
        votes, _slash, needed = self.held_note.partition("/")
        return _("%(votes)s of %(needed)s approvals") % {"votes": votes, "needed": needed}


def rows_of(rows: Sequence[Relationship], now: datetime, user: User) -> list[Row]:
    """`rows` with their clusters joined."""
    held = {_request_of(row) for row in rows if row.held_by}
    asked = Request.objects.visible_to(user).only("break_glass", "mode").in_bulk(held) if held else {}
    return [_row(row, now, user, asked.get(_request_of(row))) for row in rows]


def _row(row: Relationship, now: datetime, user: User, asked: Request | None) -> Row:
    """`asked`: the request that has it, if this person sees it."""
    href = reverse("relationship", args=(row.cluster.name, row.relationship_id))
    return Row(
        pk=row.pk,
        href=href,
        fail_over=f"{href}fail-over/" if can_fail_over(row) and user.has(Role.OPERATOR, row.cluster.name) else "",
        health=row.grade,
        word=health_word(row.grade),
        why=why(row, now),
        state=row.state if row.state in KNOWN_STATES else "",
        state_word=state_word(row.state),
        writable=not row.target_root_read_only,
        source=shown(row.source_cluster_name),
        source_path=path_shown(row.source_root_path),
        target=row.cluster.name,
        target_path=path_shown(row.target_root_path),
        stale=is_stale(row),
        age=age_of(row, now),
        job=job_of(row),
        held_by=row.held_by,
        held_running=row.held_phase == "running",
        held_note=row.held_note,
        held_href=failover_href(row.held_by) if row.held_by and (asked or user.scope is None) else "",
        held_mark="break-glass" if asked and asked.break_glass else "drill" if asked and asked.drill else "",
    )


def is_stale(row: Relationship) -> bool:
    """Whether its figures are old: the cluster is silent, or no longer lists it as something that can be read."""
    return row.cluster.silent or row.gone_at is not None or bool(row.unreadable)


def can_fail_over(row: Relationship) -> bool:
    """Whether asking makes sense. What really stands in the way is said by the checks of the dialog."""
    established = row.state == "ESTABLISHED" and row.target_root_read_only
    return established and row.recovery_point_at is not None and not row.held_by and not is_stale(row)


def _request_of(row: Relationship) -> int:
    return number_of(row.held_by.partition("/")[0])


def failover_href(number: str) -> str:
    """The page of `FO-1042` or `FO-1042/3`: a request has one page for all its failovers."""
    return reverse("failover", args=(number.partition("/")[0],))


def read_age(row: Relationship, now: datetime) -> timedelta | None:
    """How old the recovery point is, or was when a stale row was read; None when there is none."""
    if row.recovery_point_at is None:
        return None
    return ((row.read_at or now) if is_stale(row) else now) - row.recovery_point_at


def age_of(row: Relationship, now: datetime) -> Age:
    if row.state == "ENDED":
        return Age(of=_("No longer kept"))
    goal, age = duration(row.objective), read_age(row, now)
    against = _("of %s") % goal
    if age is None:
        return Age(words=_("None yet"), of=against, late=True)
    if age < -SKEW_TOLERATED:
        return Age(words=_("In the future"), of=against, late=True)
    words, ratio = duration(age), max(age.total_seconds(), 0) / row.objective
    since = "" if is_stale(row) else iso(row.recovery_point_at)
    if row.state == "DISCONNECTED":
        return Age(words=words, of=_("not replicating"), late=row.failed_over_at is None, since=since)
    times = _("%(age)s, %(ratio).2f times the objective of %(goal)s")
    return Age(
        words=words,
        of=against,
        late=ratio > 1,
        since=since,
        gauge=True,
        seconds=row.objective,
        ratio=min(round(ratio, 2), 2),
        used=f"{min(ratio, 1) * 50:.1f}",
        over=f"{min(max(ratio - 1, 0), 1) * 50:.1f}",
        label=times % {"age": words, "ratio": ratio, "goal": goal},
    )


def job_of(row: Relationship) -> Job:
    error = shown(row.error)
    if row.job_running:
        return _running(row, error)
    quiet = not error
    if row.state == "ENDED":
        end = shown(row.status.get("end_reason") or "")
        return Job(words=_("End reason: %s") % end if end else "", error=error, quiet=quiet)
    took = took_of(row.status)
    if took is None:
        return Job(words=_("No job has run yet"), error=error, quiet=quiet)
    return Job(head=_("Idle"), words=_("Last job took %s") % duration(took), error=error, quiet=quiet)


def _running(row: Relationship, error: str) -> Job:
    job = row.status.get("replication_job_status") or {}
    left, speed = job.get("estimated_seconds_remaining"), job.get("throughput_current")
    percent = None if row.job_percent is None else int(row.job_percent)
    return Job(
        running=True,
        head=_("Running") if percent is None else f"{percent} %",
        percent=percent,
        left=_("No estimate") if left is None else _("%s left") % duration(left),
        rate=rate(speed),
        stands=speed == 0,
        colour=row.grade if row.grade in ("active", "critical") else "",
        error=error,
    )


def took_of(status: Mapping[str, Any]) -> timedelta | None:
    """How long the last job took; None when no job has ended yet."""
    took = status.get("duration_of_last_job")
    return timedelta(microseconds=int(took["nanoseconds"]) // 1000) if took else None


def why(row: Relationship, now: datetime) -> Why | None:
    """Why it has the health that it has; None when there is nothing to say."""
    since = row.reason_since
    if since is not None:
        before, found, after = row.reason.partition("{for}")
        if found:
            return Why(before, iso(since), duration(now - since), after, "age")
        before, found, after = row.reason.partition("{at}")
        if found:
            return Why(before, iso(since), f"{since:%H:%M} UTC", after)
    return Why(row.reason) if row.reason else None
