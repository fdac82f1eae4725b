"""What the network, and what is at its other end, do to a request."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.faults.site import ROOT


def _no_namespace() -> str:
    """Why there can be no network of its own here, or ""."""
    missing = [name for name in ("unshare", "ip", "nft") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        return f"a network namespace needs root, unshare, ip and nft (missing: {', '.join(missing) or 'root'})"
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, text=True)
    return tried.stderr.strip()


@pytest.mark.row("F15")
def test_what_the_network_swallowed_does_not_arrive_after_the_senders_death(tmp_path, ground):
    if why := _no_namespace():
        pytest.skip(why)
    command = ["unshare", "--net", sys.executable, "-m", "tests.faults.blackhole", str(tmp_path), str(ground)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.endswith("no late make-writable; the control's came\n"), done.stdout + done.stderr
