"""Rules that hold for every template and every tag, whoever writes it: nothing a cluster sends becomes markup, nothing
needs 'unsafe-inline', and what is polled is polled in the one way that survives a dead network.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SYMBOLS = set(re.findall(r'<symbol id="([\w-]+)"', (ROOT / "static/img/icons.svg").read_text(encoding="utf-8")))
CONFIG = (
    '{"timeout":8000,"historyCacheSize":0,"refreshOnHistoryMiss":true,"includeIndicatorStyles":false,'
    '"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true}'
)

FORBIDDEN = {
    "marks text as safe": r"\|\s*safe(seq)?\b|autoescape\s+off|\bmark_safe\b",
    "has an inline handler": r"<[^>]*\son\w+\s*=",
    "has an inline style": r"<[^>]*\sstyle\s*=|<style\b",
    "has a script without src": r"<script(?![^>]*\bsrc=)",
    "needs eval": r"hx-on|hx-vars|hx-vals\s*=\s*['\"]js:|javascript:|hx-trigger\s*=\s*['\"][^'\"]*\[",
    "polls by hand instead of with {% poll %}": r"hx-trigger\s*=\s*['\"]\s*(every|load)",
    "loads from elsewhere": r"(src|href)\s*=\s*[\"'](https?:)?//",
}


def code_of(source: str) -> str:
    return re.sub(r"{#.*?#}|{%\s*comment.*?endcomment\s*%}", "", source, flags=re.DOTALL)


def markup_of(source: str) -> str:
    """The template as the browser might get it: variables are a letter, tags are gone."""
    source = re.sub(r"{%\s*(url|static|icon)\b.*?%}", "v", code_of(source))
    return re.sub(r"{%.*?%}", "", re.sub(r"{{.*?}}", "v", source), flags=re.DOTALL)


def faults(source: str) -> list[str]:
    found = [
        what
        for what, rule in FORBIDDEN.items()
        if re.search(rule, code_of(source) if "safe" in what or "hand" in what else markup_of(source), re.IGNORECASE)
    ]
    tags = re.findall(r"<[a-z](?:[^>\"']|\"[^\"]*\"|'[^']*')*>", markup_of(source), re.IGNORECASE)
    if any("=" in re.sub(r"=\s*(\"[^\"]*\"|'[^']*')", "", tag) for tag in tags):
        found.append("has an attribute without quotes")
    if any("\n" in comment for comment in re.findall(r"{#.*?#}", source, re.DOTALL)):
        found.append("has a comment over two lines, which Django writes into the page")
    forms = re.findall(r"<form\b[^>]*method=[\"']post.*?</form>", code_of(source), re.DOTALL | re.IGNORECASE)
    if not all("{% csrf_token %}" in form for form in forms):
        found.append("has a form without {% csrf_token %}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "{{ words|safe }}",
        "{{ words | safe }}",
        "{% autoescape off %}{{ words }}{% endautoescape %}",
        '<a onclick="go()">x</a>',
        '<p class="a" style="color: red">x</p>',
        "<style>p {}</style>",
        "<script>go()</script>",
        '<button hx-on:click="go()">x</button>',
        '<div hx-get="/live/" hx-trigger="every 2s">x</div>',
        '<div hx-trigger="click[ctrlKey]">x</div>',
        "<a href={{ address }}>x</a>",
        "<a {% if x %}class={{ x }}{% endif %}>x</a>",
        '<script src="https://cdn.example/htmx.js"></script>',
        '<form class="a" method="post"><button>x</button></form>',
        "{# one line\nand another #}",
    ],
)
def test_the_lint_finds_what_it_looks_for(source: str) -> None:
    assert faults(source)


@pytest.mark.parametrize(
    "source",
    [
        '<a class="a{% if b %} b{% endif %}" href="{% url \'x\' %}">{{ words }}</a>',
        '<div class="live" {% poll url seen 5 %}>x = y</div>',
        '<form method="post" action="/x/">{% csrf_token %}</form>',
        "{# style= and |safe are forbidden #}",
    ],
)
def test_the_lint_lets_pass_what_is_good(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_template_keeps_the_rules(template: Path) -> None:
    source = template.read_text(encoding="utf-8")
    get_template(str(template.relative_to(ROOT / "templates")))  # it compiles
    # The report of an evidence pack is a file that people keep: its style travels with it, and nothing serves it.
    allowed = ["has an inline style"] if template.name == "report.html" else []
    assert faults(source) == allowed
    code = code_of(source)
    missing = [name for name in re.findall(r"{%\s*static\s+['\"]([^'\"]+)", code) if not finders.find(name)]
    assert missing == []
    assert set(re.findall(r"{%\s*icon\s+['\"]([\w-]+)['\"](?!\|)", code)) <= SYMBOLS
    if "htmx-config" in source:
        assert CONFIG in source


def test_every_fragment_is_used() -> None:
    files = [*(ROOT / "dashboard").rglob("*.py"), *TEMPLATES]
    named = set(re.findall(r"[\"']([\w./-]+\.html)[\"']", "".join(path.read_text(encoding="utf-8") for path in files)))
    assert [name for path in TEMPLATES if (name := str(path.relative_to(ROOT / "templates"))) not in named] == []


def test_no_python_marks_text_as_safe() -> None:
    """Markup is built by `format_html`, whose first argument is a literal: nothing else can be trusted."""
    for module in (ROOT / "dashboard").rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        assert not re.search(r"\bmark_safe\b|\bSafe(String|Text)\(|format_html(_join)?\(\s*f[\"']", source), module


def test_both_pages_agree_with_the_style_sheet_on_when_data_is_stale() -> None:
    tokens = (ROOT / "static/css/tokens.css").read_text(encoding="utf-8")
    page, wall = re.findall(r"--stale-after: (\d+)s", tokens)
    for name, limit in (("base.html", page), ("wall_base.html", wall)):
        assert f"desk.pulse.age >= {limit}" in (ROOT / "templates" / name).read_text(encoding="utf-8")


def test_the_sprite_has_a_silhouette_for_every_grade_and_a_glyph_for_every_state() -> None:
    from dashboard.fleet.health import KNOWN_STATES, Grade
    from dashboard.web.templatetags.desk import HEALTH_WORDS, STATE_WORDS

    assert set(HEALTH_WORDS) == set(Grade)
    assert set(STATE_WORDS) == KNOWN_STATES
    assert {f"h-{grade}" for grade in Grade} | {f"s-{state}" for state in KNOWN_STATES} <= SYMBOLS
