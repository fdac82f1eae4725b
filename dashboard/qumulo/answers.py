"""From what came back to a value or an error: is it the API's answer, its own refusal, or something else?

The question is asked so that doubt never looks like knowledge. Only a 200 with the right body is an answer, only the
API's own error text makes a 4xx a refusal: a machine in between can produce every status code, and then nobody knows
what the cluster did.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from dashboard.qumulo import inferred
from dashboard.qumulo.edge import Unreadable, clean, read_json, text
from dashboard.qumulo.errors import (
    Answered,
    CannotConnect,
    Forbidden,
    NoAnswer,
    Nonsense,
    NotFound,
    QumuloError,
    Unauthorized,
)

Record = TypeVar("Record")
_ANSWERED = {401: Unauthorized, 403: Forbidden, 404: NotFound}
_LONGEST_PAUSE = 60  # seconds; what a cluster may ask for with Retry-After


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; `seconds` since the call began."""

    http_status: int
    headers: httpx.Headers
    body: bytes
    seconds: float


def translate(error: httpx.TransportError, *, seconds: float, within: float) -> QumuloError:
    """By what was seen of each kind on real sockets: in the first two no server had received a byte."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return CannotConnect("The cluster could not be reached in time.")
    if isinstance(error, httpx.ConnectError):
        return CannotConnect("The cluster could not be reached.")
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer(f"No answer came within {within:g} s.")
    return NoAnswer(f"The connection was cut after {seconds:.1f} s, before there was an answer.")


def judge(answer: Answer) -> Answer:
    """A 200 in JSON passes. The API's own error is `Answered`; whatever else comes may be from a machine in between."""
    status = answer.http_status
    said_json = _is_json(answer.headers)
    if status == 200 and said_json:
        return answer
    if status == 200:
        raise Nonsense("The cluster's answer is not JSON by its own account.", http_status=status)
    if status >= 400 and said_json and (error := _envelope(answer.body)) is not None:
        kind = _ANSWERED.get(status, Answered)
        error_class, description = error
        raise kind(status, error_class=error_class, description=description, retry_after=_retry_after(answer.headers))
    what = "with a redirect, which is never followed" if 300 <= status < 400 else "without the API's own words"
    raise Nonsense(
        f"The cluster answered {status} {what}.", http_status=status, retry_after=_retry_after(answer.headers)
    )


def _is_json(headers: httpx.Headers) -> bool:
    """Not when it says that it is something else, as the pages of machines in between do. One that does not say so is
    judged by what is in it."""
    kind: str = headers.get("Content-Type", inferred.CONTENT_TYPE)
    return kind.partition(";")[0].strip().lower() == inferred.CONTENT_TYPE


def _envelope(body: bytes) -> tuple[str, str] | None:
    """Error class and description, the descriptions of inner errors appended; None when it is not the API's error."""
    try:
        found = read_json(body)
    except Unreadable:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in inferred.ERROR_KEYS):
        return None
    parts, inner = [found["description"]], found.get("inner")
    while isinstance(inner, dict) and len(parts) < 4:
        parts.append(f"({text(inner.get('error_class'))}: {text(inner.get('description'))})")
        inner = inner.get("inner")
    return clean(found["error_class"], limit=255), clean(" ".join(parts))


def _retry_after(headers: httpx.Headers) -> int | None:
    found = headers.get("Retry-After", "")
    return min(int(found[:9]), _LONGEST_PAUSE) if re.fullmatch("[0-9]+", found) else None


def date_of(headers: httpx.Headers) -> datetime | None:
    try:
        found = parsedate_to_datetime(headers.get("Date", ""))
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return at if inferred.EARLIEST <= at <= inferred.LATEST else None


def read(answer: Answer, parse: Callable[[Any], Record]) -> Record:
    try:
        return parse(read_json(answer.body))
    except Unreadable as error:
        words = f"The cluster's answer cannot be read. {error}"
        raise Nonsense(words, http_status=answer.http_status) from None


def to_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Unreadable("It is not an object.")
    return body
