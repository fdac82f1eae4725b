"""The clusters that are watched, for admins: what each is, how it is trusted, and what is wrong with it. No secret is
here; tokens are written with the command line only.
"""

from __future__ import annotations

import hashlib
import ssl

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dashboard.accounts.roles import Role
from dashboard.fleet.models import Cluster
from dashboard.fleet.sample import SKEW_SHOWN
from dashboard.web.filters import Filter
from dashboard.web.guards import not_for, post_only, requires, signed_in
from dashboard.web.views.relationship import ask_again
from dashboard.words import duration


@require_safe
@requires(Role.ADMIN)
def clusters(request: HttpRequest) -> HttpResponse:
    listed = Count("relationships", filter=Q(relationships__hidden=False))
    rows = [
        (cluster, fingerprint(cluster.certificate), _clock(cluster.clock_ahead))
        for cluster in Cluster.objects.visible_to(signed_in(request)).annotate(listed=listed)
    ]
    return render(request, "clusters/list.html", {"section": "clusters", "rows": rows})


@require_safe
def cluster(request: HttpRequest, name: str) -> HttpResponse:
    """A cluster has no page of its own: its relationships are what there is to see."""
    return redirect(reverse("relationships") + Filter(cluster=_find(request, name).name).query)


@post_only
def read_now(request: HttpRequest, name: str) -> HttpResponse:
    found = _find(request, name)
    return ask_again(request, found, back=reverse("cluster", args=(found.name,)))


def _find(request: HttpRequest, name: str) -> Cluster:
    user, named = signed_in(request), Cluster.objects.filter(name=name)
    found = named.visible_to(user).first()
    if found is None:
        raise not_for(user, named)
    return found


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate, as people compare it: `AB:CD:…`; "" when there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in pem or end not in pem:
        return ""
    first = pem[pem.index(begin) : pem.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest().hex(":").upper()


def _clock(ahead: int | None) -> str:
    if ahead is None:
        return _("Not known")
    if abs(ahead) <= SKEW_SHOWN:
        return _("Agrees with this desk's")
    words = _("%s ahead of this desk's") if ahead > 0 else _("%s behind this desk's")
    return words % duration(abs(ahead))
