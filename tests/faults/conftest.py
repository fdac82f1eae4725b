from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import rows
from tests.faults.matrix import MATRIX


@pytest.hookimpl(tryfirst=True)  # before pytest itself chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    rows.remember(here, "row")
    for item in here:
        item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in rows.summary("row", MATRIX, terminalreporter):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with the cast in it, made once; each site begins with a copy."""
    from tests.faults.site import Site

    site = Site(tmp_path_factory.mktemp("ground"))
    try:
        site.prepare()
    finally:
        site.close()
    path = site.folder / "desk.sqlite3"
    with closing(sqlite3.connect(path)) as database:  # into the one file, from the journal beside it
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """URL of a new database with tables and cast, on a server of the tests. The server starts with the first."""
    from tests.faults.site import own_database
    from tests.postgres import PostgresMissing, running_postgres

    with ExitStack() as stack:
        made: list[str] = []

        def database() -> str:
            if not made:
                try:
                    server = stack.enter_context(running_postgres())
                except PostgresMissing as missing:
                    pytest.skip(str(missing))
                made.extend((server, prepared(server)))
            server, template = made
            return own_database(server, template=template)

        yield database


def prepared(server: str) -> str:
    """The name of a database with tables and cast, to copy."""
    import tempfile

    from tests.faults.site import Site, own_database

    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), database=own_database(server))
        try:
            site.prepare()
        finally:
            site.close()
        return urlsplit(site.env["DATABASE_URL"]).path.lstrip("/")


@pytest.fixture
def make_site(tmp_path: Path, ground: Path, postgres: Callable[[], str]) -> Iterator[Callable[..., Any]]:
    """A desk with its clusters read: `make_site(engine="postgres", world=…, scale=0.05)`."""
    from tests.faults.site import Site

    with ExitStack() as stack:

        def make(*, engine: str = "sqlite", database: str | None = None, world: Any = None, scale: float = 0.1) -> Site:
            database = postgres() if engine == "postgres" else database
            site = Site(tmp_path, database=database, ground=ground, scale=scale)
            stack.callback(site.close)
            site.simulate(world)
            site.prepare()
            return site

        yield make


@pytest.fixture
def site(make_site: Callable[..., Any]) -> Any:
    """The pair of clusters, a desk on SQLite, and a broker. No driver runs yet."""
    made = make_site()
    made.redis()
    return made


@pytest.fixture
def browse() -> Iterator[Callable[[Any, str], Any]]:
    """Somebody who signs in at a desk's web server: `browse(site, "k.osei")`."""
    from tests.bench.browser import Browser

    with ExitStack() as stack:

        def sign_in(site: Any, name: str) -> Browser:
            browser = Browser(site.url, name)
            stack.callback(browser.http.close)
            return browser

        yield sign_in
