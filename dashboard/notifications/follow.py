"""Follows the ledger and tells people: at least once, and in order, on each channel by itself.

- A channel's cursor is a number of the ledger, which has no gaps and no late comers, so no entry is ever missed. A new
  channel starts at the head: nobody is flooded with old news.
- What is about to be sent is committed first (`Delivery`) and settled afterwards, so whoever dies in between sends the
  same once more, under the same id. Nothing overtakes it.
- Each channel has a turn, a deadline and a back-off of its own: a dead or slow one delays no other. Nothing is locked
  while something is sent, and nothing here is asked by a failover.
- What the items of one request do in the same seconds goes out as one message: two hundred relationships are not four
  hundred mails.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from django.db import close_old_connections, connection, transaction
from django.db.models import Exists, F, OuterRef, Q

from dashboard.audit import chain
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry, Head
from dashboard.audit.tags import Tag
from dashboard.database import database_now
from dashboard.notifications import channels, news
from dashboard.notifications.channels import Failed, Target
from dashboard.notifications.models import Channel, Delivery
from dashboard.words import clock

log = logging.getLogger(__name__)

TURN = timedelta(seconds=45)  # longer than any message may take; after that another process may send it
OUTAGE = timedelta(minutes=2)
GATHER = timedelta(seconds=20)
SLOWEST = 60  # seconds between two tries of a channel that stays dead
AT_ONCE = 200  # entries


class Follower:
    """One process's follower. A second one is harmless: a channel's turn belongs to one of them."""

    def __init__(self) -> None:
        # Mail goes through one server, so its many channels share few threads, which others never wait for.
        self._mail = ThreadPoolExecutor(4, thread_name_prefix="mail")
        self._urls = ThreadPoolExecutor(32, thread_name_prefix="notice")
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def once(self, patience: float = 1) -> None:
        """One round: each channel that is due and has news gets its next message. Waits `patience` seconds at most;
        slow channels go on by themselves."""
        now = database_now()
        targets = channels.configured()
        _enrol(targets, now)
        newest = Entry.objects.filter(tag__in=news.TOLD).order_by("-seq").values_list("seq", flat=True).first() or 0
        unsettled = Exists(Delivery.objects.filter(channel=OuterRef("pk"), ok=False))
        due = Channel.objects.filter(Q(seq__lt=newest) | unsettled, due_at__lte=now)
        wait([self._start(targets[name]) for name in due.values_list("name", flat=True) if name in targets], patience)

    def _start(self, target: Target) -> Future[None]:
        with self._lock:
            if target.name in self._busy:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            self._busy.add(target.name)
        return (self._mail if target.person else self._urls).submit(self._tell, target)

    def _tell(self, target: Target) -> None:
        close_old_connections()
        try:
            tell(target)
        except Exception:
            log.exception("The notices of %s could not be written down; they are tried again", target.name)
        finally:
            connection.close()
            with self._lock:
                self._busy.discard(target.name)

    def close(self) -> None:
        self._mail.shutdown(wait=True, cancel_futures=True)
        self._urls.shutdown(wait=True, cancel_futures=True)


_follower: list[Follower] = []


def once() -> None:
    """One round of this process's follower."""
    if not _follower:
        _follower.append(Follower())
    _follower[0].once()


def _enrol(targets: Mapping[str, Target], now: datetime) -> None:
    """Channels follow the settings and the people. A new one begins here and now; one that is gone and comes back is
    new."""
    known = {channel.name: channel for channel in Channel.objects.all()}
    if gone := known.keys() - targets.keys():
        Channel.objects.filter(name__in=gone).delete()
    head = Head.objects.values_list("seq", flat=True).get()
    fresh = [
        Channel(name=t.name, label=t.label, person_id=t.person, seq=head, due_at=now)
        for t in targets.values()
        if t.name not in known
    ]
    if fresh:
        Channel.objects.bulk_create(fresh, ignore_conflicts=True)
    for target in targets.values():
        if target.name in known and known[target.name].label != target.label:
            Channel.objects.filter(name=target.name).update(label=target.label)


