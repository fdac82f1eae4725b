"""Counts rows of a table of promises by what their tests did: `45 rows: 43 passed, 2 skipped (…)`.

A test says which row it proves with a marker (`@pytest.mark.row("F10")`); a row may have several tests. A row passes
when all of its tests passed, and is missing when it has none, which fails a run of the whole table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

STRONGEST = ("failed", "skipped", "passed")


def remember(items: Iterable[pytest.Item], marker: str) -> None:
    """Have each test's report say which rows it is about, on whichever process it runs."""
    for item in items:
        for mark in item.iter_markers(marker):
            item.user_properties.extend((marker, name) for name in mark.args)


def count(reporter: Any, marker: str) -> tuple[dict[str, str], dict[str, str]]:
    """Row → how it ended, and row → why it was skipped."""
    outcomes: dict[str, set[str]] = defaultdict(set)
    reasons: dict[str, str] = {}
    for outcome, category in (("passed", "passed"), ("failed", "failed"), ("failed", "error"), ("skipped", "skipped")):
        for report in reporter.stats.get(category, []):
            for name in (value for key, value in getattr(report, "user_properties", ()) if key == marker):
                outcomes[name].add(outcome)
                if outcome == "skipped" and isinstance(report.longrepr, tuple):
                    reasons[name] = str(report.longrepr[2]).removeprefix("Skipped: ")
    return {name: next(o for o in STRONGEST if o in found) for name, found in outcomes.items()}, reasons


def summary(marker: str, table: Mapping[str, str], reporter: Any) -> list[str]:
    """The lines for the end of a run; rows without a test are named."""
    outcomes, reasons = count(reporter, marker)
    if not outcomes:
        return []
    by = {kind: [name for name in table if outcomes.get(name) == kind] for kind in STRONGEST}
    why = "; ".join(f"{name}: {reasons.get(name, 'no reason')}" for name in by["skipped"])
    line = f"{len(table)} rows: {len(by['passed'])} passed, {len(by['skipped'])} skipped"
    line += f" ({why})" if why else ""
    line += f", {len(by['failed'])} failed ({', '.join(by['failed'])})" if by["failed"] else ""
    missing = [name for name in table if name not in outcomes]
    unknown = [name for name in outcomes if name not in table]
    lines = [line]
    lines += [f"without a test in this run: {', '.join(missing)}"] if missing else []
    return [*lines, *([f"not in the table: {', '.join(unknown)}"] if unknown else [])]
