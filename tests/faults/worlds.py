"""Worlds in which little time passes."""

from __future__ import annotations

from dashboard.simulator import World, scenarios

UNHURRIED = 0.3  # a scale at which a machine that has much else to do keeps a send window of 1.5 s


def quick(relationships: int = 1, *, clusters: int = 1, revert: float = 0.3) -> World:
    """Clusters `dr-000`, …, each with that many relationships onto `/dr/0000`, …, whose reverts take a moment."""
    world = scenarios.large(clusters, relationships)
    for relationship in world.relationships.values():
        relationship.revert_takes = revert
    return world


def paths(world: World) -> list[str]:
    """What `Site.asked` calls each relationship of such a world, in its order."""
    return [f"{each.target.cluster.name}:{each.target.path}" for each in world.relationships.values()]
