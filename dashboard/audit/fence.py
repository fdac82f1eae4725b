"""How far the ledger had come, in a file outside of the database (FENCE_FILE). A database that was put back from a
backup believes that finished failovers are still to do; it can only be told so by something that did not go back
with it. Keep the file out of that backup.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.conf import settings

from dashboard.audit.models import Entry, Head


class NoPlace(OSError):
    """There is nowhere to keep the file. One sentence."""


def folder() -> Path:
    """Where the file of a ledger lies by default. Raises NoPlace."""
    try:
        return Path.home() / ".local" / "state" / "failover-desk"
    except RuntimeError:  # containers often run as a number without a home
        raise NoPlace("FENCE_FILE is not set, and the account that runs the desk has no home folder.") from None


def path(head: Head) -> Path:
    """By default one file for each ledger, in the home of the account that runs the desk. Raises NoPlace."""
    return Path(settings.FENCE_FILE) if settings.FENCE_FILE else folder() / str(head.instance)


def remember() -> None:
    """Write down the head, unless the file knows of more: then it is the database that is wrong."""
    head = Head.objects.get()
    if head.seq > _known(path(head))[0] and fault() is None:
        _write(head)


def start_over() -> None:
    """Forget what was known; for when a hold has told people what the file had to tell."""
    _write(Head.objects.get())


def fault() -> str | None:
    """What shows that the database went back in time, in a sentence; None when nothing does. The sentence says nothing
    of the entries that came since: it stays the same until the file is written again."""
    head = Head.objects.get()
    try:
        file = path(head)
        seq, digest, instance = _known(file)
    except NoPlace as error:
        return f"Nothing outside of the database knows how far the audit trail had come. {error}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"The file {file}, which knows how far the audit trail had come, cannot be read: {error}"
    # The file first, the head after it: another process may have recorded and written down more in between.
    head = Head.objects.get()
    if instance not in ("", str(head.instance)):
        return f"The file {file} is about another audit trail."
    there = Entry.objects.filter(seq=seq).values_list("hash", flat=True).first()
    if seq and (head.seq < seq or there is None or bytes(there).hex() != digest):
        return f"The database went back in time: its audit trail had come to entry {seq}, and has it no more as it was."
    return None


def _known(file: Path) -> tuple[int, str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0, "", ""
    return int(found["entry"]), str(found["hash"]), str(found["instance"])


def _write(head: Head) -> None:
    """Whole or not at all, and on the disk before anybody relies on it."""
    file = path(head)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = {"instance": str(head.instance), "entry": head.seq, "hash": bytes(head.hash).hex()}
    with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False, encoding="utf-8") as out:
        made = Path(out.name)
        try:
            out.write(json.dumps(about) + "\n")
            out.flush()
            os.fsync(out.fileno())
            made.replace(file)
        except OSError:  # tried again every few seconds: a full disk must not be filled with these, too
            made.unlink(missing_ok=True)
            raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
