"""A key that is lost, or a ledger that takes no entry, holds the desk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers import recording, selfcheck
from dashboard.failovers.models import Heartbeat, Hold
from dashboard.fleet import access
from dashboard.fleet.models import Cluster
from tests.audit.ledger import tamper, write
from tests.failovers.checking import Sweeping

pytestmark = pytest.mark.django_db


# ── The keys ─────────────────────────────────────────────────────────────────


def everything_held() -> list[tuple[str, str]]:
    return list(Hold.objects.filter(lifted_at=None).order_by("pk").values_list("scope", "reason"))


def clusters(*names: str) -> None:
    for name in names:
        Cluster.objects.create(
            name=name,
            url=f"https://{name}.example:8000",
            uuid=f"uuid-{name}",
            reader_token=access.seal("reader", f"uuid-{name}", "r"),
            executor_token=access.seal("executor", f"uuid-{name}", "x"),
        )


def test_keys_that_open_every_token_hold_nothing() -> None:
    clusters("dr-east", "dr-west")
    selfcheck.look()
    assert everything_held() == []


@pytest.mark.parametrize("purpose", ["executor", "reader"])
def test_a_token_that_its_key_does_not_open_holds_its_cluster(purpose: Any) -> None:
    """Sealed for another cluster, as after a row was put back by hand."""
    clusters("dr-east", "dr-west")
    Cluster.objects.filter(name="dr-west").update(**{f"{purpose}_token": access.seal(purpose, "uuid-dr-east", "x")})
    selfcheck.look()
    [(scope, reason)] = everything_held()
    assert scope == "dr-west"
    assert reason.startswith(f"{purpose.upper()}_KEY does not open the {purpose} token of dr-west.")


@pytest.mark.parametrize("purpose", ["executor", "reader"])
def test_a_key_that_was_lost_is_one_alarm_and_not_one_for_each_cluster(settings: Any, purpose: Any) -> None:
    clusters("dr-east", "dr-west")
    setattr(settings, f"{purpose.upper()}_KEY", Fernet.generate_key().decode())
    selfcheck.look()
    [(scope, reason)] = everything_held()
    assert scope == ""
    assert reason.startswith(f"{purpose.upper()}_KEY opens none of the {purpose} tokens that are stored.")


def test_a_cluster_that_is_only_watched_needs_no_executor_key(settings: Any) -> None:
    clusters("dr-east")
    Cluster.objects.update(executor_token="")
    settings.READER_KEY = Fernet.generate_key().decode()
    selfcheck.look()
    assert everything_held() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["EXECUTOR_KEY", "READER_KEY"])
def test_with_a_lost_key_nothing_is_sent(desk: Any, settings: Any, key: str) -> None:
    desk.approved()
    setattr(settings, key, Fernet.generate_key().decode())
    sweep = Sweeping()
    sweep.pass_by()
    sweep.pass_by()
    assert desk.posts == 0
    [(_scope, reason)] = everything_held()
    assert reason.startswith(key)


# ── Whether an entry can be made at all ──────────────────────────────────────


def beats() -> dict[str, datetime]:
    return dict(Heartbeat.objects.values_list("driver", "at"))


def test_an_entry_that_is_tried_leaves_nothing_but_the_news_that_it_can_be_made() -> None:
    write(2)
    recording.prove()
    assert "ledger" in beats()
    assert Entry.objects.count() == 2
    assert chain.verify().ok


def test_a_ledger_that_takes_no_entry_is_not_proved() -> None:
    write(2)
    recording.prove()
    at = beats()["ledger"]
    tamper("DELETE FROM audit_entry WHERE seq = 2")
    recording.prove()
    assert beats()["ledger"] == at


NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("swept", "proved", "full", "says"),
    [
        (0, 0, False, False),
        (2, 40, False, False),  # one try that failed is no news
        (2, 50, False, True),  # the sweep comes round, and the ledger takes nothing
        (600, 600, False, False),  # the sweep is dead, and nothing more is known
        (600, 600, True, True),
        (None, None, True, False),  # a desk that was never begun
    ],
)
def test_when_the_ledger_is_said_to_take_no_entry(
    monkeypatch: pytest.MonkeyPatch, swept: int | None, proved: int | None, full: bool, says: bool
) -> None:
    def ago(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOW - timedelta(seconds=seconds)

    room = 0 if full else 10**12
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=room))
    if full and connection.vendor != "sqlite":
        says = False  # its disk is not this one
    assert recording.refused_since(ago(swept), ago(proved), NOW) == (ago(proved) if says else None)
