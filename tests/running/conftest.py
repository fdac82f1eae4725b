"""Tests of this folder that touch no database of the tests start processes with databases of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What has nothing to do with the engine under test is not run a second time for it."""
    if os.environ["DATABASE_URL"].startswith("sqlite"):
        return
    again = [item for item in items if "running" in item.path.parts and not item.get_closest_marker("django_db")]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in again]
