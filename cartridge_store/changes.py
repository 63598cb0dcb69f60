"""Changes: other processes hear at once that a document's current version is another one, or gone.

A message that is lost costs freshness until the registry is read the next time, and nothing else: whoever
listens is told `missed` whenever the connection was made anew. Knows a channel of Redis; knows no
cartridge.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25  # between looks at whether it has been closed
_PING_SECONDS = 2.0
_SILENT_SECONDS = 6.0  # a connection that does not even answer pings is given up
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """A document's current version now, None for none, and versions that are so no longer."""

    collection: str
    document_id: str
    current: str | None
    stale: tuple[str, ...]

    @classmethod
    def parse(cls, message: str) -> "Change":
        """From `collection/document current stale stale ...`, current `-` for none. Raises ValueError."""
        document, current, *stale = message.split()
        collection, document_id = document.split("/")
        return cls(collection, document_id, None if current == "-" else current, tuple(stale))


class Changes:
    """Listens in a thread of its own until it is closed."""

    def __init__(
        self,
        client: redis.Redis,
        channel: str,
        changed: Callable[[Change], None],
        missed: Callable[[], None],
    ) -> None:
        """`missed` is called whenever listening begins, at first and after every loss of the connection.

        Both are called in the thread; what they raise is logged.
        """
        self._client, self._channel = client, channel
        self._changed, self._missed = changed, missed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(self._channel)
                    self._listen(channel)
            except (redis.RedisError, OSError) as error:
                logger.info("Changes are not heard of: %s", error)
                self._ending.wait(_PAUSE_SECONDS)

    def _listen(self, channel: "redis.client.PubSub") -> None:
        heard = asked = time.monotonic()
        while not self._ending.is_set():
            message = channel.get_message(timeout=_LOOK_SECONDS)
            now = time.monotonic()
            if message is not None:
                heard = now
                self._take(message["type"], message["data"])
            elif now - heard > _SILENT_SECONDS:
                raise redis.ConnectionError("the connection is silent")
            if now - max(heard, asked) > _PING_SECONDS:
                asked = now
                channel.ping()

    def _take(self, kind: str, data: str) -> None:
        try:
            if kind == "subscribe":
                self._missed()
            elif kind == "message":
                self._changed(Change.parse(data))
        except Exception:  # one bad message must not end the listening
            logger.exception("A change was not taken in.")
