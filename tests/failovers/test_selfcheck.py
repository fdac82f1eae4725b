"""A database that was put back from a backup believes that finished failovers are still to do. It comes up held, and
nothing is sent.
"""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as desk_settings
from django.db import OperationalError, connection, connections

from dashboard.audit import chain, fence
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.failovers import selfcheck
from dashboard.failovers.holds import hold
from dashboard.failovers.models import Failover
from tests.audit.ledger import tamper, write
from tests.failovers.checking import BACK, Sweeping, known, standing
from tests.postgres import find_programs

pytestmark = pytest.mark.django_db


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


# ── What the file says ───────────────────────────────────────────────────────


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
