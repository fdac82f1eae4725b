"""A ledger with a few entries, and whoever signs its checkpoints."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def entries(db: None) -> list[Any]:
    from tests.audit.ledger import write

    return write(8)


@pytest.fixture
def notary() -> Any:
    from tests.audit.verifying import Notary

    return Notary()
