"""One night at the desk: people, drivers and clusters, and everything that can happen to them, one step at a time.

Every verb is the product's own; the clusters are the simulator's. `Night` only says what happens next, and keeps, for
the invariants, what it knows by itself: who was shown which plan when voting, which roles people have, which holds
stand.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from dashboard.accounts import people
from dashboard.accounts.models import Group
from dashboard.accounts.people import actor_of
from dashboard.accounts.roles import Role
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.failovers import asking, closing, conduct, execution, holds, reading
from dashboard.failovers.lifecycle import STARTED
from dashboard.failovers.models import Failover, Policy, Request
from dashboard.fleet import access, observe, registry
from dashboard.fleet.models import Cluster, Relationship
from dashboard.notifications import follow, news
from dashboard.notifications.channels import Failed, Target
from dashboard.notifications.models import Channel
from dashboard.notifications.news import Message
from dashboard.simulator import World
from dashboard.simulator.certificates import Authority
from tests.model.clock import OneClock
from tests.model.drivers import Driver
from tests.model.wire import Way

Pick = Callable[[Sequence[Any]], Any]

REASON = "dc1-prod lost power in row C at 02:53."
GROUPS = {"storage": ("lind", "osei"), "security": ("chen",)}
POLICIES: tuple[dict[str, int], ...] = ({"": 1}, {"": 2}, {"storage": 1, "security": 1})


_authority = cache(Authority)


class Night:
    """`pick` decides everything that is open; `story` is what happened, in sentences."""

    def __init__(self, clock: OneClock, pick: Pick, story: list[str]) -> None:
        self.clock, self.pick, self.story = clock, pick, story
        self.drivers: list[Driver] = []
        self.votes: dict[int, dict[int, str]] = {}  # request → person → the digest that was on the page
        self.holds: set[str] = set()
        self.told: list[Message] = []
        self.channel_is_dead = False
        self.numbers: dict[int, str] = {}
        self._started = 0

        self.world = World(clock)
        prod, self.dr = self.world.add_cluster("prod"), self.world.add_cluster("dr")
        for name in ("finance", "home"):
            made = self.world.relate(prod, f"/prod/{name}", self.dr, f"/dr/{name}", every=3600)
            made.revert_takes = pick((3.0, 12.0))
        self.other = self.world.add_cluster("other")  # what could answer at the address of dr instead
        self.way = Way(clock, self.dr)
        access.through("https://dr.example:8000", self.way)
        self.users = {
            name: people.add(name, roles=[role], password="demo", actor=SYSTEM, person=person)
            for name, role, person in (
                ("rivera", "operator", ""),
                ("tanaka", "operator", ""),
                ("rivera-2", "approver", "rivera"),  # a second account is no second pair of eyes
                ("lind", "approver", ""),
                ("osei", "approver", ""),
                ("chen", "approver", ""),
                ("admin", "admin", ""),
            )
        }
        for name, members in GROUPS.items():
            Group.objects.create(name=name).members.add(*(self.users[member].person for member in members))
        self.cluster = Cluster.objects.create(
            name="dr",
            url="https://dr.example:8000",
            uuid=self.dr.uuid,
            reported_name="dr",
            core_version=self.dr.version,
            trust_kind="ca",
            certificate=_authority().pem.decode(),  # whom it trusts, wherever there is a network
            reader_token=access.seal("reader", self.dr.uuid, self.dr.reader_token),
            executor_token=access.seal("executor", self.dr.uuid, self.dr.executor_token),
        )
        observe.observe(self.cluster.pk)
        self.channel = Target("pager", "pager", None, self._tell)
        follow._enrol({"pager": self.channel}, database_now())
        shares = self.pick(POLICIES)
        self.policy = Policy.objects.create(
            name="all", shares=[{"group": group, "count": count} for group, count in shares.items()]
        )
        self.shares = shares

    # ── What people do. One word back: "" when it was done, else why not ──

    def _verb(self, words: str, act: Callable[[], object], *, dies: bool = False) -> bool:
        """People's verbs run to their end, or die inside of their transaction."""
        driver = Driver("a click", act)
        driver.dies_inside = dies
        while not driver.dead:
            driver.go_on()
        refused = driver.ended != "done"
        assert driver.ended.split(":")[0] in ("done", "killed", "Refused", "Stale"), driver.ended
        self.story.append(words + (f" ({driver.ended})" if refused else ""))
        return not refused

    def request(self, by: str, rows: Sequence[Relationship], *, dies: bool = False) -> Request | None:
        user, made = self.users[by], []

        def ask() -> None:
            observe.observe(self.cluster.pk)
            known = [Relationship.objects.get(pk=row.pk) for row in rows]
            made.append(
                asking.request(
                    user=user,
                    actor=actor_of(user),
                    relationships=known,
                    typed=reading.expected_typing(known),
                    reason=REASON,
                    ticket="INC-1",
                    nonce=uuid.UUID(int=len(self.story), version=4),
                )
            )

        names = ", ".join(row.target_root_path for row in rows)
        return made[0] if self._verb(f"{by} asks for {names}", ask, dies=dies) else None

    def approve(self, by: str, asked: Request, *, digest: str = "", dies: bool = False) -> bool:
        user, digest = self.users[by], digest or asked.digest
        failovers = list(asked.failovers.select_related("relationship__cluster", "request"))
        changes = reading.changed(asked, reading.situations(failovers, now=database_now()))
        said = {"digest": digest, "comment": "Go.", "auth": "password", "changed": reading.digest_of(changes)}
        shown = "" if digest == asked.digest else ", shown another plan"
        done = self._verb(
            f"{by} approves {asked}{shown}",
            lambda: conduct.approve(user=user, actor=actor_of(user), request_pk=asked.pk, **said),
            dies=dies,
        )
        if done:
            self.votes.setdefault(asked.pk, {})[user.person_id] = digest
        return done

    def reject(self, by: str, asked: Request, *, dies: bool = False) -> None:
        user = self.users[by]
        said = {"digest": asked.digest, "comment": "Not now."}
        act = lambda: conduct.reject(user=user, actor=actor_of(user), request_pk=asked.pk, **said)  # noqa: E731
        self._verb(f"{by} rejects {asked}", act, dies=dies)

    def cancel(self, by: str, asked: Request, *, dies: bool = False) -> None:
        user = self.users[by]
        act = lambda: conduct.cancel(user=user, actor=actor_of(user), request_pk=asked.pk)  # noqa: E731
        self._verb(f"{by} cancels {asked}", act, dies=dies)

    def close(self, by: str, failover: Failover, outcome: str, *, dies: bool = False) -> None:
        user = self.users[by]
        said = {"outcome": outcome, "reason": "" if outcome == "not_applied" else "Seen to by hand."}
        act = lambda: closing.close(user=user, actor=actor_of(user), failover_pk=failover.pk, **said)  # noqa: E731
        self._verb(f"{by} closes {failover} as {outcome}", act, dies=dies)

    def hold(self, scope: str) -> None:
        if self._verb(f"a hold on {scope or 'all'}", lambda: holds.hold(actor=SYSTEM, scope=scope, reason=REASON)):
            self.holds.add(scope)

    def lift(self, scope: str, *, dies: bool = False) -> None:
        if self._verb(
            f"the hold on {scope or 'all'} is lifted",
            lambda: holds.lift(actor=SYSTEM, scope=scope, reason="Looked at, and right again"),
            dies=dies,
        ):
            self.holds.discard(scope)

    def role(self, name: str, role: str) -> None:
        act = lambda: people.change(name, roles=[role], actor=SYSTEM)  # noqa: E731
        self._verb(f"{name} is {role} now", act)
        self.users[name].refresh_from_db()

    def register_again(self) -> None:
        """An admin answers for what is at the address of dr."""
        act = lambda: registry.change("dr", url=self.cluster.url, actor=SYSTEM)  # noqa: E731
        self._verb("an admin registers dr again", act)

    # ── What drivers do ──

    def start(self, failover: int) -> Driver:
        self._started += 1
        number = self.numbers.setdefault(failover, "") or str(Failover.objects.get(pk=failover))
        self.numbers[failover] = number
        driver = Driver(f"driver {self._started} for {number}", lambda: execution.execute(failover), about=failover)
        self.drivers.append(driver)
        return driver

    def go_on(self, driver: Driver, how: str = "") -> None:
        driver.go_on()
        at = f"is at “{driver.at}”" if driver.at else f"ends ({driver.ended})"
        self.story.append(f"{driver.name} {at}{how}")
        if driver.dead:
            self.drivers.remove(driver)

    def kill(self, driver: Driver) -> None:
        self.story.append(f"{driver.name} is killed at “{driver.at}”")
        driver.kill()
        self.drivers.remove(driver)

    def expire(self) -> None:
        self._verb("the sweep ends what is too late", conduct.expire_due)

    def notify(self, *, dies: bool = False) -> None:
        self._verb("the follower tells", lambda: follow.tell(self.channel), dies=dies)

    def news(self) -> bool:
        """Whether the follower still has something to tell."""
        channel = Channel.objects.get(name="pager")
        ahead = Entry.objects.filter(seq__gt=channel.seq, tag__in=news.TOLD)
        return ahead.exists() or channel.deliveries.filter(ok=False).exists()

    def _tell(self, message: Message) -> None:
        if self.channel_is_dead:
            raise Failed("No answer.")
        self.told.append(message)

    # ── What clusters, time and strangers do ──

    def tick(self, seconds: float) -> None:
        self.clock.pass_time(seconds)
        self.world.advance()
        self.story.append(f"{seconds:g} s pass, it is {self.clock.now:%H:%M:%S}")

    @property
    def rows(self) -> list[Relationship]:
        return list(Relationship.objects.filter(gone_at=None).select_related("cluster").order_by("pk"))

    def failovers(self, *states: str) -> list[Failover]:
        found = Failover.objects.select_related("request", "relationship__cluster").order_by("pk")
        return list(found.filter(state__in=states) if states else found)

    def started(self) -> list[int]:
        return list(Failover.objects.filter(state__in=STARTED).order_by("pk").values_list("pk", flat=True))

    def able(self, asked: Request) -> list[str]:
        """Who can complete the count, in an order that does."""
        return [name for name in ("lind", "chen", "osei") if self.users[name].has(Role.APPROVER)]

    def end(self) -> None:
        for driver in self.drivers:
            driver.kill()
        self.drivers.clear()
