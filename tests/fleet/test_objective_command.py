"""`manage.py objective`: the longest prefix wins, on whole path components, and at once."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from dashboard.audit.models import Entry
from dashboard.fleet.health import Grade
from dashboard.fleet.models import Objective, Relationship, objective_for
from tests.fleet.lookout import columns


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("objective", *words, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/dr/a/", 60),
        ("/dr/a", 60),
        ("/dr/a/b/", 120),
        ("/dr/a/b/c", 120),
        ("/dr/ab/", 30),
        ("/dr/a/bc/", 60),
        ("/dr/", 30),
        ("/drx/", 10),
        ("/", 10),
    ],
)
def test_the_longest_prefix_wins_on_whole_components(path, seconds):
    rules = {"/dr/a": 60, "/dr/a/b": 120, "/dr": 30, "/": 10}
    assert objective_for(path, [Objective(path_prefix=p, seconds=s) for p, s in rules.items()]) == seconds


def test_without_a_rule_the_default_counts(settings):
    assert objective_for("/dr/a/", []) == settings.OBJECTIVE_DEFAULT.total_seconds()
    assert objective_for("/dr/a/", [Objective(path_prefix="/vault", seconds=9)]) == 3600


def test_a_new_objective_judges_the_rows_that_exist_at_once(lookout):
    before = lookout.row
    assert "1 relationships of dr" in run("dr", "/dr/finance/", "1m")
    row = lookout.row
    assert (row.objective, row.grade, row.reason) == (60, Grade.CRITICAL, "Recovery point late")
    assert row.version == before.version + 1
    entry = Entry.objects.get(tag="objective.set")
    assert "Objective of dr:/dr/finance is 1 min." in entry.payload

    run("dr", "/dr/finance", "2h")
    assert Objective.objects.get().seconds == 7200
    assert (lookout.row.objective, lookout.row.grade) == (7200, Grade.NORMAL)


def test_a_rule_for_another_path_leaves_the_row_alone(lookout):
    before = columns(lookout.row)
    assert run("dr", "/dr/fin", "1m").startswith("0 relationships")
    assert columns(lookout.row) == before


def test_a_relationship_that_comes_later_has_the_objective_of_its_path(lookout):
    run("dr", "/dr/hr", "4h")
    lookout.world.relate(lookout.world.clusters["prod"], "/prod/hr", lookout.target, "/dr/hr")
    lookout.read()
    assert Relationship.objects.get(target_root_path="/dr/hr/").objective == 4 * 3600
    assert lookout.row.objective == 3600


def test_a_relationship_that_moves_takes_the_objective_of_its_new_path(lookout):
    run("dr", "/dr/archive", "1d")
    lookout.row_says(target_root_path="/dr/archive/finance/")
    lookout.read()
    assert lookout.row.objective == 86400


def test_a_rule_is_taken_away_by_default(lookout):
    run("dr", "/dr", "1m")
    run("dr", "/dr", "default")
    assert not Objective.objects.exists()
    assert (lookout.row.objective, lookout.row.grade) == (3600, Grade.NORMAL)
    with pytest.raises(CommandError, match="There is no objective for dr:/dr"):
        run("dr", "/dr", "default")


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("nowhere", "/dr", "15m"), "There is no cluster named nowhere."),
        (("dr", "dr", "15m"), "is not a path prefix"),
        (("dr", "/" + "a" * 2000, "15m"), "is not a path prefix"),
        (("dr", "/dr", "soon"), "'soon' is not a duration"),
        (("dr", "/dr", "0m"), "is not a duration"),
        (("dr", "/dr", "999999d"), "An objective is at most 3650 d"),
    ],
)
def test_what_cannot_be_meant_is_refused(lookout, words, refusal):
    with pytest.raises(CommandError, match=refusal):
        run(*words)
    assert not Objective.objects.exists()
