"""Each rule of the protocol, switched off, makes the model fail, and by the invariant that is about it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from tests.model.mutants import BEYOND, PROTOCOL, Mutant

NIGHTS = 40  # at most; each of them dies in half of that
_ROOT = Path(__file__).parents[2]
_QUICK = Path("/dev/shm")

pytestmark = [pytest.mark.mutants, pytest.mark.django_db]  # the database is only copied


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any) -> Iterator[Path]:
    """A copy of the product and the model, and a database that has been migrated."""
    if connection.vendor != "sqlite":
        pytest.skip("the rules are switched off on SQLite; that both engines keep them is what the model shows")
    copy = tmp_path_factory.mktemp("tree")
    for name in ("dashboard", "templates", "tests/model"):
        shutil.copytree(_ROOT / name, copy / name)
    (copy / "tests/__init__.py").touch()
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(name)) as made, closing(sqlite3.connect(copy / "desk.sqlite3")) as own:
        made.backup(own)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def database(tree: Path, tmp_path: Path) -> Iterator[Path]:
    own = (_QUICK if _QUICK.is_dir() and settings.TESTING else tmp_path) / f"desk-model-{os.getpid()}.sqlite3"
    shutil.copyfile(tree / "desk.sqlite3", own)
    yield own
    for left in own.parent.glob(f"{own.name}*"):
        left.unlink()


def _play(tree: Path, database: Path, *, nights: int, focus: dict[str, Any], constraints: Any = ()) -> dict[str, Any]:
    order = {"nights": nights, "focus": focus, "constraints": constraints}
    # A mutant's bytecode must not be taken for that of the next one.
    more = {"DATABASE_URL": f"sqlite:///{database}", "MODEL_ORDER": json.dumps(order), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.model.run"],
        cwd=tree,
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


def _switched_off(tree: Path, mutant: Mutant) -> dict[Path, tuple[str, os.stat_result]]:
    """Makes the edits, all of them or none; returns what the files were."""
    before: dict[Path, tuple[str, os.stat_result]] = {}
    after: dict[Path, str] = {}
    for name, old, new in mutant.edits:
        file = tree / name
        before.setdefault(file, (file.read_text(), file.stat()))
        text = after.get(file, before[file][0])
        assert text.count(old) == 1, f"{mutant.name} no longer fits {name}: {text.count(old)} times {old!r}"
        after[file] = text.replace(old, new)
    for file, text in after.items():
        file.write_text(text)
    return before


@pytest.mark.parametrize("mutant", [*PROTOCOL, *BEYOND], ids=lambda mutant: mutant.name)
def test_without_the_rule_the_model_fails(tree: Path, database: Path, mutant: Mutant, record_property: Any) -> None:
    before = _switched_off(tree, mutant)
    try:
        found = _play(tree, database, nights=NIGHTS, focus=mutant.focus, constraints=mutant.constraints)
    finally:
        for file, (text, stat) in before.items():
            file.write_text(text)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    record_property("nights", found["nights"])
    assert found["violated"] in mutant.dies_by.split(), "\n".join([found["words"], *found["story"]])


def test_with_all_rules_the_same_nights_pass(tree: Path, database: Path) -> None:
    found = _play(tree, database, nights=NIGHTS, focus={})
    assert (found["violated"], found["nights"]) == ("", NIGHTS), "\n".join([found["words"], *found["story"]])


def test_every_mutant_of_the_protocol_is_here() -> None:
    named = "no_cas resend short_settle no_settle no_window no_deadline self_approve no_audit no_digest no_one_open"
    assert [mutant.name for mutant in PROTOCOL] == [*named.split(), "blind_write", "late_cancel", "trust_200"]
