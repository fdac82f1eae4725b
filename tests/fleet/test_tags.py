"""`manage.py tag` and `tags_of`: a tag belongs to every relationship below its prefix, on whole path components."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from dashboard.audit.models import Entry
from dashboard.fleet.models import Cluster, Relationship, Tag
from dashboard.fleet.tags import tags_of
from tests.fleet.lookout import columns


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("tag", *words, stdout=out)
    return out.getvalue()


def _row(lookout, path: str) -> Relationship:
    lookout.world.relate(lookout.world.clusters["prod"], f"/prod{path}", lookout.target, path)
    lookout.read()
    return Relationship.objects.get(target_root_path=f"{path}/")


def test_a_relationship_has_the_tags_of_every_prefix_that_covers_it(lookout):
    for prefix, name in (("/dr", "site-b"), ("/dr/finance/", "tier-1"), ("/dr/fin", "never"), ("/", "all")):
        run("add", "dr", prefix, name)
    assert tags_of([lookout.row]) == {lookout.row.pk: {"site-b", "tier-1", "all"}}


def test_one_query_tells_the_tags_of_many_rows(lookout, django_assert_num_queries):
    finance, hr = lookout.row, _row(lookout, "/dr/hr")
    run("add", "dr", "/dr/finance", "tier-1")
    with django_assert_num_queries(1):
        assert tags_of([finance, hr]) == {finance.pk: {"tier-1"}, hr.pk: set()}


def test_a_tag_is_meant_for_its_own_cluster(lookout):
    other = Cluster.objects.create(name="dr-east", url="https://e:8000", uuid="e", reported_name="e", core_version="7")
    here, there = lookout.row, lookout.row
    there.pk, there.cluster = None, other
    there.save(force_insert=True)
    run("add", "dr-east", "/dr", "tier-1")
    assert tags_of([here]) == {here.pk: frozenset()}
    assert tags_of([here, there]) == {here.pk: frozenset(), there.pk: {"tier-1"}}


def test_a_tag_is_set_and_removed_with_an_entry_in_the_ledger(lookout):
    before = lookout.row
    assert run("add", "dr", "/dr/finance/", "tier-1") == "dr:/dr/finance/ is tagged tier-1 (1 relationships).\n"
    assert lookout.row.version == before.version + 1
    entry = json.loads(Entry.objects.get(tag="tag.set").payload)
    assert entry["words"] == "dr:/dr/finance is tagged tier-1."
    assert entry["detail"] == {"path_prefix": "/dr/finance", "name": "tier-1", "relationships": 1}

    assert (
        run("remove", "dr", "/dr/finance", "tier-1") == "dr:/dr/finance is no longer tagged tier-1 (1 relationships).\n"
    )
    assert not Tag.objects.exists()
    entry = json.loads(Entry.objects.get(tag="tag.removed").payload)
    assert entry["words"] == "dr:/dr/finance is no longer tagged tier-1."


def test_a_tag_leaves_rows_elsewhere_alone(lookout):
    before = columns(lookout.row)
    assert run("add", "dr", "/dr/fin", "tier-1").endswith("tier-1 (0 relationships).\n")
    assert columns(lookout.row) == before


def test_all_tags_are_listed_or_those_of_one_cluster(lookout):
    Cluster.objects.create(name="dr-east", url="https://e:8000", uuid="e", reported_name="e", core_version="7")
    run("add", "dr-east", "/", "site-b")
    run("add", "dr", "/dr/finance", "tier-1")
    assert run("list") == "dr:/dr/finance  tier-1\ndr-east:/  site-b\n"
    assert run("list", "dr-east") == "dr-east:/  site-b\n"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("add", "nowhere", "/dr", "tier-1"), "There is no cluster named nowhere."),
        (("list", "nowhere"), "There is no cluster named nowhere."),
        (("add", "dr", "dr", "tier-1"), "'dr' is not a path prefix"),
        (("add", "dr", "/" + "a" * 2000, "tier-1"), "is not a path prefix"),
        (("add", "dr", "/dr\udcff", "tier-1"), "is not a path prefix"),
        (("add", "dr", "/dr", "Tier 1"), "'Tier 1' is not a tag"),
        (("add", "dr", "/dr", "Tier-1"), "is not a tag"),
        (("add", "dr", "/dr", "-x"), "unrecognized|is not a tag|required"),
        (("add", "dr", "/dr", "t" * 33), "is not a tag"),
        (("add", "dr", "/dr", ""), "'' is not a tag"),
        (("add", "dr", "/dr/", "there"), "dr:/dr has the tag there already."),
        (("remove", "dr", "/dr", "tier-1"), "dr:/dr has no tag tier-1."),
        (("remove", "dr", "/dr/finance", "there"), "dr:/dr/finance has no tag there."),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(lookout, words, refusal):
    run("add", "dr", "/dr", "there")
    entries = Entry.objects.count()
    with pytest.raises(CommandError, match=refusal):
        run(*words)
    assert [str(tag) for tag in Tag.objects.all()] == ["there on dr:/dr"]
    assert Entry.objects.count() == entries
