"""Celery is a doorbell. The database is the queue: a message that is lost, doubled, late or never sent may
change latency only, because the sweep finds every open failover and every due cluster by itself.

Two queues, so that a slow cluster never delays a failover:
  send     `failovers.tasks.execute`, the only queue whose worker holds EXECUTOR_KEY
  observe  `fleet.tasks.observe`
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("dashboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["dashboard.fleet", "dashboard.failovers"])


@signals.setup_logging.connect
def leave_logging_to_settings(**_: Any) -> None:
    """Celery sets up logging only where nobody listens to this signal."""


@signals.worker_init.connect
def refuse_to_start_when_misconfigured(sender: Any, **_: Any) -> None:
    """Celery logs an exception here and goes on; only leaving the program stops a worker."""
    from dashboard import database
    from dashboard.checks import refuse_to_start

    database.wait_at_most(database.FOR_DRIVERS)
    sends = "send" in sender.app.amqp.queues.consume_from
    try:
        refuse_to_start(role="worker-send" if sends else "worker-observe")
    except ImproperlyConfigured as refusal:
        raise SystemExit(str(refusal)) from None
    if sends:  # before it takes the first bell: a database that was put back must not be worked off
        from dashboard.failovers import selfcheck

        try:
            selfcheck.look()
        except (OperationalError, InterfaceError) as error:
            raise SystemExit(f"The database did not answer before everything was checked: {error}") from None
