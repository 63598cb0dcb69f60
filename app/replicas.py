"""Replicas: the API processes that share a Redis, as each says every second that it is there.

One that was silent for a few seconds is gone, by Redis' own clock. Knows addresses and loads; knows no
cartridge and no question.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import redis

from app.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
_GONE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """An API process: the node whose locations are its own, its address, its questions under way."""

    node: str
    url: str
    load: int = 0


class Replicas:
    """All that are there; every method raises `RedisError`."""

    def __init__(self, client: redis.Redis, prefix: str = "cq:") -> None:
        self._client = client
        self._prefix = f"{prefix}replica:"
        self._nodes = f"{prefix}replicas"

    def announce(self, replica: Replica) -> str | None:
        """Say that it is there; returns the address that was announced for its node before."""
        with self._client.pipeline() as pipeline:
            pipeline.get(self._prefix + replica.node)
            pipeline.set(
                self._prefix + replica.node,
                json.dumps(asdict(replica)),
                px=round(_GONE_SECONDS * 1000),
            )
            pipeline.sadd(self._nodes, replica.node)
            before = pipeline.execute()[0]
        return None if before is None else str(json.loads(before)["url"])

    def withdraw(self, node: str) -> None:
        """Say that it is going."""
        self._client.delete(self._prefix + node)

    def live(self) -> list[Replica]:
        """Those that are there, by name."""
        nodes = sorted(cast(set[str], self._client.smembers(self._nodes)))
        if not nodes:
            return []
        keys = [self._prefix + node for node in nodes]
        said = cast(list[str | None], self._client.mget(keys))
        # One that comes back meanwhile enters its name again with its next beat.
        if gone := [node for node, value in zip(nodes, said, strict=True) if value is None]:
            self._client.srem(self._nodes, *gone)
        return [_read(value) for value in said if value is not None]


def _read(value: str) -> Replica:
    # One of a later version may say more.
    said = json.loads(value)
    return Replica(said["node"], said["url"], said["load"])


class Announcing:
    """Announces a replica every second until it is closed, which withdraws it."""

    def __init__(self, replicas: Replicas, node: str, url: str, load: Callable[[], int]) -> None:
        self._replicas, self._node, self._url, self._load = replicas, node, url, load
        self._disputed = False
        self._say()
        self._heartbeat = Heartbeat(self._announce, BEAT_SECONDS)

    def close(self) -> None:
        """Withdraw it, before it is stopped: nobody is sent to it any more."""
        self._heartbeat.close()
        try:
            self._replicas.withdraw(self._node)
        except redis.RedisError as error:
            logger.warning("Not withdrawn, so it is missed in a few seconds: %s", error)

    def _say(self) -> None:
        try:
            self._announce()
        except redis.RedisError as error:
            logger.warning("Not announced yet: %s", error)

    def _announce(self) -> None:
        before = self._replicas.announce(Replica(self._node, self._url, self._load()))
        disputed = before not in (None, self._url)
        if disputed and not self._disputed:
            logger.error(
                "Node %s is announced at %s, too; give every replica a CARTRIDGES_NODE of its own.",
                self._node,
                before,
            )
        self._disputed = disputed
