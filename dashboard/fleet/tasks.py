"""The doorbell's other end: by primary key, one line each."""

from __future__ import annotations

from celery import shared_task

from dashboard.fleet import observe as watching


@shared_task(name="dashboard.fleet.tasks.observe")
def observe(cluster_pk: int) -> None:
    watching.observe(cluster_pk)
