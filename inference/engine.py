"""The engine: questions in, streamed answers out, concurrent requests decoded as one batch.

`LocalEngine` runs on the reader's device in a thread of its own. Requests that arrive while a batch
decodes wait for the next one. This file knows cartridges, texts and questions; it knows no
retrieval, no HTTP and no store.
"""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from cartridge_store.cartridge import Cartridge
from inference.composer import compose
from inference.decoding import Decoder, Prompt, Sampling
from inference.reader import Reader

__all__ = [
    "Completion",
    "Engine",
    "EngineClosed",
    "LocalEngine",
    "Request",
    "RequestRefused",
    "Sampling",
    "Stream",
]


class RequestRefused(ValueError):
    """The request cannot be served; the message says what to do."""


class EngineClosed(RuntimeError):
    """The engine was closed before the request was answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question with the cartridges and texts that it may look at."""

    question: str
    cartridges: tuple[Cartridge, ...] = ()
    texts: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer with its accounting; `kv_bytes` is what the request held when it ended."""

    text: str
    prompt_tokens: int
    cartridge_slots: int
    completion_tokens: int
    kv_bytes: int
    compose_ms: float
    first_token_ms: float
    total_ms: float


class Stream:
    """The answer to one request: iterate for text, then read `completion`."""

    def __init__(self) -> None:
        self._events: queue.Queue[str | Completion | BaseException] = queue.Queue()
        self.completion: Completion | None = None
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[str]:
        while self.completion is None:
            event = self._events.get()
            if isinstance(event, BaseException):
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


class Engine(Protocol):
    """Anything that answers requests: this process, or a server elsewhere."""

    def submit(self, request: Request) -> Stream:
        """Queue a request. Raises RequestRefused, or CartridgeRefused for another reader's."""
        ...

    def close(self) -> None:
        """Finish what runs, refuse the rest."""
        ...


@dataclass(slots=True)
class _Job:
    """A request on its way: its prompt, its stream, what it has said so far."""

    prompt: Prompt
    stream: Stream
    slots: int
    composed_ms: float
    arrived: float
    ids: list[int] = field(default_factory=list)
    said: str = ""
    first_token_ms: float = 0.0


def build_prompt(reader: Reader, request: Request) -> Prompt:
    """The prefix of the cartridges, and the ids of texts and question behind it.

    Raises RequestRefused when it does not fit the reader.
    """
    prefix = compose(reader, request.cartridges)
    chat = reader.chat
    if request.texts:
        ids = [*chat.documents(request.texts), *chat.question(request.question)]
    elif request.cartridges:
        ids = chat.question(request.question)
    else:
        ids = chat.bare_question(request.question)
    needed = prefix.question_at + len(ids) + request.sampling.max_tokens
    if needed > reader.max_positions:
        raise RequestRefused(
            f"The prompt needs {needed} positions but the reader has {reader.max_positions}: ask a "
            "shorter question, name fewer documents, or use their cartridges."
        )
    return Prompt(prefix, ids, request.sampling)


class LocalEngine:
    """Decodes on the reader's device, up to `max_batch` requests together."""

    def __init__(self, reader: Reader, *, max_batch: int = 16) -> None:
        self._reader = reader
        self._max_batch = max_batch
        self._waiting: queue.Queue[_Job | None] = queue.Queue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Stream:
        """Queue a request; its prefix is composed here, in the caller's thread."""
        if self._closed.is_set():
            raise EngineClosed("The engine is shut down; start the service again.")
        arrived = time.perf_counter()
        prompt = build_prompt(self._reader, request)
        composed = (time.perf_counter() - arrived) * 1e3
        slots = prompt.prefix.length - 1
        job = _Job(prompt, Stream(), slots, composed, arrived)
        self._waiting.put(job)
        return job.stream

    def close(self) -> None:
        """Finish the running batch, then stop; waiting requests get EngineClosed."""
        self._closed.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            jobs = self._next_batch()
            if jobs:
                try:
                    self._answer(jobs)
                except Exception as error:  # one bad batch must not end the service
                    for job in jobs:
                        job.stream.put(error)
        while not self._waiting.empty():
            left = self._waiting.get()
            if left is not None:
                left.stream.put(EngineClosed("The engine was shut down before this was answered."))

    def _next_batch(self) -> list[_Job]:
        jobs: list[_Job] = []
        first = self._waiting.get()
        while first is not None:
            jobs.append(first)
            if len(jobs) == self._max_batch or self._waiting.empty():
                break
            first = self._waiting.get()
        return jobs

    def _answer(self, jobs: list[_Job]) -> None:
        decoder = Decoder(self._reader, [job.prompt for job in jobs])
        while decoder.rows:
            for row in decoder.rows:
                if jobs[row].stream.cancelled.is_set():
                    decoder.drop(row)
                    self._finish(jobs[row])
            if not decoder.rows:
                return
            tokens = decoder.step()
            for row, token in tokens.items():
                self._say(jobs[row], token)
            for row in tokens.keys() - set(decoder.rows):
                self._finish(jobs[row])

    def _say(self, job: _Job, token: int) -> None:
        if not job.ids:
            job.first_token_ms = (time.perf_counter() - job.arrived) * 1e3
        if token == self._reader.end_id:
            return
        job.ids.append(token)
        text = self._reader.decode(job.ids)
        # A character may still lack bytes, and a tokenizer may take back a trailing space.
        if text.startswith(job.said) and not text.endswith(("�", " ", "\n")):
            job.stream.put(text[len(job.said) :])
            job.said = text

    def _finish(self, job: _Job) -> None:
        text = self._reader.decode(job.ids)
        if len(text) > len(job.said) and text.startswith(job.said):
            job.stream.put(text[len(job.said) :])
        prefix = job.prompt.prefix
        columns = prefix.length + len(job.prompt.ids) + len(job.ids)
        job.stream.put(
            Completion(
                text=text.strip(),
                prompt_tokens=len(job.prompt.ids),
                cartridge_slots=job.slots,
                completion_tokens=len(job.ids),
                kv_bytes=prefix.nbytes // prefix.length * columns,
                compose_ms=job.composed_ms,
                first_token_ms=job.first_token_ms,
                total_ms=(time.perf_counter() - job.arrived) * 1e3,
            )
        )
