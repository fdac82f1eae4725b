"""The PostgreSQL engine of `dashboard.database`, in the shape that Django looks for: `base.DatabaseWrapper`."""

from __future__ import annotations

from django.db.utils import OperationalError


class CommitUnknown(OperationalError):
    """The connection ended before the answer to COMMIT came: what was written is there, or it is not."""
