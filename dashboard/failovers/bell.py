"""The doorbell: asks a worker to look at a failover now. Whoever rings promises nothing and waits for nothing.

A broker that is down, frozen or full costs latency only: the sweep finds the row within its next pass. So the bell is
rung from a thread of its own, with a message that dies after a minute, and its failure is a line in the log (rule 1).
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bell")


def ring(failover_pk: int) -> None:
    """Queue `execute(failover_pk)`. Returns at once and never raises."""
    _thread.submit(_ring, failover_pk)


def _ring(failover_pk: int) -> None:
    from dashboard.failovers.tasks import execute

    try:
        execute.apply_async((failover_pk,), expires=60, retry=False)
    except Exception as error:  # noqa: BLE001  whatever the broker does, the row is the promise
        log.warning("The bell for failover %s was not heard: %s", failover_pk, type(error).__name__)
