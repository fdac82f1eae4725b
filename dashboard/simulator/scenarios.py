"""Named worlds. Each takes a clock and returns a World that is already in the middle of its life."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dashboard.simulator import faults
from dashboard.simulator.terms import RevertEnds, State
from dashboard.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.simulator.world import Clock

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def pair(clock: Clock = time.time) -> World:
    """`prod` replicates /prod/finance/ to /dr/finance/ on `dr` each ten minutes; a revert takes three seconds."""
    world = World(clock)
    world.relate(world.add_cluster("prod"), "/prod/finance", world.add_cluster("dr"), "/dr/finance")
    return world


def large(clusters: int = 20, relationships: int = 100, clock: Clock = time.time) -> World:
    """Many target clusters, each with many healthy relationships from a source that is only a name."""
    world = World(clock)
    for c in range(clusters):
        source = world.add_cluster(f"prod-{c:03d}", listens=False)
        target = world.add_cluster(f"dr-{c:03d}")
        for r in range(relationships):
            every = 300.0 + 37 * (r % 17)
            age = every * (0.1 + 0.8 * r / relationships)
            world.relate(source, f"/data/{r:04d}", target, f"/dr/{r:04d}", age=age, every=every, takes=20.0 + r % 40)
    return world


def crowd(clusters: int = 200, clock: Clock = time.time) -> World:
    """Many target clusters with one relationship each, and no job that would begin within the hour."""
    world = World(clock)
    source = world.add_cluster("prod", listens=False)
    for c in range(clusters):
        world.relate(source, f"/data/{c:03d}", world.add_cluster(f"dr-{c:03d}"), f"/dr/{c:03d}", every=2 * HOUR)
    return world


# What the demonstration calls late: target cluster, path prefix, how old its recovery point may get.
OBJECTIVES: tuple[tuple[str, str, str], ...] = (
    ("dr-west", "/dr/dc1", "15m"),
    ("dr-west", "/dr/dc1/home", "30m"),
    ("dr-west", "/dr/dc3/reference", "4h"),
    ("dr-west", "/dr/dc3/render", "1d"),
    ("dr-east", "/dr/mail", "15m"),
    ("dr-east", "/dr/pacs", "4h"),
    ("dc2-archive", "/vault", "1d"),
    ("edge-hub", "/hub/pos-14", "10m"),
)


# What belongs together, whatever cluster and path it is on: target cluster, path prefix, tag.
TAGS: tuple[tuple[str, str, str], ...] = (
    ("dr-west", "/dr/dc1", "tier-1"),
    ("dr-east", "/dr/mail", "tier-1"),
    ("dr-east", "/dr/pacs", "patient-data"),
    ("dc2-archive", "/vault/legal", "retention"),
    ("dr-west", "/dr/dc3", "media"),
    ("dc2-archive", "/vault/stills", "media"),
)


def demo(clock: Clock = time.time) -> World:
    """A morning on which dc1-prod has lost its power: every state, and most of what can go wrong.

    dr-east and dc1-prod fall silent a minute after the first list that they give, so that they can be registered
    and their rows are known. Four relationships onto dr-west are ready for a failover: finance shows a revert of
    20 seconds with figures, engineering one of 35 seconds without. legal hangs for ever, cctv-12 fails.

    Jobs of dailies end every ninety seconds, so there is soon something to estimate a loss by. publish is ready for a
    planned failover after its first job; stills looks as if it were, and is in the trap of policy snapshots.
    """
    world = World(clock)
    west, east, archive, hub = (world.add_cluster(name) for name in ("dr-west", "dr-east", "dc2-archive", "edge-hub"))
    dc1, dc3 = world.add_cluster("dc1-prod"), world.add_cluster("dc3-media", version="7.7.2")
    branches = {number: world.add_cluster(f"branch-{number:02d}", listens=False) for number in (4, 7, 9, 11, 12, 14)}
    lab = world.add_cluster("lab-north", listens=False)

    finance = world.relate(
        dc1, "/prod/finance", west, "/dr/dc1/finance",
        age=34 * MINUTE + 20, every=10 * MINUTE, takes=36 * MINUTE, percent=64,
    )  # fmt: skip
    finance.jobs_stall()
    finance.revert_takes, finance.source_address = 20.0, "10.20.4.11"

    failing = world.relate(branches[11], "/cctv", hub, "/hub/cctv-11", age=9.77 * HOUR, every=10 * MINUTE, takes=41)
    failing.error = "Failed to write /hub/cctv-11/2026/03/14: quota limit reached on the target directory"
    failing.error_from_last_job = failing.error
    failing.revert_takes, failing.revert_shows_progress = 60.0, False

    engineering = world.relate(
        dc1, "/prod/engineering", west, "/dr/dc1/engineering", age=21 * MINUTE + 20, every=10 * MINUTE, takes=60
    )
    engineering.error = engineering.error_from_last_job = "Connection to 10.20.4.12:3712 timed out"
    engineering.revert_takes, engineering.revert_shows_progress = 35.0, False

    world.relate(
        dc3, "/scratch/render", west, "/dr/dc3/render", state=State.DISCONNECTED, age=43 * HOUR, takes=22 * MINUTE
    )
    world.relate(lab, "/sequencer", archive, "/vault/sequencer", state=State.AWAITING_AUTHORIZATION, age=None)
    world.relate(
        dc1, "/prod/home", west, "/dr/dc1/home",
        state=State.DISCONNECTING, age=26 * MINUTE, takes=15 * MINUTE, percent=72,
    ).rate = 1.1e9  # fmt: skip
    world.relate(
        dc3, "/masters", archive, "/vault/masters",
        state=State.REESTABLISHING, age=8.77 * HOUR, takes=3.5 * HOUR, percent=12,
    ).rate = 640e6  # fmt: skip
    world.relate(lab, "/old-2019", archive, "/vault/old-2019", state=State.ENDED, age=None)

    _dr_east(world)

    projects = world.relate(
        dc3, "/projects", west, "/dr/dc3/projects", age=22 * MINUTE, every=20 * MINUTE, takes=14 * MINUTE, percent=38
    )
    projects.rate, projects.revert_takes = 860e6, 45.0
    reference = world.relate(dc3, "/reference", west, "/dr/dc3/reference", age=16 * MINUTE + 20, every=HOUR, takes=192)
    reference.revert_takes = 25.0
    legal = world.relate(
        dc1, "/archive/legal", archive, "/vault/legal", age=5.27 * HOUR, every=12 * HOUR, takes=47 * MINUTE
    )
    legal.error = engineering.error
    legal.revert_takes, legal.revert_ends = 30.0, RevertEnds.HANGS
    cctv = world.relate(
        branches[12], "/cctv", hub, "/hub/cctv-12", age=12 * MINUTE, every=10 * MINUTE, takes=440, percent=91
    )
    cctv.rate, cctv.revert_takes, cctv.revert_ends = 118e6, 15.0, RevertEnds.FAILS
    cctv.revert_error = "Target cluster error: The revert to the recovery point failed: disk is full."
    tills = world.relate(branches[14], "/pos", hub, "/hub/pos-14", age=140, every=5 * MINUTE, takes=9)
    tills.revert_takes, tills.rate = 15.0, 20e6

    _dc3_media(world)

    for cluster in (east, dc1):
        cluster.faults.add(faults.silent(grace=60, armed_by="/target-relationships/status/"))
    return world


def _dc3_media(world: World) -> None:
    """Healthy relationships of a source that is there: one with many jobs, two whose source is read-only already."""
    dc3, west, archive = (world.clusters[name] for name in ("dc3-media", "dr-west", "dc2-archive"))
    dailies = world.relate(dc3, "/dailies", west, "/dr/dc3/dailies", age=45, every=90, takes=60)
    dailies.rate, dailies.revert_takes = 60e6, 20.0

    publish = world.relate(dc3, "/publish", west, "/dr/dc3/publish", age=100, every=2 * MINUTE, takes=20)
    publish.source.read_only = True
    publish.rate, publish.revert_takes = 5e6, 15.0

    stills = world.relate(dc3, "/stills", archive, "/vault/stills", age=59 * MINUTE, every=HOUR, takes=40)
    stills.settings.replication_mode = "REPLICATION_SNAPSHOT_POLICY"
    stills.take_policy_snapshot("hourly")
    stills.source.read_only = True


def _dr_east(world: World) -> None:
    """What was last heard of it: jobs like everywhere, and one relationship that is just coming back."""
    east, dc1 = world.clusters["dr-east"], world.clusters["dc1-prod"]
    mail = world.relate(
        dc1, "/prod/mail", east, "/dr/mail", age=16 * MINUTE, every=12 * MINUTE, takes=11.5 * MINUTE, percent=22
    )
    mail.rate = 610e6
    world.relate(
        dc1, "/prod/pacs", east, "/dr/pacs",
        state=State.RECONNECTING, age=3.85 * HOUR, takes=2.36 * HOUR, percent=8,
    ).rate = 480e6  # fmt: skip
    for branch, age, takes in (("branch-04", 21, 68), ("branch-07", 11, 52), ("branch-09", 36, 151)):
        world.relate(
            world.clusters[branch], "/shares", east, f"/dr/{branch}", age=age * MINUTE, every=40 * MINUTE, takes=takes
        )


NAMED: dict[str, Callable[[], World]] = {"demo": demo, "pair": pair, "large": large, "crowd": crowd}
