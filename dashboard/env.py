"""Readers of the environment. A value that cannot be meant stops the program and is named; nothing is guessed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

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


def address(name: str, *schemes: str) -> str:
    """A URL of one of these schemes, without a slash at its end. What it holds is a secret and is not repeated."""
    url = secret(name).rstrip("/")
    if url and (url.partition("://")[0] not in schemes or not urlsplit(url).hostname or len(url.split()) != 1):
        raise ImproperlyConfigured(f"{name} is not the address that it must be; write {'://… or '.join(schemes)}://….")
    return url


def named_urls(name: str) -> dict[str, str]:
    """`chat=slack://… pager=json://…`, between them spaces or new lines. The URLs are secrets and are not repeated."""
    found: dict[str, str] = {}
    for position, word in enumerate(secret(name).split(), start=1):
        match = re.fullmatch(r"([a-z][a-z0-9-]{0,31})=(\S+://\S*)", word)
        if match is None:
            raise ImproperlyConfigured(
                f"{name}: part {position} is not NAME=URL; a name has small letters, digits and dashes."
            )
        if match[1] in found:
            raise ImproperlyConfigured(f"{name}: the name {match[1]} is there twice.")
        found[match[1]] = match[2]
    return found


def choice(name: str, default: str, choices: Sequence[str]) -> str:
    value = text(name).lower() or default
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; write {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


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
