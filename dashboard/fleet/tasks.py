"""The doorbell's other end: by primary key. A reading runs in the worker's `Lanes`: clusters that do not answer cannot
take all threads from the others.
"""

from __future__ import annotations

from functools import partial

from celery import shared_task
from celery.signals import worker_shutdown

from dashboard.fleet import observe as watching
from dashboard.lanes import Lanes

_readings = Lanes("observe", prompt=8, waiting=12)


@shared_task(name="dashboard.fleet.tasks.observe")
def observe(cluster_pk: int) -> None:
    _readings.put(cluster_pk, cluster_pk, partial(watching.observe, cluster_pk))


@worker_shutdown.connect
def finish(**_: object) -> None:
    """Told to stop, a worker first ends the readings that are under way."""
    _readings.close(forget=True)
