from __future__ import annotations

import pytest

from dashboard.fleet import access
from tests.failovers.desk import Desk


@pytest.fixture
def desk(db, cast):
    yield Desk(cast)
    access.forget_transports()
