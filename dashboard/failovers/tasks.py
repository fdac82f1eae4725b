"""The doorbell's other end: by primary key, two lines each. A message carries nothing else (rule 1)."""

from __future__ import annotations

from celery import shared_task

from dashboard.failovers import execution


@shared_task(name="dashboard.failovers.tasks.execute")
def execute(failover_pk: int) -> None:
    execution.execute(failover_pk)
