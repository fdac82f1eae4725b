"""Places outside of the database that keep the checkpoints. Each has a cursor, a back-off and a thread of its own: what
is dead or slow delays neither the others nor anybody who works. Each gets every checkpoint, in order, at least once.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, timedelta
from functools import partial
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from dashboard.audit import verifier
from dashboard.audit.models import COLUMN, Checkpoint, Sink
from dashboard.database import database_now

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for each exchange on the wire
SLOWEST = timedelta(minutes=5)
_LARGEST_ANSWER = 64 * 1024


def to_file() -> None:
    _deliver("file", settings.CHECKPOINT_FILE, append_to)


def to_syslog() -> None:
    _deliver("syslog", settings.CHECKPOINT_SYSLOG, partial(send_to_syslog, ca=settings.CHECKPOINT_SYSLOG_CA))


def to_webhook() -> None:
    post = partial(post_to, ca=settings.CHECKPOINT_WEBHOOK_CA)
    while _deliver("webhook", settings.CHECKPOINT_WEBHOOK, post, most=1):
        pass


def _deliver(name: str, target: str, send: Callable[[str, list[Checkpoint]], None], *, most: int = 100) -> bool:
    """Hand over what this sink has not had, and say whether it took something. Raises nothing that the sink causes."""
    sink, _ = Sink.objects.get_or_create(name=name)
    if sink.wanted != bool(target):
        Sink.objects.filter(pk=name).update(wanted=bool(target), failures=0, trouble="", next_try_at=None)
        sink.refresh_from_db()
    if not target or (sink.next_try_at is not None and database_now() < sink.next_try_at):
        return False
    batch = list(Checkpoint.objects.filter(number__gt=sink.number).order_by("number")[:most])
    if not batch:
        return False
    try:
        send(target, batch)
    except (OSError, HTTPException, ValueError) as error:  # ssl, sockets, files; a host name that is none
        words = str(error) if isinstance(error, _Refused) else type(error).__name__
        wait = min(timedelta(seconds=5) * 2 ** min(sink.failures, 10), SLOWEST)
        log.warning("Checkpoints do not reach the %s: %s", name, words)
        Sink.objects.filter(pk=name).update(
            failures=sink.failures + 1, trouble=words[:COLUMN], next_try_at=database_now() + wait
        )
        return False
    Sink.objects.filter(pk=name).update(number=batch[-1].number, failures=0, trouble="", next_try_at=None)
    return True


class _Refused(OSError):
    """The other side took it and said no; the message is ours and holds nothing of theirs."""


# ── A file ───────────────────────────────────────────────────────────────────


def append_to(path: str, batch: list[Checkpoint]) -> None:
    """Append, make it last, and read it back. The file is opened anew each time, so that one that was moved away is
    noticed; `chattr +a` on it is no obstacle.
    """
    text = "".join(f"{checkpoint.note}\n" for checkpoint in batch).encode()
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
            text = b"\n" + text  # a crash left half a line behind; it stays, and what it was part of follows whole
        if file.write(text) != len(text):
            raise _Refused("The file took only a part: is the disk full?")
        os.fsync(descriptor)
        file.seek(-len(text), os.SEEK_END)
        if file.read(len(text)) != text:
            raise _Refused("The file does not hold what was written to it.")


# ── Syslog ───────────────────────────────────────────────────────────────────


def send_to_syslog(address: str, batch: list[Checkpoint], *, ca: str = "") -> None:
    """RFC 5424 in frames with their length in front, over TLS (RFC 5425)."""
    host, port = host_and_port(address)
    context = ssl.create_default_context(cafile=ca or None)
    frames = b"".join(b"%d %s" % (len(line), line) for line in map(_syslog_line, batch))
    with (
        socket.create_connection((host, port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=host) as wire,
    ):
        wire.sendall(frames)
        # Syslog has no answer. To wait for the other side's close says at least that it read so far; one that hangs
        # up without a word (SSLError) has done so, too.
        with suppress(ssl.SSLError):
            wire.unwrap()


def host_and_port(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; the port of RFC 5425 when there is none."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError(f"{address!r} is no address; write host:port.")
    return parts.hostname, parts.port or 6514


def _syslog_line(checkpoint: Checkpoint) -> bytes:
    at = checkpoint.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    note = base64.b64encode(checkpoint.note.encode()).decode()
    words = f"checkpoint {checkpoint.number} entry {checkpoint.seq} hash {bytes(checkpoint.hash).hex()} note {note}"
    host = socket.gethostname().encode("ascii", "replace").decode().replace(" ", "_")[:255] or "-"
    return f"<109>1 {at} {host} failover-desk - checkpoint - {words}".encode()  # facility 13 (log audit), notice


# ── A webhook ────────────────────────────────────────────────────────────────


def post_to(url: str, batch: list[Checkpoint], *, ca: str = "") -> None:
    """One POST for each checkpoint, https alone. Redirects are refused: what answers must be what was named."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=ca or None)
    door = HTTPSConnection(parts.hostname or "", parts.port or 443, timeout=PATIENCE, context=context)
    try:
        for checkpoint in batch:
            headers = {"Content-Type": "application/json", "User-Agent": "failover-desk"}
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            door.request("POST", target, body=_json(checkpoint), headers=headers)
            answer = door.getresponse()
            answer.read(_LARGEST_ANSWER)
            if not 200 <= answer.status < 300:
                raise _Refused(f"It answered {answer.status}.")
    finally:
        door.close()


def _json(checkpoint: Checkpoint) -> bytes:
    said = verifier.parse_note(checkpoint.note)[0]
    about = {"instance": said.instance, "number": said.number, "entry": said.seq, "hash": said.hash.hex()}
    return json.dumps({**about, "time": said.time, "note": checkpoint.note}).encode()
