"""Patience with Redis: one more try for a connection, and none for a server that has just not answered.

A server that hangs makes every call wait for its time-out. After the first one it counts as away for some
seconds: calls fail at once then, but for one at a time that looks. This file knows calls and time; it knows
no command.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

T = TypeVar("T")

_AWAY_SECONDS = 5.0  # for which a server that did not answer in time is not asked
_LOOK_SECONDS = 12.0  # that a look may take, time-outs and its second try included


class Patience(Retry):
    """What a client's connections share; safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(NoBackoff(), 1)  # the server may have closed a connection meanwhile
        self._clock = clock
        self._lock = threading.Lock()
        self._away_until: float | None = None
        self._calling = threading.local()

    def __deepcopy__(self, memo: Any) -> "Patience":
        return self  # each connection takes a copy

    def call_with_retry(self, do: Callable[[], T], *rest: Any, **named: Any) -> T:
        """As `Retry` has it. Raises redis' ConnectionError at once while the server counts as away."""
        if getattr(self._calling, "inside", False):  # a connection made anew for the call under way
            return super().call_with_retry(do, *rest, **named)
        connected = getattr(self._calling, "connected", False)
        with self._lock:
            now, until = self._clock(), self._away_until
            if until is not None and now < until and not connected:
                raise ConnectionError("Redis did not answer in time a moment ago.")
            looks = until is not None
            if looks:
                self._away_until = now + _LOOK_SECONDS
        self._calling.inside, self._calling.connected = True, False
        until = None
        try:
            answer = super().call_with_retry(do, *rest, **named)
            if looks and not connected:
                # A command is two calls, and the first may have found its connection open: no answer yet.
                self._calling.connected, until = True, self._clock() + _LOOK_SECONDS
            return answer
        except TimeoutError:
            until = self._clock() + _AWAY_SECONDS
            raise
        finally:
            self._calling.inside = False
            with self._lock:
                self._away_until = until
