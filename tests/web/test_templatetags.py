"""The words and parts that pages are made of, as templates get them: through the engine, with its escaping."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.template import engines

NOW = datetime(2026, 3, 14, 3, 12, 40, tzinfo=UTC)
TODAY = datetime(2026, 3, 14, 2, 42, tzinfo=UTC)
YESTERDAY = datetime(2026, 3, 13, 22, 8, 41, tzinfo=UTC)


def render(source: str, **context: Any) -> str:
    with time_machine.travel(NOW, tick=False):
        return str(engines["django"].from_string(source).render(context))


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(minutes=34, seconds=20), "34 min 20 s"),
        (timedelta(days=1, hours=19, minutes=59), "1 d 19 h"),
        (588, "9 min 48 s"),
        (3600, "1 h"),
        (0, "0 s"),
        (None, ""),
    ],
)
def test_a_length_of_time_is_said_in_its_two_largest_units(length: Any, shown: str) -> None:
    assert render("{{ length|dur }}", length=length) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (5_100_000_000, "5.10 GB"),
        (41_200_000_000, "41.2 GB"),
        (9_995_000, "10.0 MB"),
        (99_950_000, "100 MB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (2**63, "9.22 EB"),
        (10**22, "10000 EB"),
        (None, ""),
    ],
)
def test_a_size_has_three_digits_in_powers_of_1000(size: int | None, shown: str) -> None:
    assert render("{{ size|bytes }}", size=size) == shown


def test_rates_counts_and_percentages() -> None:
    source = "{{ a|rate }}, {{ b|count }}, {{ c|percent }}, {{ d|percent }}"
    assert render(source, a=118e6, b=18204, c=63.99, d=99.97) == "118 MB/s, 18,204, 63 %, 99 %"


def test_what_is_not_known_is_left_to_the_page() -> None:
    for name in ("dur", "bytes", "rate", "count", "percent", "utc", "clocktime", "age", "left", "iso"):
        assert render("{{ nothing|" + name + '|default:"None yet" }}', nothing=None) == "None yet", name


@pytest.mark.parametrize(
    ("moment", "shown"), [(TODAY, "02:42:00 UTC"), (YESTERDAY, "2026-03-13 22:08:41 UTC")], ids=["today", "yesterday"]
)
def test_a_moment_is_said_in_utc_with_its_date_when_that_is_not_today(moment: datetime, shown: str) -> None:
    at = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert render("{{ at|utc }}", at=moment) == f'<time datetime="{at}" data-rel="clock">{shown}</time>'


def test_a_moment_of_another_zone_is_shown_in_utc() -> None:
    tokyo = datetime.fromisoformat("2026-03-14T11:42:00+09:00")
    assert render("{{ at|utc }}", at=tokyo) == render("{{ at|utc }}", at=TODAY)
    assert render("{{ at|clocktime }}", at=tokyo) == '<time datetime="2026-03-14T02:42:00Z">02:42:00</time>'


def test_a_column_of_times_names_the_day_when_it_is_another() -> None:
    assert ">03-13 22:08:41<" in render("{{ at|clocktime }}", at=YESTERDAY)


def test_ages_and_deadlines_carry_what_the_browser_needs_to_go_on() -> None:
    assert render("{{ at|age }}", at=TODAY) == '<time datetime="2026-03-14T02:42:00Z" data-rel="age">30 min 40 s</time>'
    soon = NOW + timedelta(minutes=24, seconds=15)
    assert re.search(r'data-rel="left">24 min 15 s</time>$', render("{{ at|left }}", at=soon))
    assert ">0 s<" in render("{{ at|left }}", at=TODAY)


def test_the_age_of_the_data_can_come_into_being_later() -> None:
    assert (
        render("{% observed at %}", at=None) == '<time datetime="" data-rel="age" data-observed>an unknown time</time>'
    )
    assert ">4 s<" in render("{% observed at %}", at=NOW - timedelta(seconds=4))
    assert 'data-rel="clock" data-observed>02:42:00 UTC<' in render('{% observed at "clock" %}', at=TODAY)


def test_a_reason_is_filled_with_its_time() -> None:
    assert render("{% reason text at %}", text="Job stalled {for}", at=TODAY).startswith('Job stalled <time datetime="')
    assert render("{% reason text at %}", text="As of {at}", at=TODAY) == "As of 02:42 UTC"
    assert render("{% reason text at %}", text="Last <b> job failed", at=None) == "Last &lt;b&gt; job failed"
    assert render("{% reason text at %}", text="<b> {for}", at=TODAY).startswith("&lt;b&gt; <time")


HOSTILE = '"><script>alert(1)</script>\u202e/\x00x/'


def test_a_path_is_shown_without_its_slash_and_in_a_direction_of_its_own() -> None:
    assert render("{{ p|path }}", p="/dr/dc1/finance/") == "<bdi>/dr/dc1/finance</bdi>"
    assert render("{{ p|path }}", p="/") == "<bdi>/</bdi>"
    assert render("{{ p|leaf }}", p="/dr/dc1/finance/") == "finance"
    assert render("{{ p|leaf }}", p="/") == "/"


@pytest.mark.parametrize(
    "source",
    [
        "{{ x|path }}",
        "{{ x|leaf }}",
        "{{ x|visible }}",
        "{{ x|state_word }}",
        "{{ x|health_word }}",
        "{% state x %}",
        "{% health 'warning' x %}",
        "{% health x %}",
        "{% check 'block' x x %}",
        "{% gauge 1 'normal' x %}",
        "{% reason x now %}",
        "{% icon x %}",
    ],
)
def test_nothing_that_a_cluster_sends_becomes_markup(source: str) -> None:
    shown = render(source, x=HOSTILE, now=NOW)
    assert "<script" not in shown
    assert '"><' not in shown.replace('"><use', "").replace('"><rect', "").replace('"><span', "").replace('"><svg', "")


@pytest.mark.parametrize("source", ["{{ x|path }}", "{{ x|leaf }}", "{{ x|visible }}", "{% state x %}"])
def test_characters_that_deceive_the_eye_are_made_visible(source: str) -> None:
    shown = render(source, x="/dr/\u202egpj.exe\x07")
    assert "\u202e" not in shown
    assert "\x07" not in shown


def test_health_is_silhouette_word_and_colour() -> None:
    shown = render("{% health 'critical' %}")
    assert shown == (
        '<span class="tag" data-health="critical"><svg class="i" aria-hidden="true">'
        '<use href="/static/img/icons.svg#h-critical"/></svg>Critical</span>'
    )
    assert "#c-pass" in render("{% health 'good' 'Verified' flat=True %}")
    assert 'class="tag flat"' in render("{% health 'good' 'Verified' flat=True %}")


def test_a_state_that_is_not_known_here_gets_no_glyph_of_one_that_is() -> None:
    assert "#s-ESTABLISHED" in render("{% state 'ESTABLISHED' %}")
    shown = render("{% state 'PAUSED_BY_ADMIN' %}")
    assert "#s-" not in shown
    assert "#h-unknown" in shown
    assert "PAUSED_BY_ADMIN" in shown


def test_a_writable_target_is_bold_and_a_writable_source_is_not() -> None:
    assert 'class="access writable"' in render("{% access read_only=no %}", no=False)
    assert 'class="access"' in render("{% access read_only=no quiet=True %}", no=False)
    assert "Read-only" in render("{% access read_only=yes %}", yes=True)
    assert "Not known" in render("{% access read_only=nothing %}", nothing=None)


@pytest.mark.parametrize(
    ("ratio", "used", "over"), [(0, "0.0", "0.0"), (0.98, "49.0", "0.0"), (1.42, "50.0", "21.0"), (9.7, "50.0", "50.0")]
)
def test_a_gauge_colours_only_the_excess(ratio: float, used: str, over: str) -> None:
    shown = render("{% gauge ratio 'warning' 'words' %}", ratio=ratio)
    assert f'class="used" width="{used}%"' in shown
    assert f'class="over" x="50%" width="{over}%"' in shown
    assert "data-since" not in shown


def test_a_gauge_grows_only_when_it_is_told_from_when() -> None:
    shown = render("{% gauge 0.5 'normal' 'words' since=at objective=900 %}", at=TODAY)
    assert 'data-since="2026-03-14T02:42:00Z" data-objective="900"' in shown


@pytest.mark.parametrize(
    ("verdict", "word", "shape"),
    [
        ("pass", "Pass", "c-pass"),
        ("warn", "Warning", "h-warning"),
        ("block", "Block", "c-block"),
        ("skip", "Skipped", "h-inactive"),
    ],
)
def test_a_check_always_writes_its_verdict(verdict: str, word: str, shape: str) -> None:
    shown = render("{% check verdict 'Title.' %}", verdict=verdict)
    assert f">{word}:</span> Title.</span></li>" in shown
    assert f"#{shape}" in shown


def test_a_polled_root_says_what_it_has_seen_and_keeps_its_filters() -> None:
    assert render("{% poll url seen 10 %}", url="/live/?health=critical&q=a", seen="3.17&x") == (
        'hx-get="/live/?health=critical&amp;q=a&amp;seen=3.17%26x" hx-trigger="every 10s, poll" '
        'hx-target="this" hx-swap="outerHTML"'
    )


def test_what_can_change_no_more_is_not_polled() -> None:
    assert render("{% poll '/live/' '1' nothing %}", nothing=None) == ""


def test_a_polled_address_must_end_in_live() -> None:
    with pytest.raises(ValueError, match="must end in /live/"):
        render("{% poll '/failovers/FO-1042/?x=/live/' '1' 2 %}")


def test_progress_without_figures_claims_none() -> None:
    shown = render("{% include 'parts/_progress.html' with value=nothing label='Running' %}", nothing=None)
    assert "value=" not in shown
    assert 'value="0"' in render("{% include 'parts/_progress.html' with value=zero label='Running' %}", zero=0.0)
