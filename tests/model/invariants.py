"""What must hold after every step, whatever happened. Each has a name, and a violation says it:

I1   the cluster receives at most one make-writable for a failover.
I2   none without an intent just committed: approved by enough other people who were shown exactly this plan and may
     still approve, in time, with no hold standing, and for the relationship that is meant, which lost nothing more.
I3   the ledger has the sending before the cluster has it.
I4   a relationship has at most one open failover.
I5   an ending is final.
I6   what ended before sending was not received; what was refused or closed as not applied is never processed.
I7   succeeded: two readings of the relationship that is meant, two seconds apart, showed it disconnected and writable,
     and none between them showed anything else.
I8   the ledger is whole, and replayed it gives the state of every failover, along the moves that there are.
I9   a make-writable leaves at most five seconds after the status that it acts on was here.
I10  when all parts work again nothing stays open without a person being called, who can close it.
I11  no page says "writable" of anything but I7.
I12  every entry that is news is told, once it can be, and each once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import connection

from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import MOVES, OPEN, State
from dashboard.failovers.models import Failover, Request
from dashboard.notifications import news
from dashboard.notifications.models import Delivery
from dashboard.web.standing import outcome, standing
from tests.model import drivers
from tests.model.drivers import Driver
from tests.model.night import GROUPS, Night
from tests.model.wire import Post, Seen

SEND_WINDOW = 5.0  # what is promised, not what the code under test says
AGREE = 2.0
UNSENT = (State.REJECTED, State.CANCELLED, State.EXPIRED, State.STOPPED)
# What an entry says: from which state to which.
_MOVES_BY_TAG: dict[str, dict[State, State]] = {}
for _move in MOVES.values():
    _MOVES_BY_TAG.setdefault(_move.tag, {}).update(dict.fromkeys(_move.sources, _move.target))


class Violation(AssertionError):
    """`name` is the invariant's."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name


