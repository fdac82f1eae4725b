"""The protocol, played: many nights, each with other accidents, the same ones at every run. `MODEL_NIGHTS=20000` plays
so many, and others each time. A night that goes wrong is made short, and its story is printed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.model.play import play

_ASKED = os.environ.get("MODEL_NIGHTS", "")
_USUAL = 200 if os.environ["DATABASE_URL"].startswith("sqlite") else 75  # a minute on either engine
_number = cache(lambda below: st.integers(0, below - 1))


@settings(
    max_examples=int(_ASKED or _USUAL),
    deadline=None,
    database=None,
    derandomize=not _ASKED,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(data=st.data())
def test_nothing_that_may_happen_in_a_night_breaks_the_protocol(a_connection: None, data: st.DataObject) -> None:
    story: list[str] = []

    def pick(options: Sequence[Any]) -> Any:
        return options[data.draw(_number(len(options)))]

    try:
        play(pick, story)
    except BaseException:
        note("\n".join(story))
        raise
