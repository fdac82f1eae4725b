"""A fleet that the desk watches: simulated clusters, registered and read; and a browser that reads the pages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import redis
from django.db.models import Max
from django.test import Client

from dashboard.database import database_now
from dashboard.fleet import observe
from dashboard.fleet.models import Cluster, Relationship
from dashboard.simulator import ManualClock, World, scenarios
from tests.fleet.lookout import register

INLINE = {"a", "b", "bdi", "code", "em", "small", "span", "strong", "time", "use", "wbr"}
VOID = {"br", "circle", "col", "img", "input", "line", "link", "meta", "path", "rect", "use", "wbr"}


class Fleet:
    """Registered clusters of one simulated world, read once; `read` reads them all again."""

    def __init__(self, world: World | None = None, *names: str) -> None:
        self.clock = ManualClock()
        self.world = world or scenarios.demo(self.clock)
        targets = names or ("dr-west", "dc2-archive", "edge-hub", "dr-east", "dc1-prod")
        for name in targets:
            register(self.world.clusters[name])
        self.read()

    def read(self) -> None:
        for pk in Cluster.objects.order_by("pk").values_list("pk", flat=True):
            observe.observe(pk)

    def row(self, part: str) -> Relationship:
        return Relationship.objects.select_related("cluster").get(target_root_path__contains=part)

    def silence(self, name: str, *, minutes: int = 25) -> Cluster:
        """As if this cluster had not answered for so long."""
        since = database_now() - timedelta(minutes=minutes)
        Cluster.objects.filter(name=name).update(last_read_at=since, last_try_at=since, trouble="unreachable")
        observe.regrade(database_now())
        return Cluster.objects.get(name=name)


@dataclass
class Element:
    """`text` is everything written inside, in order; blanks, and borders between blocks, are one blank."""

    tag: str
    attrs: dict[str, str]
    parent: Element | None = None
    pieces: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    @property
    def classes(self) -> list[str]:
        return self.attrs.get("class", "").split()

    def within(self) -> Iterator[Element]:
        for child in self.children:
            yield child
            yield from child.within()

    def all(self, tag: str = "", cls: str = "", **attrs: str) -> list[Element]:
        """Below this element; attribute names with `_` for `-`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [
            each
            for each in self.within()
            if (not tag or each.tag == tag)
            and (not cls or cls in each.classes)
            and all(each.attrs.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str = "", cls: str = "", **attrs: str) -> Element:
        found = self.all(tag, cls, **attrs)
        assert len(found) == 1, f"{len(found)} of <{tag} {cls} {attrs}>"
        return found[0]

    def tags(self) -> Counter[str]:
        return Counter(each.tag for each in self.within())


class Page(HTMLParser):
    """What a browser would make of the markup. Elements that are not closed, or closed twice, fail the test."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.root = self.here = Element("", {})
        self.feed(markup)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in INLINE:
            self.handle_data(" ")
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        if tag not in INLINE:
            self.handle_data(" ")
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        element: Element | None = self.here
        while element is not None:
            element.pieces.append(data)
            element = element.parent


def parsed(response: Any) -> Element:
    assert response.status_code == 200, response.status_code
    return Page(response.content.decode()).root


def browser(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


TENS = 10  # seconds after which a page that is open is told anew, because time alone may have changed its words
A_MOMENT = 2  # seconds, from the page to the end of its poll


def calm() -> None:
    """For a test of what a poll brings: the ten seconds in which it begins do not end within a moment."""
    while (left := TENS - database_now().timestamp() % TENS) < A_MOMENT:
        time.sleep(left)


def keep(url: str) -> None:
    """What this Redis has for a second only does not run out any more, however slow the machine is."""
    store = redis.Redis.from_url(url)
    for key in store.scan_iter("failover-desk:page:*"):
        store.persist(key)


def since_read(**which: Any) -> float:
    """Seconds since the newest reading of these clusters, or of any: no age that was told before is greater."""
    newest = Cluster.objects.filter(**which).aggregate(at=Max("last_read_at"))["at"]
    return float((database_now() - newest).total_seconds()) + 0.05  # ages are told with one decimal


def polled(client: Client, root: Element) -> Any:
    """The answer to the next poll of this page, as htmx asks for it: with what its root includes."""
    live = next(each for each in root.within() if each.attrs.get("hx-trigger", "").startswith("every"))
    included = root.all(id=live.attrs.get("hx-include", "#").removeprefix("#")) if "hx-include" in live.attrs else []
    more = "".join(f"&{each.attrs['name']}={each.attrs['value']}" for each in included)  # the query has a `seen` before
    return client.get(live.attrs["hx-get"] + more, headers={"HX-Request": "true"})
