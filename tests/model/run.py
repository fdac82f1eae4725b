"""Nights of one tree, in a process of their own: `python -m tests.model.run`, with the order in MODEL_ORDER. Prints
what came of them as one line of JSON."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import django


def main(order: dict[str, Any]) -> dict[str, Any]:
    django.setup()
    logging.disable()
    _take_away(order["constraints"])
    from tests.model.play import nights

    return nights(order["nights"], order["focus"])


def _take_away(constraints: list[list[str]]) -> None:
    """The database as it would be without these constraints, and with the guards of this tree."""
    from django.apps import apps
    from django.db import connection

    from dashboard.failovers import guards

    guards.drop(connection)
    for model_name, name in constraints:
        model = apps.get_model("failovers", model_name)
        constraint = next(each for each in model._meta.constraints if each.name == name)
        model._meta.constraints.remove(constraint)  # SQLite makes the table anew, of what the model says
        with connection.schema_editor() as editor:
            editor.remove_constraint(model, constraint)
    guards.install(connection)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(os.environ["MODEL_ORDER"]))))
