"""How times, lengths, sizes and paths are written, for pages, checks and the ledger alike. Pure; no Django.

The browser's clock.js ticks the same words on; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboard.qumulo.records import visible

__all__ = ["bare", "clock", "duration", "size", "to_type", "visible"]

_POWERS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(length: timedelta | float) -> str:
    """The two largest units: `34 min 20 s`, `1 d 19 h`, `9 min`, `0 s`. Never negative."""
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    seconds = max(seconds, 0)
    for position, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            words = f"{seconds // size} {unit}"
            if position + 1 < len(_UNITS):
                smaller, smaller_unit = _UNITS[position + 1]
                rest = seconds % size // smaller
                words += f" {rest} {smaller_unit}" if rest else ""
            return words
    return "0 s"


def size(count: float) -> str:
    """Of data: `41.2 GB`, powers of 1000, three digits. Never negative."""
    amount, power = float(max(count, 0)), 0
    while amount >= 999.5 and power + 1 < len(_POWERS):
        amount, power = amount / 1000, power + 1
    # Fewer than ten bytes are no measurement, and 9.996 is written 10.0, not 10.00.
    digits = 0 if power == 0 or amount >= 99.95 else 1 if amount >= 9.995 else 2
    return f"{amount:.{digits}f} {_POWERS[power]}"


def clock(moment: datetime | None, now: datetime) -> str:
    """`02:42:00 UTC` today, `2026-03-13 22:08:41 UTC` on another day."""
    if moment is None:
        return "at an unknown time"
    utc = moment.astimezone(UTC)
    return f"{utc:%H:%M:%S} UTC" if utc.date() == now.astimezone(UTC).date() else f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def bare(path: str) -> str:
    """A path as it is shown and compared: visible escapes, without one trailing slash (`/` itself stays)."""
    shown = visible(path)
    return shown[:-1] if len(shown) > 1 and shown.endswith("/") else shown


def to_type(target: str, path: str, *, ambiguous: bool) -> str:
    """What a person types to confirm: the target path; its last part when it is longer than 80 characters; with the
    cluster's name in front when another known cluster has the same target path."""
    shown = bare(path)
    if len(shown) > 80:
        shown = shown.rsplit("/", 1)[-1][-80:]
    return f"{target}:{shown}" if ambiguous else shown
