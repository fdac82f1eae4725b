"""Every pair of colours that the style sheets put on each other, in both themes, against WCAG 2.2 (1.4.3, 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOKENS = (Path(__file__).resolve().parents[2] / "static/css/tokens.css").read_text(encoding="utf-8")
COLOURS = {
    name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+):\s*light-dark\((#\w{6}), (#\w{6})\)", TOKENS)
} | {"danger-on": ("#ffffff", "#ffffff")}
TEXT, SHAPE = 4.5, 3.0
GROUNDS = ("bg", "surface", "raised")
TINTS = ("crit-tint", "warn-tint", "unk-tint", "act-tint", "good-tint")
HUES = ("crit", "warn", "unk", "act", "good")


def _pairs() -> list[tuple[str, str, float]]:
    pairs = [(ink, ground, TEXT) for ink in ("ink", "ink-2", "ink-3") for ground in (*GROUNDS, "sunken")]
    pairs += [(ink, tint, TEXT) for ink in ("ink", "ink-2") for tint in TINTS]
    for hue in HUES:
        pairs += [(hue, ground, TEXT) for ground in (*GROUNDS, f"{hue}-tint")]
        pairs.append((hue, "sunken", SHAPE))
    pairs += [(f"{hue}-on", f"{hue}-fill", TEXT) for hue in ("crit", "warn", "unk", "act")]
    pairs += [("crit-fill", ground, SHAPE) for ground in GROUNDS]
    pairs += [("danger-on", "danger", TEXT), ("danger-on", "danger-hover", TEXT), ("danger", "surface", SHAPE)]
    pairs += [("bg", "ink", TEXT), ("bg", "ink-2", TEXT)]  # the primary button
    pairs += [(edge, ground, SHAPE) for edge in ("line-strong", "focus") for ground in GROUNDS]
    pairs += [("ink-3", "sunken", SHAPE), ("ink-2", "sunken", SHAPE)]  # gauge and progress
    return pairs


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_itself_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the lightest grey that WCAG lets pass


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_pair_can_be_read(theme: str) -> None:
    at = ("light", "dark").index(theme)
    pairs = _pairs()
    assert len(pairs) == 67
    short = [
        f"{front} on {ground}: {contrast(COLOURS[front][at], COLOURS[ground][at]):.2f}, needs {least}"
        for front, ground, least in pairs
        if contrast(COLOURS[front][at], COLOURS[ground][at]) < least
    ]
    assert not short


def test_no_style_sheet_brings_a_colour_of_its_own() -> None:
    """A colour that is not a token is a pair that nobody measured. The one exception is the hazard edge's black."""
    for sheet in (Path(__file__).resolve().parents[2] / "static/css").glob("*.css"):
        if sheet.name == "tokens.css":
            continue
        css = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        css = re.sub(r"box-shadow:[^;]*;", "", css)
        assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgb\([^)]*\)|\bhsl\([^)]*\)", css)) <= {"#1c1100"}, sheet.name
