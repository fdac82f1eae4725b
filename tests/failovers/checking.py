"""What stands after the desk has looked at itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from dashboard.audit import fence
from dashboard.audit.models import Head
from dashboard.failovers.models import Hold
from dashboard.failovers.sweep import Sweep

BACK = "The database went back in time"


def standing() -> list[str]:
    return list(Hold.objects.filter(lifted_at=None, scope="").values_list("reason", flat=True))


class Sweeping:
    """A sweep as it starts: its first pass asks before it sends."""

    def __init__(self) -> None:
        self._done_at: dict[str, datetime] = {}

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(50):
            self.pass_by()
            if holds():
                return
        raise AssertionError("it never came to that")

    def pass_by(self) -> None:
        """One pass, and the end of the steps that it began."""
        sweep = Sweep(with_broker=False)
        sweep._done_at = self._done_at
        try:
            sweep.once()
        finally:
            sweep.close()


def known() -> dict[str, Any]:
    return dict(json.loads(fence.path(Head.objects.get()).read_text()))
