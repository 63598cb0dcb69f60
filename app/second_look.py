"""A second look: an answer from cartridges of which the reader is not sure is read again from text.

Behind a trained cartridge a reader that makes something up is seldom sure of it. How sure it must be not to
be doubted is `certainty`'s to say. This file knows streams; it knows no cartridge, no search and no HTTP.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator

from inference.requests import Completion, GenerationFailed, Stream

logger = logging.getLogger(__name__)

_SECONDS_OF_SILENCE = 0.25


class SecondLook:
    """A stream that lets nothing be heard until it is known which answer counts.

    Iterate for text, then read `completion`, as of an engine's stream: its figures are those of both
    looks, its first token the first that could be heard. Until then the pieces of text are empty.
    """

    def __init__(
        self, first: Stream, doubted: Callable[[Completion], bool], again: Callable[[], Stream]
    ) -> None:
        """`doubted` is told what the first look came to; `again` asks the engine once more."""
        self._first, self._doubted, self._again = first, doubted, again
        self._second: Stream | None = None
        self._began = time.perf_counter()
        self._before_ms = 0.0
        self.completion: Completion | None = None

    def __iter__(self) -> Iterator[str]:
        if self.completion is not None:
            return
        if self._second is None:
            try:
                yield from self._silence()
                said = self._first.result()
            except GenerationFailed as error:  # the text is at hand
                logger.warning("Behind the cartridges nothing was said: %s", error)
                said = None
            if said is not None and (self._first.cancelled.is_set() or not self._doubted(said)):
                self.completion = dataclasses.replace(said, first_token_ms=said.total_ms)
                yield said.text
                return
            self._second = self._again()
            self._before_ms = (time.perf_counter() - self._began) * 1e3
            if self._first.cancelled.is_set():  # while it was being asked
                self._second.cancel()
        yield from self._second
        second = self._second.result()
        first = self._first.completion
        self.completion = _both(first or _nothing(second), second, self._before_ms)

    def _silence(self) -> Iterator[str]:
        """Nothing to hear yet, but whoever has gone is noticed: now and then, as each costs others time."""
        said_at = float("-inf")
        for _ in self._first:
            if time.monotonic() - said_at > _SECONDS_OF_SILENCE:
                said_at = time.monotonic()
                yield ""

    def cancel(self) -> None:
        """Nobody reads any more."""
        self._first.cancel()
        if self._second is not None:
            self._second.cancel()


def _nothing(like: Completion) -> Completion:
    """What a look came to that failed."""
    return dataclasses.replace(
        like,
        prompt_tokens=0,
        cartridge_slots=0,
        completion_tokens=0,
        kv_bytes=0,
        compose_ms=0.0,
        load_ms=0.0,
        certainty=None,
    )


def _both(first: Completion, second: Completion, before_ms: float) -> Completion:
    """The second answer with what both took; `before_ms` went by before it was asked for."""
    return dataclasses.replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        cartridge_slots=first.cartridge_slots + second.cartridge_slots,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        kv_bytes=max(first.kv_bytes, second.kv_bytes),
        compose_ms=first.compose_ms + second.compose_ms,
        load_ms=first.load_ms + second.load_ms,
        first_token_ms=before_ms + second.first_token_ms,
        total_ms=before_ms + second.total_ms,
        certainty=first.certainty,
        token_ms=tuple(before_ms + at for at in second.token_ms),
    )