def tell(target: Target) -> bool:
    """The next message of one channel, when there is one and it is its turn. False: there was none."""
    claimed = _claim(target.name)
    if not claimed:
        return False
    error = ""
    try:
        target.send(news.message(claimed))
    except Failed as failed:
        error = failed.words
    except Exception as unforeseen:  # noqa: BLE001
        # Only its kind: what it says may hold the address, and with it a token.
        log.error("Telling %s ended in %s", target.name, type(unforeseen).__name__)  # noqa: TRY400
        error = f"It could not be sent ({type(unforeseen).__name__})."
    _settle(target.name, claimed, error)
    return True


def _claim(name: str) -> list[Entry]:
    """The entries of the next message, committed as deliveries, and the turn to send it. What was begun comes first."""
    with transaction.atomic():
        now = database_now()
        channel = Channel.objects.select_for_update().filter(name=name, due_at__lte=now).first()
        if channel is None:
            return []
        begun = list(channel.deliveries.filter(ok=False).order_by("message", "entry"))
        if begun:
            numbers = [each.entry for each in begun if each.message == begun[0].message]
            entries = list(Entry.objects.filter(seq__in=numbers).order_by("seq"))
        else:
            entries = _next(channel, now)
            Delivery.objects.bulk_create(
                Delivery(
                    channel=channel,
                    label=channel.label,
                    entry=entry.seq,
                    object=entry.object,
                    message=entries[-1].seq,
                    at=now,
                )
                for entry in entries
            )
        if entries:
            channel.due_at = now + TURN
        channel.save(update_fields=["seq", "due_at"])
        return entries


def _next(channel: Channel, now: datetime) -> list[Entry]:
    """What concerns the channel after its cursor: one entry, or a run about the items of one request."""
    found = list(Entry.objects.filter(seq__gt=channel.seq, tag__in=news.TOLD).order_by("seq")[:AT_ONCE])
    if not found:
        return []
    mine = [entry for entry in found if news.is_news(entry)]
    if channel.person_id is not None:
        mine = [e for e, people in zip(mine, news.concerned(mine), strict=True) if channel.person_id in people]
    if not mine:
        channel.seq = found[-1].seq
        return []
    if len(found) < AT_ONCE and now - mine[0].at < GATHER and all(_may_wait(entry) for entry in mine):
        return []
    run = _run(mine)
    channel.seq = run[-1].seq
    return run


def _may_wait(entry: Entry) -> bool:
    return "/" in entry.object and entry.tag not in news.URGENT


def _run(mine: Sequence[Entry]) -> list[Entry]:
    run = [mine[0]]
    for entry in mine[1:]:
        if not ("/" in run[0].object and "/" in entry.object and news.number_of(entry) == news.number_of(run[0])):
            break
        run.append(entry)
    return run


def _settle(name: str, entries: Sequence[Entry], error: str) -> None:
    with transaction.atomic():
        now = database_now()
        channel = Channel.objects.select_for_update().filter(name=name).first()
        if channel is None:  # taken out of the settings meanwhile
            return
        channel.deliveries.filter(entry__in=[entry.seq for entry in entries], ok=False).update(
            ok=not error, at=now, error=error[:64], tries=F("tries") + 1
        )
        if not error:
            channel.tries, channel.failing_since, channel.recorded, channel.error = 0, None, False, ""
            channel.due_at = now
            channel.save()
            return
        channel.tries += 1
        channel.error = error[:64]
        channel.failing_since = channel.failing_since or now
        channel.due_at = now + timedelta(seconds=min(2**channel.tries, SLOWEST))
        news_of_it = not channel.recorded and now - channel.failing_since >= OUTAGE
        channel.recorded |= news_of_it
        # A dead mail server is one outage, not one for each person.
        same = Channel.objects.filter(person__isnull=False, recorded=True, error=channel.error).exclude(pk=channel.pk)
        told = channel.person_id is not None and same.exists()
        channel.save()
        if news_of_it and not told:
            chain.append(
                Tag.NOTICE_FAILED,
                actor=SYSTEM,
                object=f"notice:{channel.name}",
                words=f"{channel.label} takes no notices since {clock(channel.failing_since, now)}. {error}",
                detail={"channel": channel.name, "error": channel.error, "tries": channel.tries},
            )
