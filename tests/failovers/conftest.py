from __future__ import annotations

import pytest


@pytest.fixture
def desk(db, cast):
    # Imported here: this file is loaded before Django is.
    from dashboard.fleet import access
    from tests.failovers.desk import Desk

    yield Desk(cast)
    access.forget_transports()


@pytest.fixture
def site(db, cast):
    from dashboard.fleet import access
    from tests.failovers import desk

    yield desk.site(cast)
    access.forget_transports()


@pytest.fixture
def pair(db):
    """One cluster with one relationship, which can be given more."""
    from dashboard.fleet import access
    from tests.fleet.lookout import Lookout

    watching = Lookout()
    watching.read()
    yield watching
    access.forget_transports()
