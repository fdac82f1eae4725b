from __future__ import annotations

import pytest


@pytest.fixture
def lookout(db):
    # Imported here: this file is loaded before Django is.
    from dashboard.fleet import access
    from tests.fleet.lookout import Lookout

    watching = Lookout()
    watching.read()
    yield watching
    access.forget_transports()
