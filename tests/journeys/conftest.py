"""Journeys need Debian's chromium. Without it they are skipped with one loud line; REQUIRE_CHROMIUM=1 makes that a
failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"*** JOURNEYS NOT TRIED *** {CHROMIUM} is missing; on Debian: apt install chromium"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    journeys = [item for item in items if item.get_closest_marker("journey")]
    if CHROMIUM.exists() or not journeys:
        return
    if os.environ.get("REQUIRE_CHROMIUM") == "1":
        pytest.exit(MISSING, returncode=1)
    for item in journeys:
        item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from tests.journeys.desk import FLAGS

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture
def render(cast: Any) -> Callable[..., str]:
    from tests.journeys.scripting import rendered

    return partial(rendered, cast.rivera)
