"""How a Qumulo cluster spells things: times, durations, snapshots and errors.

Guarantee: every value leaves the simulator in the form that was seen on real clusters, so that a client
which reads the simulator reads a cluster. Each function says where its form comes from.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Time: TypeAlias = float  # seconds since the epoch


def timestamp(at: Time | None) -> str:
    """UTC with `Z` and up to nine digits, trailing zeros trimmed; "" for none (both SEEN LIVE).

    A double holds the time to about 0.2 µs, so the last digits are noise, as they are on a cluster.
    """
    if at is None:
        return ""
    seconds, nanoseconds = divmod(round(at * 1_000_000_000), 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def duration(seconds: float | None) -> Json | None:
    """An object holding a decimal string (SEEN LIVE); null when nothing ever ran (DOCUMENTED)."""
    return None if seconds is None else {"nanoseconds": str(round(seconds * 1_000_000_000))}


def snapshot(
    number: int, name: str, at: Time, *, file_id: str, by_policy: bool = False, expires: Time | None = None
) -> Json:
    """The eight fields of a snapshot. Its id is a number, its directory is `<id>_<name>` (SEEN LIVE)."""
    return {
        "id": number,
        "name": name,
        "timestamp": timestamp(at),
        "directory_name": f"{number}_{name}",
        "source_file_id": file_id,
        "created_by_policy": by_policy,
        "expiration": timestamp(expires),
        "in_delete": False,
    }


class Refusal(Exception):
    """The cluster says no. Raised by any handler; the door turns it into the error envelope.

    The status family follows what was seen live (unknown 404, conflict 409, bad input 400); the classes of
    the replication calls are INVENTED, because none is documented.
    """

    def __init__(self, status: HTTPStatus, error_class: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error_class, self.description = status, error_class, description

    def envelope(self) -> Json:
        return envelope(self.error_class, self.description)


def envelope(error_class: str, description: str) -> Json:
    """The error body of the API: three independent clients read it in this shape."""
    return {
        "module": "/src/qumulo/rest/api",
        "error_class": error_class,
        "description": description,
        "stack": ["simulated::frame()"],
        "user_visible": True,
    }


def not_found(what: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "http_not_found_error", f"{what} was not found.")


def conflict(error_class: str, description: str) -> Refusal:
    return Refusal(HTTPStatus.CONFLICT, error_class, description)


def undecodable(description: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "decode_error", description)


def relationship_id(text: str) -> str:
    """The canonical form of a relationship id; a malformed one is refused (400, INVENTED)."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise undecodable(f"{text!r} is not a UUID.") from None


def fields(body: object, known: Mapping[str, type | tuple[type, ...]], required: tuple[str, ...] = ()) -> Json:
    """A request body checked field by field; anything unknown, missing or of another type is `decode_error`."""
    if not isinstance(body, dict):
        raise undecodable("the body is not an object")
    for name, value in body.items():
        if name not in known:
            raise undecodable(f"field '{name}' not found")
        wanted = known[name]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
            raise undecodable(f"field '{name}' has the wrong type")
    for name in required:
        if name not in body:
            raise undecodable(f"field '{name}' is missing")
    return body
