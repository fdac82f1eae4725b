"""Readers of the environment. A value that cannot be meant stops the program and is named; nothing is guessed."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name).lower()
    if value in ("", "1", "true", "yes", "0", "false", "no"):
        return default if value == "" else value in ("1", "true", "yes")
    raise ImproperlyConfigured(f"{name} is {value!r}; write 1 or 0.")


def number(name: str, default: float, *, least: float = 0) -> float:
    value = text(name)
    try:
        result = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a number.") from None
    if not least <= result < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be {least:g} or more.")
    return result


def listing(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def duration(name: str, default: str) -> timedelta:
    try:
        return parse_duration(text(name) or default)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def parse_duration(value: str) -> timedelta:
    """`45s`, `15m`, `4h`, `1d` → timedelta. Raises ValueError with a sentence for a person."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", value.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{value!r} is not a duration; write for example 45s, 15m, 4h or 1d.")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def secret(name: str) -> str:
    """NAME_FILE (first choice) or NAME. A file that is named but cannot be read stops the program."""
    path = text(f"{name}_FILE")
    if not path:
        return text(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE is {path!r}; it cannot be read: {error.strerror}.") from None