class Auditor:
    """Reads the clusters' journals, the database and the ledger; changes nothing."""

    def __init__(self, night: Night) -> None:
        self.night = night
        self.found: list[Violation] = []  # by what happens inside of a driver, which would swallow an exception
        self._intents: dict[Driver, int] = {}
        self._replayed: dict[int, State] = {}
        self._numbers: dict[str, int] = {}
        self._ended: dict[int, str] = {}
        self._verified: set[int] = set()
        self._names = {
            night.users[name].person_id: name for name in ("rivera", "tanaka", "lind", "osei", "chen", "admin")
        }
        self._stands: list[Any] = []
        self._failovers: list[Failover] = []
        self._seq = Entry.objects.count()
        self._began = self._seq
        night.way.on_post = self._post

    def _say(self, name: str, words: str) -> None:
        self.found.append(Violation(name, words))

    # ── In the moment itself ──

    def reached(self, place: str) -> None:
        """For `crashpoints.listen`: first what holds there, then the driver stands still."""
        driver = drivers.current()
        if driver is not None and place == "send.after_intent":
            failover = Failover.objects.select_related("request").get(pk=driver.about)
            self._intents[driver] = failover.pk
            self._intent(failover)
        drivers.reached(place)

    def _intent(self, failover: Failover) -> None:
        asked, night = failover.request, self.night
        entries = Entry.objects.filter(tag="failover.sent", object=failover.number).count()
        if entries != failover.attempts:
            self._say("I3", f"{failover} is sent for the {failover.attempts}. time, the ledger has {entries} of them")
        if night.holds:
            self._say("I2", f"{failover} is sent while a hold stands")
        if failover.run_by is None or failover.run_by <= night.clock.now:
            self._say("I2", f"{failover} is sent after {failover.run_by}, when its approval was over")
        may = {self._names[user.person_id] for user in night.users.values() if "approver" in user.roles}
        self._enough(failover, self._voted(asked) & may, "is sent")

    def _voted(self, asked: Request) -> set[str]:
        """Who approved exactly this, and had not asked for it."""
        votes, names = self.night.votes.get(asked.pk, {}), self._names
        return {names[who] for who, what in votes.items() if what == asked.digest and who != asked.requester_id}

    def _enough(self, failover: Failover, good: set[str], verb: str) -> None:
        lacks = len(good) < failover.request.required
        for group, count in self.night.shares.items():
            lacks |= len(good & set(GROUPS.get(group, good))) < count
        if lacks:
            self._say("I2", f"{failover} {verb} by the votes of {', '.join(sorted(good)) or 'nobody'}")

    def _post(self, post: Post) -> None:
        failover = Failover.objects.select_related("request").get(pk=post.failover)
        received = [each for each in self.night.way.posts if each.failover == failover.pk]
        if len(received) > 1:
            self._say("I1", f"the cluster received {len(received)} make-writables of {failover}")
        if self._intents.pop(post.driver, 0) != failover.pk:
            self._say("I2", f"{failover} is sent by {post.driver.name} without an intent of its own")
        read = post.driver.read  # what changes between this and the sending, nobody can know: there is no If-Match
        if read is None or read.cluster is not post.cluster or not _meant(failover, read):
            self._say("I2", f"{failover} is sent for something else than what was approved")
        if read is None or post.boottime - read.boottime > SEND_WINDOW:
            self._say("I9", f"{failover} is sent on a status that is too old")
        point = failover.item.recovery_point_at
        if read is not None and point is not None and (read.recovery_point or 0) < int(point.timestamp()):
            self._say("I2", f"{failover} is sent though its recovery point went back")

    # ── After every step ──

    def check(self) -> None:
        """Raises the first Violation."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, state, version, (SELECT max(seq) FROM audit_head) FROM failovers_failover")
            if (stands := cursor.fetchall()) != self._stands:
                self._stands, self._failovers = stands, self.night.failovers()
                self._changed()
        for failover in self._failovers:
            self._received(failover)
        journal = len(self.night.dr.make_writable_received()) + len(self.night.other.make_writable_received())
        assert journal == len(self.night.way.posts)  # the book of the model is the journal of the clusters
        if self.found:
            raise self.found[0]

    def _changed(self) -> None:
        failovers = self._failovers
        for failover in failovers:
            if failover.state == State.SUCCEEDED and failover.pk not in self._verified:
                self._succeeded(failover)
            if failover.state == State.APPROVED:
                self._enough(failover, self._voted(failover.request), "is approved")
            before = self._ended.get(failover.pk)
            if before not in (None, failover.state):
                self._say("I5", f"{failover} was {before} and is {failover.state}")
            if failover.state not in OPEN:
                self._ended[failover.pk] = failover.state
            self._words(failover)
        for asked in {failover.request_id: failover.request for failover in failovers}.values():
            votes = self.night.votes.get(asked.pk, {})
            if asked.requester_id in votes or set(votes.values()) - {asked.digest}:
                self._say("I2", f"a vote for {asked} of its own requester, or on another plan, was taken")
        open_on = Counter(failover.relationship_id for failover in failovers if failover.state in OPEN)
        if any(count > 1 for count in open_on.values()):
            self._say("I4", "a relationship has two open failovers")
        self._read_ledger(failovers)

    def _received(self, failover: Failover) -> None:
        posts = [post for post in self.night.way.posts if post.failover == failover.pk]
        if failover.state in UNSENT and posts:
            self._say("I6", f"{failover} is {failover.state}, and the cluster received it")
        denied = failover.state == State.REFUSED or failover.outcome == "not_applied"
        if denied and any(post.processed for post in posts):
            self._say("I6", f"{failover} is {failover.state} ({failover.outcome}), and the cluster processed it")

    def _succeeded(self, failover: Failover) -> None:
        self._verified.add(failover.pk)
        seen = [each for each in self.night.way.seen if each.failover == failover.pk]
        shown = [(each, each.writable and _meant(failover, each)) for each in seen]
        good = [each for each, yes in shown if yes]
        for first in good:
            for second in good:
                between = [yes for each, yes in shown if first.boottime <= each.boottime <= second.boottime]
                if second.boottime - first.boottime >= AGREE and all(between):
                    return
        self._say("I7", f"{failover} succeeded without two readings that agree")

    def _words(self, failover: Failover) -> None:
        words = outcome(failover, standing(failover, self.night.clock.now))[1]
        if (words == "Writable") != (failover.state == State.SUCCEEDED and failover.pk in self._verified):
            self._say("I11", f"a page says “{words}” of {failover}, which is {failover.state}")

    def _read_ledger(self, failovers: list[Failover]) -> None:
        for failover in failovers:
            self._numbers[failover.number] = failover.pk
            self._replayed.setdefault(failover.pk, State.REQUESTED)
        entries = list(Entry.objects.filter(seq__gt=self._seq).order_by("seq"))
        for entry in entries:
            moves, pk = _MOVES_BY_TAG.get(entry.tag), self._numbers.get(entry.object)
            if moves is None or pk is None:
                continue
            target = moves.get(self._replayed[pk])
            if target is None:
                return self._say("I8", f"the ledger says {entry.tag} of {entry.object}, which was {self._replayed[pk]}")
            self._replayed[pk] = target
        self._seq += len(entries)
        for failover in failovers:
            if self._replayed[failover.pk] != failover.state:
                told = self._replayed[failover.pk]
                self._say("I8", f"{failover} is {failover.state}; by the ledger it is {told}")
        return None

    # ── At the end of the night ──

    def nothing_is_left(self) -> None:
        for failover in self.night.failovers(*OPEN):
            self._say("I10", f"{failover} stays {failover.state} when all works again")
        if not chain.verify().ok:
            self._say("I8", "the ledger as a whole does not verify")
        news_of_the_night = [e for e in Entry.objects.filter(seq__gt=self._began, tag__in=news.TOLD) if news.is_news(e)]
        told = {message.seq for message in self.night.told}
        delivered = {each.entry for each in Delivery.objects.filter(ok=True) if each.message in told}
        for entry in news_of_the_night:
            if entry.seq not in delivered:
                self._say("I12", f"nobody was told of entry {entry.seq}, {entry.tag} of {entry.object}")
        if len({message.id for message in self.night.told}) != len(told):
            self._say("I12", "the same news went out under two ids")
        if self.found:
            raise self.found[0]


def _meant(failover: Failover, seen: Seen) -> bool:
    """Whether this is of what the plan names."""
    item, it = failover.item, seen.relationship
    return it is not None and (seen.cluster.uuid, it.id, it.target.root_id, it.source.cluster.uuid) == (
        item.target_cluster_uuid,
        item.relationship_id,
        item.target_root_id,
        item.source_cluster_uuid,
    )
