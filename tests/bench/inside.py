"""What is measured inside one process of the desk: `python -m tests.bench.inside polls|sweep`. Prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from dashboard.accounts.models import User  # noqa: E402
from dashboard.fleet import observe  # noqa: E402
from dashboard.fleet.models import Cluster, Relationship  # noqa: E402
from dashboard.urls import urlpatterns as desk_patterns  # noqa: E402

ROUNDS = 300


def empty(request: HttpRequest) -> HttpResponse:
    """Nothing but the middleware, and the look at who is signed in that a poll has too."""
    return HttpResponse(status=204, headers={"X-Who": str(request.user.pk)})


urlpatterns = [path("bench/live/", empty), *desk_patterns]


def polls() -> dict[str, Any]:
    client = Client()
    client.force_login(User.objects.get(username="a.rivera"))
    with override_settings(ROOT_URLCONF=__name__):
        for _ in range(20):  # clusters are read meanwhile, and some of what they say is news
            fresh = client.get("/live/?seen=")
            seen = fresh.content.decode().split("seen=", 1)[1].split('"', 1)[0].replace("&amp;", "&")
            unchanged = f"/live/?seen={seen}"
            if client.get(unchanged).status_code == 204:
                break
        else:
            raise AssertionError("the page changes under the measurement")
        queries: list[str] = []

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            queries.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(count):
            client.get(unchanged)
        rates = {}
        for name, url in (("empty", "/bench/live/"), ("unchanged", unchanged), ("changed", "/live/?seen=")):
            rates[name] = _rate(partial(client.get, url), 30 if name == "changed" else ROUNDS)
    return {
        "redis": bool(settings.REDIS_URL),
        "queries": len(queries),
        "rate": rates["unchanged"],
        "ratio": rates["unchanged"] / rates["empty"],
        "changed": rates["changed"],
        "bytes": len(fresh.content),
    }


def _rate(call: Callable[[], Any], rounds: int) -> float:
    call()
    began = time.process_time()
    for _ in range(rounds):
        call()
    return rounds / (time.process_time() - began)


def sweep() -> dict[str, Any]:
    """Every cluster read once, as the sweep's threads do it: first all rows new, then almost nothing changed."""
    result = {}
    for name in ("first", "steady"):
        before = resource.getrusage(resource.RUSAGE_SELF)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(_read, Cluster.objects.values_list("pk", flat=True)))
        after = resource.getrusage(resource.RUSAGE_SELF)
        result[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result | {"rows": Relationship.objects.count(), "clusters": Cluster.objects.count(), "peak": peak}


def _read(pk: int) -> None:
    try:
        observe.observe(pk)
    finally:
        connections.close_all()


if __name__ == "__main__":
    print(json.dumps({"polls": polls, "sweep": sweep}[sys.argv[1]]()))
