"""`make bench`: what the product promises about speed, measured on real processes; prints a table and judges nothing.

Read ratios and CPU seconds; absolute times depend on the machine and on what else runs on it, of which the load at the
beginning tells. `python -m tests.bench PART…` measures these parts alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from tests.bench import desk, recovery, storm
from tests.bench.table import row, table
from tests.running.processes import ROOT, eventually, free_port


def main(wanted: list[str]) -> None:
    for name in wanted or PARTS:
        row(f"Load of the machine before “{name}”", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        for measure in PARTS[name]:
            measure()
    table()


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
        eventually(lambda: "Ctrl-C stops it" in (folder / "log").read_text(), within=300)
        assert _served(port)
        row("make demo, from clone to first page", f"{time.monotonic() - began:.0f} s")
    finally:
        desk.send_signal(signal.SIGTERM)
        desk.wait(30)
        shutil.rmtree(folder)


def _served(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/sign-in/").status_code == 200


ENGINES = ("sqlite", "postgres")
PARTS: dict[str, list[Callable[[], None]]] = {
    "desk": [desk.measure],
    "storm": [partial(storm.measure, engine) for engine in ENGINES],
    "watched": [partial(storm.measure, engine, storm.MANY) for engine in ENGINES],
    "recovery": [partial(recovery.measure, engine) for engine in ENGINES],
    "ledger": [partial(measure_ledger, engine) for engine in ENGINES],
    "demo": [measure_demo],
}

if __name__ == "__main__":
    main(sys.argv[1:])
