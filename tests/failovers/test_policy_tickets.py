"""Ticket patterns: useful ones pass, and none that passes can keep a machine busy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.failovers.tickets import LONGEST_TICKET, fault, fits

USEFUL = {
    r"(INC|CHG)[0-9]{5,7}": ("INC20719", "CHG1234567"),
    r"^INC-\d+$": ("INC-20719",),
    r"[A-Z]{2,10}-\d{1,6}(, [A-Z]{2,10}-\d{1,6}){0,2}": ("OPS-1", "OPS-1, CHG-22"),
    r"#?[0-9]{3,8}": ("#123", "45678"),
    r"(?:RITM|TASK)\d{7}": ("RITM0012345",),
    r"[\w.]+-[0-9]+": ("a.b-1",),
    r"[A-Z]*[A-Z]*[A-Z]*1": ("AAA1",),
}


@pytest.mark.parametrize("pattern", USEFUL)
def test_what_people_write_is_kept_and_matches_the_whole_ticket(pattern):
    assert fault(pattern) == ""
    for ticket in USEFUL[pattern]:
        assert fits(pattern, ticket)
        assert not fits(pattern, f"{ticket} and more")


@pytest.mark.parametrize(
    "pattern",
    [
        r"([A-Z]+)*1",
        r"(a|a)*b",
        r"(a|ab)(bc|c)*(a+)*",
        "a?" * 40 + "a" * 40,
        "(a|a)" * 30 + "b",
        "[A-Z]*" * 4 + "1",
        r"(\d{1,9}\.){1,9}x",
        r"((a{1,64}){1,64}){1,64}",
    ],
)
def test_a_pattern_with_too_many_ways_is_refused(pattern):
    assert fault(pattern).startswith("The pattern could take too long to match")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "a group is not closed"),
        (")", "a bracket closes that was not opened"),
        ("[z-a]", "bad character range"),
        ("[", "its [ ] cannot be read"),
        ("[[:alpha:]]", "its [ ] cannot be read"),
        ("a{5,2}", "min repeat greater than max repeat"),
        ("*a", "* stands where nothing can be repeated"),
        ("a**", "* stands where nothing can be repeated"),
        ("a*+", "+ stands where nothing can be repeated"),
        ("x{", "{ stands where nothing can be repeated"),
        (r"(a)\1", r"\1 is not known here"),
        (r"\Bx", r"\B is not known here"),
        ("a\\", "\\ is not known here"),
        ("(?=a)a", "groups that begin with (?"),
        ("(?i)a", "groups that begin with (?"),
        ("(?P<n>a)", "groups that begin with (?"),
        ("(a?)*", "it repeats what may be empty"),
        ("((((){999}){999}){999}){999}", "it repeats what may be empty"),
        ("(" * 12 + "a" + ")" * 12, "more than 10 deep"),
        ("é", "printable ASCII"),
        ("a\nb", "printable ASCII"),
        ("a" * 201, "longer than 200 characters"),
    ],
)
def test_a_pattern_that_cannot_be_judged_is_refused_with_its_reason(pattern, words):
    assert words in fault(pattern)
    assert fault(pattern).endswith(".")


def test_a_ticket_that_is_too_long_fits_nothing():
    assert fits(".*", "x" * LONGEST_TICKET)
    assert not fits(".*", "x" * (LONGEST_TICKET + 1))


atoms = st.sampled_from(["a", ".", "[ab]", r"\w", "^", "$", "", r"\d"])
repeats = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{,9}", "{3,}", "{40,64}", "*?", "+?"])
patterns = st.recursive(
    st.tuples(atoms, repeats).map("".join),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=5).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map("|".join)
        | st.tuples(inner, repeats).map(lambda pair: f"({pair[0]}){pair[1]}")
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(patterns, st.sampled_from(["a" * 64, "a" * 63 + "b", "ab" * 32, "a" * 40 + "!", "1" * 64]))
def test_whatever_is_kept_comes_to_an_end(pattern, ticket):
    """Were one of the accepted patterns to explode, this would not end."""
    if not fault(pattern):
        fits(pattern, ticket)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_at_all_is_judged_without_an_error(text):
    if not fault(text):
        fits(text, "INC-1")
