"""Aiming: for what a question wants, a key of its home, and which node holds how much of it.

Joins what is wanted with what the registry knows. Knows names and tiers; knows no request and no load.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.router.wanted import Wanted
from cartridge_store.errors import InvalidId, RegistryUnavailable
from cartridge_store.registry import Registry
from cartridge_store.routing import key_of

logger = logging.getLogger(__name__)

# Memory is nearer than a copy on disk; either spares the network.
_WORTH = {"device": 1.0, "host": 1.0, "disk": 0.75, "object": 0.0}


@dataclass(frozen=True, slots=True)
class Aim:
    """What a choice of a node is made from: see `cartridge_store.routing.choose`."""

    key: int
    worth: Mapping[str, float] = field(default_factory=dict)


def aim_at(
    wanted: Wanted, registry: Registry, alive: Callable[[str], bool] = lambda node: True
) -> Aim:
    """Where the wanted documents' cartridges are; without the registry their home alone.

    Counts nodes that are `alive` only.
    """
    names = [f"{wanted.collection}/{document}" for document in wanted.documents]
    key = key_of(names or [wanted.collection])
    try:
        versions = registry.current(wanted.collection, wanted.documents)
        places = registry.locations(sorted(set(versions.values())))
    except RegistryUnavailable as error:
        logger.warning("Routed without knowing where cartridges are: %s", error)
        return Aim(key)
    except InvalidId:  # a replica says so to whoever asked
        return Aim(key)
    worth: dict[str, float] = defaultdict(float)
    for locations in places.values():
        best: dict[str, float] = {}
        for location in locations:
            if alive(location.node):
                near = max(best.get(location.node, 0.0), _WORTH[location.tier])
                best[location.node] = near
        for node, near in best.items():
            worth[node] += near
    return Aim(key, dict(worth))
