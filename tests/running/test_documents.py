"""What people read is what the program does."""

from __future__ import annotations

import re

from tests.running.processes import ROOT
from tests.running.test_compose import settings_of_the_desk


def test_every_setting_is_in_the_list_and_no_other() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    marked = {name for row in rows if "*secret*" in row for name in re.findall(r"`([A-Z_]+)`", row)}
    known = settings_of_the_desk()
    files = {name for name in known if name.removesuffix("_FILE") in known - {name}}
    assert listed == known - files
    assert files <= {f"{name}_FILE" for name in marked}
