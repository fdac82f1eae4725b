"""What stands above every page because nothing is sent: holds, and a ledger that takes no entry. A poll brings it when
it changed, whatever else the page shows, and only then: a banner is read aloud when it is put in.

The browser says in a header which version it has (`freshness.js`); the version comes along in the one query that every
poll makes anyway.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count, DateTimeField, IntegerField, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.loader import render_to_string

from dashboard.accounts.models import User
from dashboard.failovers.models import Heartbeat, Hold

HEADER = "X-Notices"


def facts(user: User) -> dict[str, Any]:
    """Expressions to be asked along with something else, for `version` and `recording.refused_since`."""
    # Each hold that is set or lifted raises this number, and nothing lowers it.
    seen = Hold.objects.visible_to(user).order_by().annotate(one=Value(1)).values("one")
    acts = seen.annotate(acts=Count("pk") + Count("lifted_at")).values("acts")
    return {
        "hold_acts": Coalesce(Subquery(acts, output_field=IntegerField()), 0),
        "swept_at": _beat("sweep"),
        "proved_at": _beat("ledger"),
    }


def _beat(driver: str) -> Subquery:
    return Subquery(Heartbeat.objects.filter(driver=driver).values("at"), output_field=DateTimeField())


def version(hold_acts: int | None, unrecorded_since: datetime | None) -> str:
    return f"{hold_acts or 0}{'' if unrecorded_since is None else f'.{unrecorded_since:%Y%m%d%H%M%S}'}"


def are_old(request: HttpRequest, now: str) -> bool:
    """Whether the browser has others than these. One that does not say has no place for them."""
    return request.headers.get(HEADER, now) != now


def rendered(request: HttpRequest) -> str:
    """To go along with the answer to a poll."""
    return render_to_string("parts/_notices.html", {"oob": True}, request)
