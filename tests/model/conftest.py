from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def a_connection(transactional_db: None) -> Iterator[None]:
    """To the database, for nights alone: what they replaced on it goes with it."""
    from django.db import connection

    yield
    connection.close()
