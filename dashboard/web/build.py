"""Which build this process serves: every answer says it, a wall screen reloads on a new one."""

from __future__ import annotations

from functools import cache

from django.contrib.staticfiles.storage import staticfiles_storage


@cache
def build() -> str:
    """The hash over all static files; "unhashed" where they are served under their plain names, as in tests."""
    return getattr(staticfiles_storage, "manifest_hash", "") or "unhashed"
