"""What a person notices of the desk on twenty clusters with a hundred relationships each, and what that costs."""

from __future__ import annotations

import json
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import httpx

from tests.bench.browser import Browser
from tests.bench.table import row, spread
from tests.bench.up import Up, built
from tests.running.processes import ROOT, eventually

FAILOVERS = 50
CLICKS = 100
CHANGES = 5


def measure() -> None:
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as name, built(Path(name), "sqlite", "large") as it:
        measure_sweep(it)  # by itself, before anybody has read the clusters
        with it.running():
            measure_polls(it)
            measure_changes(it)
            measure_approvals(it)
            measure_clicks_among_polls(it)


def measure_sweep(it: Up) -> None:
    seen = it.act("inside", "sweep")
    size = f"{seen['clusters']} clusters, {seen['rows']} relationships"
    row(f"One sweep, all new ({size})", f"{seen['first']:.2f} s CPU")
    row("One sweep, steady", f"{seen['steady']:.2f} s CPU, {seen['peak']:.0f} MB peak")


def measure_polls(it: Up) -> None:
    for redis in (it.redis, ""):
        seen = it.act("inside", "polls", REDIS_URL=redis)
        with_redis = "with Redis" if seen["redis"] else "without Redis"
        aim = "≤ 2" if seen["redis"] else "≤ 4"
        row(f"SQL queries of an unchanged poll, {with_redis}", str(seen["queries"]), aim)
        row(
            f"Unchanged poll, {with_redis}", f"{seen['ratio']:.2f} × an empty view's rate ({seen['rate']:.0f}/s of CPU)"
        )
        made = "taken from the cache" if seen["redis"] else "rendered each time"
        figure = f"{seen['changed']:.0f}/s of CPU, {seen['bytes'] / 1000:.0f} kB"
        row(f"Changed poll of 100 rows, {with_redis}: {made}", figure)


def measure_changes(it: Up) -> None:
    """Somebody disconnects a relationship in the cluster's own interface: how long until a page is served that says
    so."""
    rivera = it.browser("a.rivera")
    took = []
    for cluster in it.manifest["clusters"][:CHANGES]:
        context = ssl.create_default_context(cafile=cluster["ca_file"])
        head = {"Authorization": f"Bearer {cluster['executor_token']}"}
        with httpx.Client(base_url=cluster["url"], headers=head, verify=context) as api:
            rows = api.get("/v2/replication/target-relationships/status/").json()
            one = next(r for r in rows if r["state"] == "ESTABLISHED" and r["recovery_point"])
            filtered = f"/live/?q={one['id']}&seen="
            api.post(f"/v2/replication/target-relationships/{one['id']}/make-writable").raise_for_status()
        began = time.monotonic()
        eventually(partial(_tells, rivera, filtered))
        took.append(time.monotonic() - began)
    row(
        "Change on a cluster → new fragment served",
        f"median {statistics.median(took):.1f} s, worst {max(took):.1f} s",
        "≤ 11 s",
    )


def _tells(browser: Browser, url: str) -> bool:
    return "Disconnect" in browser.http.get(url).text.partition("<tbody")[2].partition("</tbody>")[0]


def measure_approvals(it: Up) -> None:
    made = it.act("hands", "ask_each", str(FAILOVERS))
    osei = it.browser("k.osei")
    clicks = {asked["items"][0][2]: osei.approve(asked["number"]) for asked in made}
    eventually(lambda: clicks.keys() <= it.posts().keys(), within=120)
    received = it.posts()
    assert all(len(received[relationship]) == 1 for relationship in clicks)
    row(
        f"Approve click → make-writable received ({len(clicks)} failovers)",
        spread([received[relationship][0] - clicked for relationship, clicked in clicks.items()]),
        "median ≤ 150 ms",
    )


def measure_clicks_among_polls(it: Up) -> None:
    """How long the click itself takes, while others poll the list a hundred times a second."""
    numbers = [asked["number"] for asked in it.act("hands", "ask_each", str(CLICKS))]
    osei = it.browser("k.osei")
    sessions = [it.browser(name).http.cookies["session"] for name in ("a.rivera", "k.osei", "a.rivera")]
    command = [sys.executable, "-m", "tests.bench.pollers", it.url, "100", *sessions]
    pollers = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    took = []
    try:
        for number in numbers:
            clicked = osei.approve(number)
            took.append(time.time() - clicked)
    finally:
        pollers.send_signal(signal.SIGTERM)
        made = json.loads(pollers.communicate(timeout=60)[0])
    row(
        f"Approve click among {made['rate']:.0f} polls/s ({len(took)} clicks, {made['failed']:.0f} polls failed)",
        spread(took),
        "p99 < 1 s",
    )
