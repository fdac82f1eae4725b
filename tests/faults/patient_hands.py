"""Hands whose kernel goes on delivering what was sent for as long as it likes: the control to what the product sets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.faults import hands  # sets Django up

from dashboard.failovers import clockwork, execution  # isort: skip

if __name__ == "__main__":
    patient = replace(clockwork.TIMING, user_timeout=timedelta(0))
    vars(execution)["TIMING"] = patient
    hands.main()
