from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def scene(db: None, cast: Any) -> Iterator[Any]:
    """A desk with one simulated pair of clusters, whose target can be made to say anything."""
    # Imported here: this file is loaded before Django is.
    from dashboard.fleet import access
    from tests.hostile.scene import Scene

    yield Scene(cast)
    access.forget_transports()
