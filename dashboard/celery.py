"""Celery is a doorbell. The database is the queue: a message that is lost, doubled, late or never sent may
change latency only, because the sweep finds every open failover and every due cluster by itself.

Two queues, so that a slow cluster never delays a failover:
  send     `failovers.tasks.execute`, the only queue whose worker holds EXECUTOR_KEY
  observe  `fleet.tasks.observe`
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("dashboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["dashboard.fleet", "dashboard.failovers"])
