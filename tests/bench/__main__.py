"""`make bench`: what the product promises about speed, measured on real processes; prints a table. Asserts nothing.

Read ratios and CPU seconds; absolute times depend on the machine and on what else runs on it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.bench import recovery, storm
from tests.bench.browser import Browser
from tests.bench.table import row, table
from tests.faults.site import ROOT, Site, wait_for
from tests.running.processes import free_port

FAILOVERS = 50
CLICKS = 100
CHANGES = 5


def main(wanted: list[str]) -> None:
    for name in wanted or PARTS:
        PARTS[name]()
    table()


def measure_desk() -> None:
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as folder:
        site = Site(Path(folder))
        site.env |= {"TIME_SCALE": "1", "POLL_EVERY": "10s"}
        try:
            site.simulate("large", clusters=20)
            site.prepare()
            site.redis()
            measure_sweep(site)
            url = start(site)
            measure_polls(site)
            measure_changes(site, url)
            measure_approvals(site, url)
            measure_clicks_among_polls(site, url)
        finally:
            site.close()


def start(site: Site) -> str:
    port = free_port()
    python = sys.executable
    serve = [
        python,
        "-m",
        "gunicorn",
        "dashboard.wsgi",
        "--worker-class",
        "gthread",
        "--workers",
        "2",
        "--threads",
        "4",
    ]
    reading = {"EXECUTOR_KEY": ""}  # as in production: neither may open the token that makes a target writable
    site.start("web", *serve, "--bind", f"127.0.0.1:{port}", "--no-control-socket", **reading)
    celery = str(Path(python).with_name("celery"))
    site.worker()
    site.start(
        "observe",
        celery,
        "-A",
        "dashboard",
        "worker",
        "-Q",
        "observe",
        "-P",
        "threads",
        "-c",
        "16",
        "-n",
        "o@%h",
        **reading,
    )
    site.start("sweep", python, "manage.py", "sweep", "--every", "2")
    url = f"http://127.0.0.1:{port}"
    wait_for("the web server", lambda: _status(f"{url}/sign-in/") == 200)
    return url


def _status(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.HTTPError:
        return 0


def inside(site: Site, what: str, **env: str) -> dict[str, Any]:
    done = site.run("-m", "tests.bench.inside", what, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_sweep(site: Site) -> None:
    seen = inside(site, "sweep")
    size = f"{seen['clusters']} clusters, {seen['rows']} relationships"
    row(f"One sweep, all new ({size})", f"{seen['first']:.2f} s CPU")
    row("One sweep, steady", f"{seen['steady']:.2f} s CPU, {seen['peak']:.0f} MB peak")


def measure_polls(site: Site) -> None:
    for redis in (site.env["REDIS_URL"], ""):
        seen = inside(site, "polls", REDIS_URL=redis)
        with_redis = "with Redis" if seen["redis"] else "without Redis"
        aim = "≤ 2" if seen["redis"] else "≤ 4"
        row(f"SQL queries of an unchanged poll, {with_redis}", str(seen["queries"]), aim)
        row(
            f"Unchanged poll, {with_redis}", f"{seen['ratio']:.2f} × an empty view's rate ({seen['rate']:.0f}/s of CPU)"
        )
        made = "taken from the cache" if seen["redis"] else "rendered each time"
        figure = f"{seen['changed']:.0f}/s of CPU, {seen['bytes'] / 1000:.0f} kB"
        row(f"Changed poll of 100 rows, {with_redis}: {made}", figure)


def measure_changes(site: Site, url: str) -> None:
    """Somebody disconnects a relationship in the cluster's own interface: how long until a page is served that says
    so."""
    rivera = Browser(url, "a.rivera")
    took = []
    for cluster in site.manifest["clusters"][:CHANGES]:
        context = ssl.create_default_context(cafile=cluster["ca_file"])
        head = {"Authorization": f"Bearer {cluster['executor_token']}"}
        with httpx.Client(base_url=cluster["url"], headers=head, verify=context) as api:
            rows = api.get("/v2/replication/target-relationships/status/").json()
            one = next(r for r in rows if r["state"] == "ESTABLISHED" and r["recovery_point"])
            filtered = f"/live/?q={one['id']}&seen="
            api.post(f"/v2/replication/target-relationships/{one['id']}/make-writable").raise_for_status()
        began = time.monotonic()
        wait_for("the change on the page", partial(_tells, rivera, filtered))
        took.append(time.monotonic() - began)
    row(
        "Change on a cluster → new fragment served",
        f"median {statistics.median(took):.1f} s, worst {max(took):.1f} s",
        "≤ 11 s",
    )


def _tells(browser: Browser, url: str) -> bool:
    return "Disconnect" in browser.http.get(url).text.partition("<tbody")[2].partition("</tbody>")[0]


def measure_approvals(site: Site, url: str) -> None:
    numbers = site.act("request_many", str(FAILOVERS))["requests"]
    osei = Browser(url, "k.osei")
    clicks = {number: osei.approve(number) for number in numbers}
    ids = site.act("relationships_of", *numbers)
    wait_for("all make-writables", lambda: len(_received(site, ids)) == len(numbers), 120)
    received = _received(site, ids)
    delays = sorted((received[number] - clicks[number]) * 1000 for number in numbers)
    p99 = delays[min(len(delays) - 1, round(len(delays) * 0.99))]
    row(
        f"Approve click → make-writable received ({len(delays)} failovers)",
        f"median {statistics.median(delays):.0f} ms, p99 {p99:.0f} ms",
        "median ≤ 150 ms",
    )


def measure_clicks_among_polls(site: Site, url: str) -> None:
    """How long the click itself takes, while others poll the list a hundred times a second."""
    numbers = site.act("request_many", str(CLICKS))["requests"]
    osei = Browser(url, "k.osei")
    sessions = [Browser(url, name).http.cookies["session"] for name in ("a.rivera", "k.osei", "a.rivera")]
    command = [sys.executable, "-m", "tests.bench.pollers", url, "100", *sessions]
    pollers = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    took = []
    try:
        for number in numbers:
            clicked = osei.approve(number)
            took.append((time.time() - clicked) * 1000)
    finally:
        pollers.send_signal(signal.SIGTERM)
        made = json.loads(pollers.communicate(timeout=60)[0])
    took.sort()
    p99 = took[min(len(took) - 1, round(len(took) * 0.99))]
    row(
        f"Approve click among {made['rate']:.0f} polls/s ({len(took)} clicks, {made['failed']:.0f} polls failed)",
        f"median {statistics.median(took):.0f} ms, p99 {p99:.0f} ms",
        "p99 < 1 s",
    )


def _received(site: Site, ids: dict[str, str]) -> dict[str, float]:
    by_id = {relationship: number for number, relationship in ids.items()}
    found: dict[str, float] = {}
    for entry in site.posts:
        relationship = entry["path"].split("/")[-2]
        if relationship in by_id:
            assert by_id[relationship] not in found, f"{by_id[relationship]} was sent twice"
            found[by_id[relationship]] = entry["at"]
    return found


def measure_ledgers() -> None:
    for engine in ("sqlite", "postgres"):
        measure_ledger(engine)


def measure_ledger(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ledger", engine], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for writers, rate in found["appends"].items():
        row(f"Ledger, {engine}: appends by {writers} at once", f"{rate}/s, no fork")
    row(f"Ledger, {engine}: verify 1,000,000", f"{found['seconds']} s, {found['peak_mb']} MB", "< 60 s, < 200 MB")
    for page, figure in found["pages"].items():
        row(f"Audit page of 1,000,000, {engine}: {page}", figure, "< 300 ms")


def measure_demo() -> None:
    """From `git clone` to the first page, with the package cache as it is."""
    folder = Path(tempfile.mkdtemp(prefix="desk-clone-"))
    port = free_port()
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE")}
    began = time.monotonic()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "desk")], check=True)
    with (folder / "log").open("wb") as log:
        desk = subprocess.Popen(
            ["make", "demo"], cwd=folder / "desk", env=env | {"PORT": str(port)}, stdout=log, stderr=log
        )
    try:
        wait_for("the demo", lambda: "Ctrl-C stops it" in (folder / "log").read_text(), 300)
        assert _status(f"http://127.0.0.1:{port}/sign-in/") == 200
        row("make demo, from clone to first page", f"{time.monotonic() - began:.0f} s")
    finally:
        desk.send_signal(signal.SIGTERM)
        desk.wait(30)
        shutil.rmtree(folder)


def measure_storms() -> None:
    for engine in ("sqlite", "postgres"):
        storm.measure(engine)


PARTS: dict[str, Callable[[], None]] = {
    "desk": measure_desk,
    "storm": measure_storms,
    "storm-sqlite": partial(storm.measure, "sqlite"),
    "storm-postgres": partial(storm.measure, "postgres"),
    "recovery": recovery.measure,
    "ledger": measure_ledgers,
    "demo": measure_demo,
}

if __name__ == "__main__":
    main(sys.argv[1:])
