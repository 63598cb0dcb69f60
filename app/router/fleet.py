"""The fleet: the replicas that can be reached now, how busy each is, and in which order to try them.

A replica is in it while it announces itself and answers when it is asked whether it lives; one that is
slow to say so a time or two stays. Knows addresses and loads; knows no request. For one event loop:
nothing here takes a lock.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
import redis
from starlette.concurrency import run_in_threadpool

from app.replicas import Replica
from app.router.aiming import Aim
from cartridge_store.routing import Homes, ranked

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_UNHEARD = 10  # looks in turn until replicas are forgotten of which none is announced any more
_PATIENCE = 3  # looks in turn without an answer, until a replica that was there is left out


class Fleet:
    """Replicas behind one router."""

    def __init__(
        self,
        announced: Callable[[], Sequence[Replica]],
        lives: Callable[[Replica], Awaitable[bool]],
        bound: float,
    ) -> None:
        """`announced` may raise RedisError: those that were known are then asked on."""
        self._announced, self._lives, self._bound = announced, lives, bound
        self._known: Sequence[Replica] = ()
        self._replicas: list[Replica] = []
        self._silent: Counter[str] = Counter()  # looks in turn that were not answered
        self._vanished = 0  # looks in turn at which nobody of those known was announced
        self._homes = Homes([])
        self._mine: Counter[str] = Counter()  # requests that this router waits for

    @property
    def replicas(self) -> Sequence[Replica]:
        """Those that can be reached."""
        return tuple(self._replicas)

    def has(self, node: str) -> bool:
        """Whether the node can be reached."""
        return any(replica.node == node for replica in self._replicas)

    async def watch(self) -> None:
        """Look every second who is there, until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # the next look may go well
                logger.exception("The replicas were not looked at.")
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Look who is there now."""
        try:
            announced = await run_in_threadpool(self._announced)
            # All at once: it is Redis that was away, and they have not said so anew yet.
            self._vanished = 0 if announced or not self._known else self._vanished + 1
            if announced or self._vanished > _UNHEARD:
                self._known = announced
        except redis.RedisError as error:
            logger.warning("Redis does not answer; going on with the replicas known: %s", error)
        known = self._known
        alive = await asyncio.gather(*map(self._lives, known))
        there, silent = [], Counter[str]()
        for replica, lives in zip(known, alive, strict=True):
            silent[replica.node] = 0 if lives else self._silent[replica.node] + 1
            if lives or (self.has(replica.node) and silent[replica.node] < _PATIENCE):
                there.append(replica)
        self._silent = silent
        self._take(there)

    def lost(self, node: str) -> None:
        """Leave out a replica that could not be reached, until it answers again."""
        self._take([replica for replica in self._replicas if replica.node != node])

    def order(self, aim: Aim | None) -> list[Replica]:
        """The replicas to try in turn; without an aim the least busy first.

        When none answers, all that are announced: it may be this machine that is slow.
        """
        if not self._replicas:
            return list(self._known)
        loads = np.array([self._load(replica) for replica in self._replicas], dtype=np.int64)
        if aim is None:
            places = list(np.argsort(loads, kind="stable"))
        else:
            at = {replica.node: place for place, replica in enumerate(self._replicas)}
            worth = {at[node]: held for node, held in aim.worth.items() if held and node in at}
            places = ranked(worth, loads, self._homes.scores([aim.key])[0], self._bound)
        return [self._replicas[place] for place in places]

    @contextlib.contextmanager
    def busy(self, node: str) -> Iterator[None]:
        """While a request is under way to the node."""
        self._mine[node] += 1
        try:
            yield
        finally:
            self._mine[node] -= 1

    def _load(self, replica: Replica) -> int:
        # What it said of itself is up to a second old, but counts other routers' questions.
        return max(replica.load, self._mine[replica.node])

    def _take(self, replicas: list[Replica]) -> None:
        if [replica.node for replica in replicas] != [replica.node for replica in self._replicas]:
            self._homes = Homes([replica.node for replica in replicas])
        self._replicas = replicas
