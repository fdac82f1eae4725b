"""Named places where the tests kill a process: `CRASH_AT=after_intent` (only together with TESTING=1) sends SIGKILL to
this very process there, so that nothing behind that line runs, no handler, no flush. In production this does
nothing."""

from __future__ import annotations

import os
import signal

from django.conf import settings

POINTS = (
    "approve.after_commit",
    "send.after_read",
    "send.before_intent",
    "send.in_intent",
    "send.after_intent",
    "send.after_answer",
    "send.after_record",
    "watch.after_read",
    "watch.before_success",
)


def reach(point: str) -> None:
    """Die here when the tests ask for it."""
    if settings.TESTING and os.environ.get("CRASH_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
