"""Bytes of a stranger: strict JSON, storable text, and text that shows what it hides."""

from __future__ import annotations

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.qumulo.edge import TEXT_LIMIT, Unreadable, clean, read_json
from dashboard.qumulo.records import visible

anything = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"<html>502</html>", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"p": NaN}', "NaN or Infinity"),
        (b'{"p": -Infinity}', "NaN or Infinity"),
        (b'{"p": 1e999}', "without bounds"),
        (b"1" * 41, "without bounds"),
        (b"1" * 5000, "without bounds"),
        (b'[{"state": "DISCONNECTED", "state": "ESTABLISHED"}]', "same key twice"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8"),
        ('{"a": "b"}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_json_that_can_be_read_in_two_ways_or_not_at_all_is_refused(body, why):
    with pytest.raises(Unreadable, match=why):
        read_json(body)


def test_json_within_its_bounds_is_read():
    assert read_json(b'{"a": [1, 2.5, "\\ud800", null, true, 126000320998089907413563998212]}') == {
        "a": [1, 2.5, "\ud800", None, True, 126000320998089907413563998212]
    }


@given(st.binary() | anything.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_end_in_anything_but_a_value_or_unreadable(body):
    with contextlib.suppress(Unreadable):
        read_json(body)


@pytest.mark.parametrize(
    ("raw", "stored"),
    [("a\x00b", "a\\u0000b"), ("\ud800", "\\ud800"), ("\u202egnp.exe", "\u202egnp.exe"), ("a\x1b[31m", "a\x1b[31m")],
)
def test_cleaning_replaces_only_what_no_database_stores(raw, stored):
    assert clean(raw) == stored


def test_two_long_texts_stay_different_and_show_that_they_were_cut():
    one, two = clean("/" + "x" * 5000 + "1"), clean("/" + "x" * 5000 + "2")
    assert len(one) == len(two) == TEXT_LIMIT
    assert one != two
    assert "…[cut, sha256 " in one


@given(anything | st.integers(0, 9).map(lambda n: "ab\x00\ud800" * 1000 + str(n)), st.sampled_from([64, 255, 4096]))
def test_cleaned_text_can_be_stored_and_stays_as_it_is(text, limit):
    once = clean(text, limit=limit)
    assert len(once) <= limit
    assert "\x00" not in once
    once.encode()
    assert clean(once, limit=limit) == once


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("/data/projekte/Zürich 日本", "/data/projekte/Zürich 日本"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("a\u00a0b", "a\\u00a0b"),
        ("a\tb\n\x1b[31m", "a\\u0009b\\u000a\\u001b[31m"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u3164b\ufe0f", "a\\u3164b\\ufe0f"),
        ("a\U000e0001b", "a\\U000e0001b"),
        ("\u2028", "\\u2028"),
        ("<script>", "<script>"),
    ],
)
def test_what_cannot_be_seen_is_shown(raw, shown):
    assert visible(raw) == shown


@given(anything)
def test_a_shown_text_holds_nothing_invisible_and_is_not_changed_again(text):
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c)[0] in "CZ" and c != " "]
    assert visible(shown) == shown
    shown.encode()
