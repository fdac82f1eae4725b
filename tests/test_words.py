"""How times, lengths and paths are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard import words


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (2060, "34 min 20 s"),
        (3600, "1 h"),
        (35160, "9 h 46 min"),
        (154800, "1 d 19 h"),
        (86400, "1 d"),
        (-5, "0 s"),
    ],
)
def test_a_length_is_its_two_largest_units(seconds, expected):
    assert words.duration(seconds) == expected
    assert words.duration(timedelta(seconds=seconds)) == expected


def test_a_time_has_its_date_only_on_another_day():
    now = datetime(2026, 3, 14, 3, tzinfo=UTC)
    assert words.clock(datetime(2026, 3, 14, 2, 42, tzinfo=UTC), now) == "02:42:00 UTC"
    assert words.clock(datetime(2026, 3, 13, 22, 8, 41, tzinfo=UTC), now) == "2026-03-13 22:08:41 UTC"
    assert words.clock(None, now) == "at an unknown time"


@pytest.mark.parametrize(
    ("path", "shown"), [("/dr/a/", "/dr/a"), ("/dr/a", "/dr/a"), ("/", "/"), ("/a/\u202e/", "/a/\\u202e")]
)
def test_a_path_is_shown_without_its_trailing_slash_and_with_its_hidden_characters(path, shown):
    assert words.bare(path) == shown


def test_what_is_typed_names_the_cluster_only_when_the_path_alone_is_ambiguous():
    assert words.to_type("dr-west", "/dr/a/", ambiguous=False) == "/dr/a"
    assert words.to_type("dr-west", "/dr/a/", ambiguous=True) == "dr-west:/dr/a"


def test_nobody_has_to_type_a_path_of_thousands_of_characters():
    assert words.to_type("dr-west", "/x" * 200 + "/finance/", ambiguous=False) == "finance"
    assert len(words.to_type("dr-west", "/" + "x" * 4000, ambiguous=False)) == 80
