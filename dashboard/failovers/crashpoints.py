"""Named places at which the tests stop a process: `CRASH_AT=send.after_intent` (only together with TESTING=1) sends
SIGKILL to this very process there, so that nothing behind that line runs, no handler, no flush.

`CRASH_AT=NAME:N` strikes when the place is reached for the Nth time, `CRASH_AT=NAME:N:STOP` sends another signal
(SIGSTOP: as when a machine is paused). A test that plays several drivers in one process listens instead (`listen`).
In production a place is one comparison with None. With rule 12: what dies here, the models and the fault matrix
survive.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from itertools import count

from django.conf import settings

from dashboard.failovers.lifecycle import MOVES

POINTS = (
    "request.in_commit",
    "request.after_commit",
    "approve.after_commit",
    "send.before_read",
    "send.after_read",
    "send.before_intent",
    "send.in_intent",
    "send.after_intent",
    "send.after_answer",
    "send.after_record",
    "watch.after_read",
    "watch.before_success",
    "watch.after_success",
    *(f"{name}.changed" for name in MOVES),  # in the transaction of each move, between its UPDATE and its entry
)


def reach(point: str) -> None:
    """This place is reached now."""
    if _act is not None:
        _act(point)


def listen(act: Callable[[str], None] | None) -> None:
    """Call `act` with the name of each place that this process reaches; None: no longer. For tests."""
    global _act  # noqa: PLW0603 - the one seam of this module
    _act = act


def armed(text: str) -> Callable[[str], None]:
    """What CRASH_AT asks for. Raises ValueError for a place that does not exist."""
    name, _, rest = text.partition(":")
    nth, _, how = rest.partition(":")
    if name not in POINTS:
        raise ValueError(f"CRASH_AT={text}: there is no such place.")
    number = signal.Signals[f"SIG{how or 'KILL'}"]
    times, at = count(1), int(nth or 1)

    def act(point: str) -> None:
        if point == name and next(times) == at:
            # To this very thread, which then takes no step further. A signal to the process may be taken by another
            # of its threads, and a SIGSTOP strikes this one only when that one has come to run.
            signal.pthread_kill(threading.get_ident(), number)

    return act


_asked = os.environ.get("CRASH_AT", "") if settings.TESTING else ""
_act: Callable[[str], None] | None = armed(_asked) if _asked else None
