"""The protocol, played: many nights, each with other accidents. `MODEL_NIGHTS=20000` plays more of them, each run
others."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.model.play import play

NIGHTS = int(os.environ.get("MODEL_NIGHTS", "200"))


@settings(
    max_examples=NIGHTS,
    deadline=None,
    database=None,
    derandomize="MODEL_NIGHTS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(data=st.data())
def test_nothing_that_may_happen_in_a_night_breaks_the_protocol(db: Any, data: st.DataObject) -> None:
    story: list[str] = []
    try:
        play(lambda options: options[data.draw(st.integers(0, len(options) - 1))], story)
    except BaseException:
        note("\n".join(story))
        raise
