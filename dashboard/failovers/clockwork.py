"""The times in force: the standard ones; tests alone may scale them (TIME_SCALE together with TESTING=1)."""

from __future__ import annotations

from django.conf import settings

from dashboard.failovers.timing import STANDARD, Timing

TIMING: Timing = STANDARD if settings.TIME_SCALE == 1.0 else STANDARD.scaled(settings.TIME_SCALE)
