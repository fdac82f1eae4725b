"""Signed notes of how far the ledger had come, and with which hash: what stands against somebody who could rewrite the
whole of it.

- Made by the relay, never by whoever records something: a failover waits for no signature. A minute after the head
  moved; at once when make-writable was sent or a failover ended; once a day when nothing happens.
- Each follows the one before (number and hash), and is signed only after every entry since then was found to follow,
  too. So a ledger that was rewritten behind a checkpoint gets no further one.
- A new key is named in its first checkpoint together with the one before it, which signs it as well when it is still
  there (`CHECKPOINT_KEY=new,old`).

The format and its check are in `verifier`; the places that keep the notes in `sinks`.
"""

from __future__ import annotations

import binascii
import logging
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import IntegrityError, transaction

from dashboard.audit import verifier
from dashboard.audit.chain import stamp, walked
from dashboard.audit.models import Checkpoint, Entry, Head, Sink
from dashboard.audit.tags import Tag
from dashboard.audit.verifier import Bad, Walk, Written
from dashboard.database import database_now

log = logging.getLogger(__name__)

SOON = timedelta(seconds=60)
IDLE = timedelta(days=1)
LATE = timedelta(minutes=5)
AT_ONCE = (
    Tag.FAILOVER_SENT,
    Tag.FAILOVER_SUCCEEDED,
    Tag.FAILOVER_REFUSED,
    Tag.FAILOVER_STOPPED,
    Tag.FAILOVER_CLOSED,
)


def once() -> None:
    """Sign the head when it is time to."""
    keys = signing_keys()
    head, now = Head.objects.get(), database_now()  # the head first: what it says was so at `now`
    last = Checkpoint.objects.order_by("number").last()
    if not keys or not _is_time(head, last, now):
        return
    walk = Walk(last.seq + 1, bytes(last.hash)) if last else Walk()
    if bad := _unsound(walk, head):
        log.error("The ledger is not signed any further: entry %s (%s): %s", *bad)
        return
    try:
        _sign(keys, head, now, last)
    except IntegrityError:
        log.info("Another relay has just signed")


def _is_time(head: Head, last: Checkpoint | None, now: datetime) -> bool:
    if last is None or head.seq <= last.seq:
        return head.seq > 0 and (last is None or (head.seq == last.seq and now - last.at >= IDLE))
    return now - last.at >= SOON or Entry.objects.filter(seq__gt=last.seq, tag__in=AT_ONCE).exists()


def _unsound(walk: Walk, head: Head) -> Bad | None:
    """What is wrong with the entries since the last checkpoint, if something is."""
    start = Entry.objects.filter(seq=walk.last).first()
    if walk.last and (start is None or bytes(start.hash) != walk.hash):
        return Bad(walk.last, "checkpoint", "It is not the entry that was signed.")
    for entry in walked(Entry.objects.filter(seq__gt=walk.last), last=head.seq):
        if bad := walk.take(Written(entry.seq, entry.payload, bytes(entry.prev_hash), bytes(entry.hash))):
            return bad
    if (walk.last, walk.hash) != (head.seq, bytes(head.hash)):
        return Bad(walk.last, "head", "It is not the one that the head of the ledger names.")
    return None


def _sign(keys: list[Ed25519PrivateKey], head: Head, now: datetime, last: Checkpoint | None) -> None:
    public = keys[0].public_key().public_bytes_raw()
    before = verifier.parse_note(last.note)[0] if last else None
    replaces = before.key if before and before.key != public else b""
    checkpoint = verifier.Checkpoint(
        instance=str(head.instance),
        number=before.number + 1 if before else 1,
        seq=head.seq,
        hash=bytes(head.hash),
        time=stamp(now),
        previous=before.digest if before else bytes(32),
        key=public,
        replaces=replaces,
    )
    signing = [key for key in keys[1:] if key.public_key().public_bytes_raw() == replaces]
    text = checkpoint.text.encode()
    signed = [(key.public_key().public_bytes_raw(), key.sign(text)) for key in (keys[0], *signing)]
    with transaction.atomic():
        Checkpoint.objects.create(
            number=checkpoint.number,
            seq=head.seq,
            hash=bytes(head.hash),
            at=now,
            note=verifier.note(checkpoint, signed),
        )


def signing_keys() -> list[Ed25519PrivateKey]:
    """The keys of the settings, the one that signs first. Raises ValueError for what is none."""
    return [private_key(text) for text in settings.CHECKPOINT_KEY.split(",") if text.strip()]


def private_key(text: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(text.strip()))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """For pages and monitors. `key` is the public key; `late` says in sentences what is behind by more than LATE."""

    key: str
    number: int
    seq: int
    at: datetime | None
    sinks: list[Sink]
    late: list[str]


def standing(now: datetime) -> Standing:
    last = Checkpoint.objects.order_by("number").last()
    waiting = Entry.objects.filter(seq__gt=last.seq if last else 0).order_by("seq").values_list("at", flat=True).first()
    late = ["The audit trail has not been signed"] if waiting is not None and now - waiting > LATE else []
    since = [waiting] if late and waiting else []
    sinks = list(Sink.objects.filter(wanted=True).order_by("name"))
    for sink in sinks:
        behind = Checkpoint.objects.filter(number__gt=sink.number).order_by("number").first()
        if behind is not None and now - behind.at > LATE:
            late.append(f"Signed checkpoints do not reach {WORDS[sink.name]}")
            since.append(behind.at)
    return Standing(
        key=verifier.key_text(verifier.parse_note(last.note)[0].key) if last else "",
        number=last.number if last else 0,
        seq=last.seq if last else 0,
        at=last.at if last else None,
        sinks=sinks,
        late=[f"{words} since {moment:%Y-%m-%d %H:%M:%S} UTC." for words, moment in zip(late, since, strict=True)],
    )


WORDS = {"file": "the file of checkpoints", "syslog": "syslog", "webhook": "the webhook"}
