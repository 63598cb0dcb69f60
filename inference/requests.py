"""What an engine is asked and what it answers: requests, streams, completions.

The same for every engine. This file knows cartridges and text; it knows no model and no thread of
its own.
"""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cartridge_store.cartridge import Cartridge
from inference.sampling import Sampling, Top


class RequestRefused(ValueError):
    """The request cannot be served; the message says what to do."""


class GenerationFailed(RuntimeError):
    """The reader made nothing of this request; the message says why."""


class ServerStumbled(GenerationFailed):
    """A server elsewhere failed at it; asked again it may answer."""


class EngineClosed(RuntimeError):
    """The engine was closed before the request was answered."""


class EngineUnavailable(EngineClosed):
    """The engine is a server elsewhere that does not answer, or serves another reader."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question with the cartridges and texts that it may look at."""

    question: str
    cartridges: tuple[Cartridge, ...] = ()
    texts: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer with its accounting.

    `kv_bytes` is what the request looked at when it ended, shared columns included; `compose_ms` is
    the time spent bringing its cartridges before it, `load_ms` what it waited for copies to the device.
    `cut` tells whether `max_tokens` ended it, `certainty` the probability that the reader gives to all of
    it, the end included; None where no `sure_at` was asked for, or nothing was said.
    """

    text: str
    prompt_tokens: int
    cartridge_slots: int
    completion_tokens: int
    kv_bytes: int
    compose_ms: float
    load_ms: float
    first_token_ms: float
    total_ms: float
    cut: bool = False
    certainty: float | None = None
    tops: tuple[Top, ...] = ()
    token_ms: tuple[float, ...] = ()
    """When each token came, after the request's arrival."""


class Stream:
    """The answer to one request: iterate for text, then read `completion`."""

    def __init__(self) -> None:
        self._events: queue.Queue[str | Completion | BaseException] = queue.Queue()
        self.completion: Completion | None = None
        self._error: BaseException | None = None
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[str]:
        while self.completion is None:
            event = self._error or self._events.get()
            if isinstance(event, BaseException):
                self._error = event  # for whoever asks again
                raise event
            if isinstance(event, Completion):
                self.completion = event
            else:
                yield event

    def cancel(self) -> None:
        """Nobody reads any more: stop decoding at the next token."""
        self.cancelled.set()

    def put(self, event: str | Completion | BaseException) -> None:
        """For engines: hand over text, the end, or an error."""
        self._events.put(event)

    def result(self) -> Completion:
        """Wait for the whole answer."""
        for _ in self:
            pass
        assert self.completion is not None
        return self.completion


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is: requests by state, bytes of its pool, and how often a cartridge was there."""

    waiting: int
    loading: int
    running: int
    pinned_bytes: int
    resident_bytes: int
    capacity_bytes: int
    cartridges_found: int
    cartridges_copied: int


@runtime_checkable
class Drops(Protocol):
    """An engine that keeps cartridges for later, and can be told not to."""

    def drop(self, cartridge_id: str) -> None:
        """Keep a cartridge no longer than the requests that name it now. Safe in every thread."""
        ...


class Engine(Protocol):
    """Anything that answers requests: this process, or a server elsewhere."""

    def submit(self, request: Request) -> Stream:
        """Queue a request. Raises RequestRefused, or CartridgeRefused for another reader's."""
        ...

    def load(self) -> EngineLoad:
        """How busy it is now."""
        ...

    def trouble(self) -> str | None:
        """Why nothing can be answered now, and what to do; None where it can. Takes two seconds at most."""
        ...

    def close(self) -> None:
        """Finish what runs, refuse the rest."""
        ...
