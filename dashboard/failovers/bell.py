"""The doorbell: asks a worker to look at a failover now. Whoever rings promises nothing and waits for nothing.

A broker that is down, frozen or full costs latency only: the sweep finds the row within its next pass. So the bell is
rung from a thread of its own, with a message that dies after a minute, and its failure is a line in the log (rule 1).

- Bells do not pile up. When one is not heard, those that wait behind it are dropped: the broker that let the first wait
  for seconds would do the same with each of them.
- No process waits for them at its end: the thread is a daemon.
"""

from __future__ import annotations

import logging
import queue
import threading
from functools import cache

log = logging.getLogger(__name__)
_waiting: queue.Queue[int] = queue.Queue()
_lock = threading.Lock()


def ring(failover_pk: int) -> None:
    """Queue `execute(failover_pk)`. Returns at once and never raises."""
    _waiting.put(failover_pk)
    with _lock:
        _ringer()


@cache
def _ringer() -> threading.Thread:
    """Begins with the first bell of a process: a server forks before that, and threads do not come along."""
    thread = threading.Thread(target=_ring_all, name="bell", daemon=True)
    thread.start()
    return thread


def _ring_all() -> None:
    while True:
        failover_pk = _waiting.get()
        if not _is_heard(failover_pk):
            _drop_the_others()
        _waiting.task_done()


def _is_heard(failover_pk: int) -> bool:
    from dashboard.failovers.tasks import execute

    try:
        execute.apply_async((failover_pk,), expires=60, retry=False)
    except Exception as error:  # noqa: BLE001  whatever the broker does, the row is the promise
        log.warning("The bell for failover %s was not heard: %s", failover_pk, type(error).__name__)
        return False
    return True


def _drop_the_others() -> None:
    for _ in range(_waiting.qsize()):
        _waiting.get_nowait()
        _waiting.task_done()
