from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def hook() -> Iterator[Any]:
    from tests.notifications.receivers import Hook

    receiver = Hook()
    yield receiver
    receiver.close()


@pytest.fixture
def other() -> Iterator[Any]:
    from tests.notifications.receivers import Hook

    receiver = Hook()
    yield receiver
    receiver.close()


@pytest.fixture
def post() -> Iterator[Any]:
    from tests.notifications.receivers import MailServer

    server = MailServer()
    yield server
    server.close()


@pytest.fixture
def chat(settings: Any, db: None, hook: Any) -> Any:
    """One chat is configured, and it was before anything happened."""
    from tests.notifications.ledger import enrol

    settings.DESK_URL = "https://desk.example"
    settings.NOTIFY_URLS = {"chat": hook.url}
    enrol()
    return hook


@pytest.fixture
def mail(settings: Any, cast: Any, post: Any) -> Any:
    """Everybody of the cast has an address, and mail works."""
    from dashboard.accounts.models import Person
    from tests.notifications.ledger import enrol

    settings.DESK_URL = "https://desk.example"
    settings.NOTIFY_MAIL, settings.NOTIFY_FROM = post.url, "desk@desk.example"
    for person in Person.objects.all():
        Person.objects.filter(pk=person.pk).update(email=f"{person.label}@people.example")
    enrol()
    return post


@pytest.fixture
def desk(db: None, cast: Any) -> Iterator[Any]:
    """The desk of the failovers' tests: one simulated pair of clusters, and the verbs on it."""
    from dashboard.fleet import access
    from tests.failovers.desk import Desk

    yield Desk(cast)
    access.forget_transports()
