"""The relay's followers: each goes on whatever happens to a round of it, and stops when it is told to."""

from __future__ import annotations

import threading
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest

from dashboard.audit import chain, sinks
from dashboard.audit.models import Sink
from dashboard.database import database_now
from dashboard.management.commands import relay
from tests.audit.ledger import tamper, write
from tests.web.fleet import browser, parsed

rounds: list[int] = []
over = threading.Event()


def stumbles() -> None:
    """A follower whose every round fails; the third one asks it to stop."""
    rounds.append(1)
    if len(rounds) == 3:
        over.set()
    raise RuntimeError("the receiver said something odd")


@pytest.mark.django_db(transaction=True)
def test_a_follower_survives_the_errors_of_its_rounds(caplog: pytest.LogCaptureFixture) -> None:
    thread = threading.Thread(target=relay.follow, args=(f"{__name__}.stumbles", over, 0))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(rounds) == 3
    assert caplog.text.count("A round of tests.audit.test_relay.stumbles failed") == 3


@pytest.mark.parametrize("name", relay.FOLLOWERS)
def test_every_follower_is_there(name: str) -> None:
    assert callable(relay.found(name))


@pytest.mark.django_db
def test_late_checkpoints_are_told_to_those_who_care_and_to_monitors(cast: Any, settings: Any) -> None:
    settings.CHECKPOINT_KEY = urlsafe_b64encode(bytes(32)).decode()
    write(1)
    late = chain.stamp(database_now() - timedelta(minutes=10))[:-1].replace("T", " ")
    tamper("UPDATE audit_entry SET at = %s WHERE seq = 1", (late,))
    for user, told in ((cast.okafor, True), (cast.admin, True), (cast.rivera, False), (cast.viewer, False)):
        text = parsed(browser(user).get("/approvals/")).text
        assert ("The audit trail has not been signed since" in text) is told
    answer = browser(cast.okafor).get("/health/").json()
    assert answer["checkpoints"]["entry"] == 0
    assert answer["checkpoints"]["late"][0].startswith("The audit trail has not been signed since")


@pytest.mark.django_db
def test_a_sink_that_the_settings_do_not_name_is_asked_for_nothing(settings: Any) -> None:
    settings.CHECKPOINT_FILE = ""
    for once in (sinks.to_file, sinks.to_syslog, sinks.to_webhook):
        once()
    assert not Sink.objects.filter(wanted=True).exists()
