"""Journeys need Debian's chromium. Without it they are skipped with one loud line; REQUIRE_CHROMIUM=1 makes that a
failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"*** JOURNEYS NOT TRIED *** {CHROMIUM} is missing; on Debian: apt install chromium"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    journeys = [item for item in items if item.get_closest_marker("journey")]
    if CHROMIUM.exists() or not journeys:
        return
    if os.environ.get("REQUIRE_CHROMIUM") == "1":
        pytest.exit(MISSING, returncode=1)
    for item in journeys:
        item.add_marker(pytest.mark.skip(reason=MISSING))
