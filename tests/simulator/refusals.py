"""What a refusal of a cluster looks like."""

from __future__ import annotations

import httpx


def assert_refused(answer: httpx.Response, status: int, error_class: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["error_class"]) == (status, error_class), answer.text
    assert body.keys() == {"module", "error_class", "description", "stack", "user_visible"}
    assert isinstance(body["stack"], list)
    assert answer.headers["content-type"] == "application/json"
