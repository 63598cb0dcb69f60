"""A second look: an answer from cartridges of which the reader is not sure is read again from text.

Behind a trained cartridge a reader that makes something up is seldom sure of every token. Where it must be
unsure to be doubted is what the cartridges' own held-out checks say: of the answers that it gives rightly,
no more than a chosen share may be doubted (the quantile of split conformal prediction). This file knows
streams and cartridges; it knows no search and no HTTP.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.conformal import threshold
from cartridge_store.cartridge import Cartridge
from inference.requests import Completion, Stream

_MOST = 200  # numbers that are looked at of a cartridge's


def sure_at(cartridges: Sequence[Cartridge], doubt: float) -> float | None:
    """The probability that each token of an answer from `cartridges` has to have.

    Of an answer that states something and is right, given the reader's right answers in the cartridges'
    held-out checks, the chance to be doubted is at most `doubt`. None where those are too few to say.
    """
    return threshold((p for each in cartridges for p in _held_out(each.manifest.figures)), doubt)


def _held_out(figures: dict[str, Any]) -> list[float]:
    # Of a cartridge that was trained elsewhere it may be anything.
    found = figures.get("held_out_certainty")
    listed = found[:_MOST] if isinstance(found, list) else []
    return [p for p in listed if isinstance(p, int | float) and 0 <= p <= 1]


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
            for _ in self._first:
                yield ""  # nothing to hear yet, but whoever has gone is noticed
            said = self._first.result()
            if self._first.cancelled.is_set() or not self._doubted(said):
                self.completion = dataclasses.replace(said, first_token_ms=said.total_ms)
                yield said.text
                return
            self._second = self._again()
            self._before_ms = (time.perf_counter() - self._began) * 1e3
            if self._first.cancelled.is_set():  # while it was being asked
                self._second.cancel()
        yield from self._second
        self.completion = _both(self._first.result(), self._second.result(), self._before_ms)

    def cancel(self) -> None:
        """Nobody reads any more."""
        self._first.cancel()
        if self._second is not None:
            self._second.cancel()


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
