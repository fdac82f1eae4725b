"""The matrix and its tests name the same rows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.matrix import MATRIX


def test_every_row_has_a_test_and_every_test_a_row():
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = {name for marks in re.findall(r"mark\.row\(([^)]*)\)", source) for name in re.findall(r"F\d+", marks)}
    assert named == set(MATRIX)


def test_at_every_named_place_some_process_is_struck():
    from dashboard.failovers.crashpoints import POINTS

    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    struck = set(re.findall(r'"([a-z_]+\.[a-z_]+)(?::\d+(?::[A-Z]+)?)?"', source))
    assert set(POINTS) - struck == set()
