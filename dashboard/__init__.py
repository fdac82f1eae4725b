"""Failover Desk: watch Qumulo replication, ask for a failover, approve it, see it happen."""

from dashboard.celery import app as celery_app

__all__ = ["celery_app"]
