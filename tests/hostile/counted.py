"""`31 rows: 31 passed, 0 skipped` at the end of a run, and a run of the whole folder that lacks a row fails.

A plugin of the whole run, not of the folder: with `pytest -n` the process that reports never loads the folder's own
conftest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import rows
from tests.hostile.table import TABLE

MARKER = "hostile"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rows.remember((item for item in items if item.path.is_relative_to(HERE)), MARKER)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in rows.summary(MARKER, TABLE, terminalreporter):
        terminalreporter.write_line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.exitstatus != pytest.ExitCode.OK or not _is_whole(session.config):
        return
    outcomes, _reasons = rows.count(reporter, MARKER)
    if outcomes.keys() != TABLE.keys():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_whole(config: pytest.Config) -> bool:
    """Whether this run was to hold every test of the folder."""
    asked = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args if "::" not in arg]
    chosen: str = config.option.markexpr  # "not journey" leaves all of it in, "postgres" does not
    narrowed = config.option.keyword or config.option.collectonly or not (chosen == "" or chosen.startswith("not "))
    return not narrowed and any(HERE.is_relative_to(path) for path in asked)
