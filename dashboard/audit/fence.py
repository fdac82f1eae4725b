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


def path(head: Head) -> Path:
    """By default one file for each ledger, in the home of the account that runs the desk."""
    return Path(settings.FENCE_FILE or Path.home() / ".local" / "state" / "failover-desk" / str(head.instance))


def remember() -> None:
    """Write down the head, unless the file knows of more: then it is the database that is wrong."""
    head = Head.objects.get()
    if head.seq > _known(path(head))[0] and fault() is None:
        _write(head)


def start_over() -> None:
    """Forget what was known; for when a hold has told people what the file had to tell."""
    _write(Head.objects.get())


def fault() -> str | None:
    """What shows that the database went back in time, in a sentence; None when nothing does."""
    head = Head.objects.get()
    try:
        seq, digest, instance = _known(path(head))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"The file {path(head)}, which knows how far the audit trail had come, cannot be read: {error}"
    # The file first, the head after it: another process may have recorded and written down more in between.
    head = Head.objects.get()
    if instance not in ("", str(head.instance)):
        return f"The file {path(head)} is about another audit trail."
    if head.seq < seq:
        return f"The database went back in time: its audit trail ends at entry {head.seq}, and there were {seq}."
    there = Entry.objects.filter(seq=seq).values_list("hash", flat=True).first()
    if seq and (there is None or bytes(there).hex() != digest):
        return f"The database went back in time: entry {seq} of its audit trail is not the one that was there."
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
