"""A database that was put back from a backup believes that finished failovers are still to do. It comes up held, and
nothing is sent.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as desk_settings
from django.db import OperationalError, connection, connections

from dashboard.audit import chain, fence, guards
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.failovers import recording, selfcheck
from dashboard.failovers.holds import hold, hold_once, lift
from dashboard.failovers.models import Failover, Heartbeat, Hold
from dashboard.failovers.sweep import Sweep
from dashboard.fleet import access
from dashboard.fleet.models import Cluster
from tests.audit.ledger import tamper, write
from tests.postgres import find_programs

BACK = "The database went back in time"


def standing() -> list[str]:
    return list(Hold.objects.filter(lifted_at=None, scope="").values_list("reason", flat=True))


# ── A real backup, put back ──────────────────────────────────────────────────


def copy_of_the_database(folder: Path) -> Callable[[], None]:
    """Take a copy as an operator would; returns how to put it back."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        copy = folder / "backup.sqlite3"
        with sqlite3.connect(name) as live, sqlite3.connect(copy) as kept:
            live.backup(kept)

        def put_back() -> None:
            connections.close_all()
            with sqlite3.connect(copy) as kept, sqlite3.connect(name) as live:
                kept.backup(live)

        return put_back
    host, user = str(connection.settings_dict["HOST"]), str(connection.settings_dict["USER"])
    to = ["-h", host, "-U", user, "-d", name]
    dump = folder / "backup.sql"
    subprocess.run([str(find_programs() / "pg_dump"), *to, "--clean", "--if-exists", "-f", str(dump)], check=True)

    def restore() -> None:
        connections.close_all()
        command = [str(find_programs() / "psql"), *to, "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f", str(dump)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return restore


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("remembered", [True, False])
def test_a_backup_of_an_approved_failover_is_not_worked_off(desk: Any, tmp_path: Path, remembered: bool) -> None:
    """People stopped it after the backup was taken; the backup does not know. Without the file outside of the
    database, it is sent: that is the negative of this test.
    """
    failover = desk.approved()
    put_back = copy_of_the_database(tmp_path)
    hold(actor=SYSTEM, scope="", reason="The source is back, do not fail over.")
    selfcheck.look()
    if not remembered:
        fence.path(Head.objects.get()).unlink()
    put_back()
    assert standing() == []
    sweep = Sweeping()
    sweep.until(lambda: bool(standing()) if remembered else desk.posts == 1)
    sweep.pass_by()
    assert desk.posts == (0 if remembered else 1)
    if remembered:
        [reason] = standing()
        assert reason.startswith(BACK)
        assert Failover.objects.get(pk=failover.pk).state == "approved"
        assert chain.verify().ok


@pytest.mark.django_db(transaction=True)
def test_a_look_that_the_database_cut_short_is_made_again_before_anything_is_sent(desk: Any) -> None:
    desk.approved()
    fence.path(Head.objects.get()).write_text("{}")

    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "audit_head" in sql:
            raise OperationalError("the database went away")
        return execute(sql, *rest)

    sweep = Sweeping()
    with connection.execute_wrapper(away), pytest.raises(OperationalError):
        sweep.pass_by()
    sweep.pass_by()
    assert len(standing()) == 1
    assert desk.posts == 0


class Sweeping:
    """A sweep as it starts: its first pass asks before it sends."""

    def __init__(self) -> None:
        self._done_at: dict[str, datetime] = {}

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(50):
            self.pass_by()
            if holds():
                return
        raise AssertionError("it never came to that")

    def pass_by(self) -> None:
        """One pass, and the end of the steps that it began."""
        sweep = Sweep(with_broker=False)
        sweep._done_at = self._done_at
        try:
            sweep.once()
        finally:
            sweep.close()


# ── What the file says ───────────────────────────────────────────────────────

pytestmark = pytest.mark.django_db


def known() -> dict[str, Any]:
    return dict(json.loads(fence.path(Head.objects.get()).read_text()))


def test_it_remembers_the_head_and_nothing_is_wrong() -> None:
    entries = write(3)
    selfcheck.look()
    assert (known()["entry"], known()["hash"]) == (3, bytes(entries[-1].hash).hex())
    write(2)
    selfcheck.look()
    assert known()["entry"] == 5
    assert standing() == []


def test_a_shorter_ledger_is_held_and_told_once() -> None:
    write(5)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 3")
    Head.objects.update(seq=3, hash=bytes(Entry.objects.get(seq=3).hash))
    fence.remember()
    assert known()["entry"] == 5, "the relay must not forget it before somebody is told"
    selfcheck.look()
    assert [reason[: len(BACK)] for reason in standing()] == [BACK]
    assert "its audit trail had come to entry 5, and has it no more as it was" in standing()[0]
    selfcheck.look()
    assert len(standing()) == 1
    assert known()["entry"] == 4  # the entry of the hold: from here on it must not go back


def test_a_ledger_that_went_another_way_is_held() -> None:
    write(3)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    Head.objects.update(seq=2, hash=bytes(Entry.objects.get(seq=2).hash))
    write(4)
    assert chain.verify().ok
    selfcheck.look()
    assert "its audit trail had come to entry 3, and has it no more as it was" in standing()[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"entry": 1}', '{"entry": "x", "hash": "", "instance": ""}'])
def test_a_file_that_cannot_be_read_is_held(text: str) -> None:
    write(1)
    fence.remember()
    fence.path(Head.objects.get()).write_text(text)
    selfcheck.look()
    assert "which knows how far the audit trail had come, cannot be read" in standing()[0]


def test_a_file_of_another_ledger_is_held() -> None:
    write(1)
    fence.remember()
    Head.objects.update(instance="11111111-1111-4111-8111-111111111111")
    selfcheck.look()
    assert "is about another audit trail" in standing()[0]


def test_a_file_that_cannot_be_written_stops_nothing(settings: Any) -> None:
    settings.FENCE_FILE = "/dev/null/fence"
    write(1)
    with pytest.raises(OSError):
        fence.remember()
    selfcheck.look()


def test_what_could_not_be_put_in_its_place_leaves_nothing_behind(settings: Any, tmp_path: Path) -> None:
    settings.FENCE_FILE = str(tmp_path / "fence")
    (tmp_path / "fence").mkdir()
    write(1)
    with pytest.raises(OSError):
        fence.start_over()
    assert [each.name for each in tmp_path.iterdir()] == ["fence"]


def test_what_others_record_and_write_down_meanwhile_is_no_way_back() -> None:
    write(1)
    fence.remember()
    begun: list[bool] = []

    def others_go_on(execute: Any, sql: str, *rest: Any) -> Any:
        """Just behind the first look at the head, the relay records and writes down more."""
        answer = execute(sql, *rest)
        if not begun and "audit_head" in sql:
            begun.append(True)
            write(1)
            fence.start_over()
        return answer

    with connection.execute_wrapper(others_go_on):
        assert fence.fault() is None
    assert known()["entry"] == 2


def test_by_default_it_lies_outside_of_the_data_folder(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.FENCE_FILE = ""
    monkeypatch.setenv("HOME", "/home/desk")
    head = Head.objects.get()
    assert fence.path(head) == Path(f"/home/desk/.local/state/failover-desk/{head.instance}")
    assert desk_settings.DATA not in fence.path(head).parents


# ── The rest of what it looks at ─────────────────────────────────────────────


def test_a_broken_ledger_is_held() -> None:
    write(5)
    tamper("UPDATE audit_entry SET payload = '{}' WHERE seq = 4")
    selfcheck.look()
    assert standing()[0].startswith("The audit trail is broken at entry 4 (content)")


def test_a_missing_guard_is_held() -> None:
    guards.drop(connection)
    try:
        selfcheck.look()
        assert "The database lacks its guards: audit_entry_never_changes, " in standing()[0]
    finally:
        guards.install(connection)


def test_a_missing_constraint_is_held() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    assert standing() == ["The database lacks its guards: one_open_failover_per_relationship."]


@pytest.mark.django_db(transaction=True)  # inside a transaction SQLite does not change its mind
def test_a_database_that_forgets_what_it_committed_is_held(settings: Any) -> None:
    settings.TESTING = False
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = NORMAL")
    try:
        selfcheck.look()
    finally:
        connection.close()
    says = "synchronous is 1, not FULL" if connection.vendor == "sqlite" else "PostgreSQL runs with fsync = off"
    assert says in standing()[0]


def test_a_hold_that_is_lifted_while_its_cause_stands_comes_back_with_the_same_reason() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    before = standing()
    lift(actor=SYSTEM, scope="", reason="It will be fine, I think.")
    assert standing() == []
    selfcheck.look()
    assert standing() == before != []


@pytest.mark.django_db(transaction=True)
def test_the_sweep_looks_again_at_once_when_a_hold_is_lifted(desk: Any) -> None:
    sweep = Sweeping()
    try:
        drop("one_open_failover_per_relationship")
        sweep.pass_by()
        lift(actor=SYSTEM, scope="", reason="It will be fine, I think.")
        desk.approved()
        sweep.pass_by()
        assert standing() == ["The database lacks its guards: one_open_failover_per_relationship."]
        assert desk.posts == 0
    finally:
        put_back()


def test_a_check_that_stumbles_is_a_reason_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles() -> Any:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setitem(selfcheck.CHECKS, "guards", ("", stumbles))
    selfcheck.look()
    assert standing() == ["The check of guards failed (ZeroDivisionError); the log of the desk says how."]


def test_a_fault_that_is_too_long_or_ugly_for_a_hold_holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [selfcheck.Fault("A file called \u202eterces " + "says so and " * 300)]
    monkeypatch.setitem(selfcheck.CHECKS, "guards", ("", lambda: iter(faults)))
    selfcheck.look()
    selfcheck.look()
    [reason] = standing()
    assert reason.startswith("A file called ")
    assert "\u202e" not in reason


def test_of_two_that_find_the_same_one_writes_it_down() -> None:
    drop("one_open_failover_per_relationship")
    selfcheck.look()
    selfcheck.look(sends=False)
    assert len(standing()) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_that_find_the_same_at_the_same_moment_one_writes_it_down() -> None:
    def found(_: int) -> None:
        try:
            hold_once(actor=SYSTEM, scope="", reason="The database lacks its guards: one.")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(found, range(12)))
    assert len(standing()) == 1
    assert Entry.objects.filter(tag="hold.set").count() == 1


def test_a_process_that_does_not_send_holds_and_leaves_the_fence_alone() -> None:
    write(3)
    selfcheck.look(sends=False)
    assert not fence.path(Head.objects.get()).exists()
    selfcheck.look()
    write(1)
    selfcheck.look(sends=False)
    assert known()["entry"] == 3


def test_what_could_not_be_told_is_not_forgotten() -> None:
    """The fence starts over when people were told; a ledger that takes no entry told nobody."""
    write(3)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    selfcheck.look()
    assert standing() == []
    assert known()["entry"] == 3
    Head.objects.update(seq=2, hash=bytes(Entry.objects.get(seq=2).hash))
    selfcheck.look()
    assert [reason[: len(BACK)] for reason in standing()] == [BACK]


def test_without_a_home_and_without_a_setting_nothing_knows_how_far_it_came(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FENCE_FILE = ""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    selfcheck.look()
    assert "Nothing outside of the database knows how far" in standing()[0]
    assert "FENCE_FILE is not set" in standing()[0]


def test_a_process_that_does_not_send_needs_no_place_for_the_fence(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FENCE_FILE = ""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    selfcheck.look(sends=False)
    assert standing() == []


def test_a_ledger_that_takes_no_entry_is_no_reason_to_fall_over() -> None:
    """Whoever cannot record a hold cannot record that make-writable is sent either."""
    write(3)
    fence.remember()
    tamper("DELETE FROM audit_entry WHERE seq > 2")
    selfcheck.look()
    assert standing() == []
    assert Entry.objects.count() == 2


def drop(index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {index}")


def put_back() -> None:
    """What `drop` took, for tests with real transactions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNIQUE INDEX one_open_failover_per_relationship ON failovers_failover (relationship_id)"
            " WHERE state IN ('requested', 'approved', 'sent', 'reverting')"
        )


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
