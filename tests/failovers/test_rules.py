"""Whoever looks for a rule of the protocol finds it: the room's docstring names the module, the module's names the
rule."""

from __future__ import annotations

import importlib
import re

import pytest

from dashboard import failovers

_RULE = re.compile(r"^ ?(\d+)\. .*?\(([a-z, ]+)\)$", re.MULTILINE | re.DOTALL)
RULES = {int(number): modules.split(", ") for number, modules in _RULE.findall(failovers.__doc__ or "")}


def test_there_are_twelve():
    assert list(RULES) == list(range(1, 13))


@pytest.mark.parametrize(("rule", "module"), [(rule, module) for rule in RULES for module in RULES[rule]])
def test_the_module_says_how_it_keeps_the_rule(rule, module):
    said = importlib.import_module(f"dashboard.failovers.{module}").__doc__ or ""
    assert re.search(rf"\b[Rr]ules? (\d+, )*(\d+ and )?{rule}\b", said), f"{module} does not name rule {rule}"
