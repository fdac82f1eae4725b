"""The doorbell's other end: by primary key, a few lines each. A message carries nothing else (rule 1).

A step runs in the worker's `Lanes`, as the sweep's do in theirs: clusters that do not answer cannot take all threads
from the bells of the others. A bell that is lost with them is found by the sweep.
"""

from __future__ import annotations

from functools import partial

from celery import shared_task
from celery.signals import worker_shutdown

from dashboard.failovers import execution
from dashboard.failovers.models import Failover
from dashboard.lanes import Lanes

_steps = Lanes("send", prompt=8, waiting=8, each=8)


@shared_task(name="dashboard.failovers.tasks.execute")
def execute(failover_pk: int) -> None:
    cluster = Failover.objects.values_list("relationship__cluster_id", flat=True).get(pk=failover_pk)
    _steps.put(cluster, failover_pk, partial(execution.execute, failover_pk))


@worker_shutdown.connect
def finish(**_: object) -> None:
    """Told to stop, a worker first ends the steps that are under way."""
    _steps.close(forget=True)
