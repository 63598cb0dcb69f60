"""The engine: questions in, streamed answers out, all of them decoded in one running batch.

`LocalEngine` runs on the reader's device in a thread of its own. A request waits, first come first
served, until its keys and values fit the pool; then its cartridges are copied to the device beside the
decoding of the others, and it joins at the next token. This file knows cartridges, texts and questions;
it knows no retrieval, no HTTP and no store.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from cartridge_store.cartridge import Cartridge
from inference.batch import Batch, Row, Said, columns_of, pool_of
from inference.pages import PoolTooSmall, Span
from inference.prompting import Prompted, build_prompt
from inference.reader import Reader
from inference.requests import (
    Completion,
    Engine,
    EngineClosed,
    EngineLoad,
    Request,
    RequestRefused,
    Stream,
)
from inference.sampling import Sampling, Top, together
from inference.speech import Speech
from inference.threads import compute_alone, compute_with

logger = logging.getLogger(__name__)

_SMALL = 50_000_000  # parameters

__all__ = [
    "Completion",
    "Engine",
    "EngineClosed",
    "EngineLoad",
    "LocalEngine",
    "Request",
    "RequestRefused",
    "Sampling",
    "Stream",
    "answering_threads",
]


@dataclass(eq=False, slots=True)
class _Job:
    """A request on its way."""

    prompted: Prompted
    sampling: Sampling
    stream: Stream
    speech: Speech
    arrived: float
    spans: list[Span] = field(default_factory=list)
    row: Row | None = None
    admitted: float = 0.0
    columns: int = 0  # that it looked at when it left
    compose_ms: float = 0.0
    load_ms: float = 0.0
    token_ms: list[float] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    cut: bool = False
    certainty: float | None = None


def answering_threads(reader: Reader, threads: int | None) -> int:
    """So many of torch's threads to answer with, all that the caller has where it is None; one where the
    reader is small.

    Its operations are over before another thread has begun. Sixteen answers at once and long prompts are
    faster with several on a quiet machine, and much slower beside a training (docs/log.md).
    """
    if sum(each.numel() for each in reader.model.parameters()) < _SMALL:
        return 1
    return threads or torch.get_num_threads()


class LocalEngine:
    """Decodes on the reader's device, up to `max_batch` requests together."""

    def __init__(
        self,
        reader: Reader,
        *,
        max_batch: int = 16,
        kv_bytes: int = 1 << 30,
        page_slots: int = 64,
        threads: int | None = None,
    ) -> None:
        """`kv_bytes` bounds the keys and values of all requests and resident cartridges.

        `threads` are torch's, those of `answering_threads` where it is None. Threads that begin after this
        have one.

        Raises PoolTooSmall, and ValueError for a batch of nothing.
        """
        if max_batch < 1:
            raise ValueError("max_batch must be at least 1.")
        self._reader = reader
        self._max_batch = max_batch
        self._pool = pool_of(reader, kv_bytes, page_slots=page_slots)
        self._batch = Batch(reader, self._pool)
        self._inbox: queue.Queue[_Job | tuple[Span, Future[None]] | str | None] = queue.Queue()
        self._waiting: deque[_Job] = deque()
        self._loading: list[_Job] = []
        self._running: dict[Row, _Job] = {}
        self._found = self._copied = 0  # cartridges that were on the device already, or not
        self._fetching = 0  # copies to the device that are under way
        self._arrived: deque[tuple[Span, Future[None]]] = deque()
        self._dropped: deque[str] = deque()
        self._stuck = False  # whoever waits first did not fit, and only a copy can change that
        on_cuda = reader.device.type == "cuda"
        self._stream = torch.cuda.Stream(reader.device) if on_cuda else None
        self._threads = threads or answering_threads(reader, None)
        self._loader = ThreadPoolExecutor(1, "engine-loader", initializer=compute_alone)
        self._closed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Stream:
        """Queue a request.

        Raises EngineClosed, RequestRefused when it can never fit, and what `arrange` raises.
        """
        if self._closed.is_set():
            raise EngineClosed("The engine is shut down; start the service again.")
        arrived = time.perf_counter()
        prompted = build_prompt(self._reader, request)
        try:
            self._pool.require_room(prompted.shared, columns_of(prompted.ids, request.sampling))
        except PoolTooSmall as error:
            raise RequestRefused(str(error)) from error
        speech = Speech(self._reader.tokenizer, request.sampling.stop)
        job = _Job(prompted, request.sampling, Stream(), speech, arrived)
        self._inbox.put(job)
        if self._ended.is_set():
            self._refuse_inbox()  # it ended between the check and the put: nobody else will
        return job.stream

    def load(self) -> EngineLoad:
        """How busy the engine is now."""
        size = self._pool.shape.nbytes
        return EngineLoad(
            waiting=len(self._waiting) + self._inbox.qsize(),
            loading=len(self._loading),
            running=len(self._running),
            pinned_bytes=self._pool.pinned_bytes,
            resident_bytes=self._pool.resident_bytes,
            capacity_bytes=self._pool.capacity * size,
            cartridges_found=self._found,
            cartridges_copied=self._copied,
        )

    def trouble(self) -> str | None:
        """That it has ended, or None."""
        return "The engine has ended; restart the service." if self._closed.is_set() else None

    def held_bytes(self, request: Request) -> int:
        """Bytes of the pool's pages that the request needs, were it alone: cartridges, prompt, answer."""
        prompted = build_prompt(self._reader, request)
        return self._pool.needs(prompted.shared, columns_of(prompted.ids, request.sampling))

    def drop(self, cartridge_id: str) -> None:
        """Keep a cartridge on the device no longer than the requests that name it now."""
        self._inbox.put(cartridge_id)

    def close(self) -> None:
        """Finish the running requests, then stop; the others get EngineClosed."""
        self._closed.set()
        self._inbox.put(None)
        self._thread.join()
        self._loader.shutdown()

    def _run(self) -> None:
        compute_with(self._threads)
        try:
            while not (self._closed.is_set() and not self._running):
                self._receive()
                if self._closed.is_set():
                    self._refuse()
                try:
                    self._turn()
                except Exception as error:  # one bad step must not end the service
                    logger.exception("A step of the engine failed.")
                    self._fail(error)
        except BaseException as error:  # not even that could be mended: nobody is to wait for it
            logger.exception("The engine has ended.")
            self._closed.set()
            for jobs in (self._running.values(), self._loading, self._waiting):
                for job in jobs:
                    job.stream.put(error)
            self._running, self._loading, self._waiting = {}, [], deque()
        finally:
            try:
                self._refuse()
            finally:  # whatever is wrong, nobody waits for an answer that will not come
                self._ended.set()
                self._refuse_inbox()

    def _fail(self, error: Exception) -> None:
        with contextlib.ExitStack() as failing:  # all of them, whatever goes wrong with one
            for job in [*self._running.values(), *self._loading]:
                failing.callback(job.stream.put, error)
                failing.callback(self._leave, job)

    def _receive(self) -> None:
        """Take in what has arrived; with nothing to do, wait for it."""
        while True:
            admissible = self._waiting and not (self._stuck and self._fetching)
            events = self._arrived or self._dropped
            busy = self._running or events or admissible or self._closed.is_set()
            try:
                event = self._inbox.get(block=not busy)
            except queue.Empty:
                return
            if isinstance(event, _Job):
                self._waiting.append(event)
            elif isinstance(event, str):
                self._dropped.append(event)
            elif event is not None:
                self._arrived.append(event)

    def _turn(self) -> None:
        while self._arrived:
            self._loaded(*self._arrived.popleft())
        while self._dropped:
            self._pool.discard(self._dropped.popleft())
        self._drop_cancelled()
        self._admit()
        self._start()
        for said in self._batch.step():
            self._say(self._running[said.row], said)

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._waiting if job.stream.cancelled.is_set()]:
            self._waiting.remove(job)
            self._finish(job)
        for job in [*self._loading, *self._running.values()]:
            if job.stream.cancelled.is_set():
                self._end(job)

    def _admit(self) -> None:
        """Let waiting requests in, in their order: a large one is not passed by for ever."""
        while self._waiting and len(self._running) + len(self._loading) < self._max_batch:
            job = self._waiting[0]
            columns = columns_of(job.prompted.ids, job.sampling)
            if not self._pool.fits(job.prompted.shared, columns):
                break
            self._waiting.popleft()
            job.admitted = time.perf_counter()
            arranged = job.prompted.arranged
            try:
                own = self._pool.private(columns)
                job.row = Row(job.prompted.ids, arranged.question_at, job.spans, own, job.sampling)
            except (
                BaseException
            ) as error:  # it waits no more and is not let in: nobody else tells it
                job.stream.put(error)
                raise
            self._loading.append(job)
            # Those that are there first: room for the others is not to be made of them.
            for cartridge in sorted(arranged.cartridges, key=lambda c: not self._pool.holds(c.id)):
                span, fresh = self._pool.pin(cartridge.id, cartridge.slots)
                self._copied += fresh
                self._found += not fresh
                try:
                    if fresh:
                        self._fetch(span, cartridge)
                except BaseException:
                    self._pool.forget(span)  # nobody is going to write it
                    raise
                job.spans.append(span)
            job.compose_ms = _since(job.admitted)
        self._stuck = bool(self._waiting)

    def _fetch(self, span: Span, cartridge: Cartridge) -> None:
        """Copy a cartridge to its pages beside the decoding; one copy serves all who wait for it."""
        # What the engine's own stream does with these pages, such as emptying them, comes first.
        device = self._reader.device
        free = None if self._stream is None else torch.cuda.current_stream(device).record_event()
        future = self._loader.submit(self._copy, span, cartridge, free)
        self._fetching += 1
        future.add_done_callback(lambda done: self._inbox.put((span, done)))

    def _copy(self, span: Span, cartridge: Cartridge, free: torch.cuda.Event | None) -> None:
        keys, values = cartridge.dense()
        if self._stream is None:
            self._pool.write(span, keys, values)
            return
        with torch.cuda.stream(self._stream):  # a stream of its own: decoding does not wait for it
            if free is not None:
                self._stream.wait_event(free)
            self._pool.write(span, keys, values)
        self._stream.synchronize()

    def _loaded(self, span: Span, future: "Future[None]") -> None:
        self._fetching -= 1
        self._pool.loaded(span)
        error = future.exception()
        if error is None:
            return
        for job in [job for job in self._loading if span in job.spans]:
            self._end(job, error)
        self._pool.forget(span)

    def _start(self) -> None:
        """Let in the batch whose cartridges have all arrived."""
        for job in [job for job in self._loading if not any(s.loading for s in job.spans)]:
            assert job.row is not None
            self._batch.join(job.row)
            self._loading.remove(job)
            self._running[job.row] = job
            job.load_ms = _since(job.admitted) - job.compose_ms

    def _leave(self, job: _Job) -> None:
        """Give back all that an admitted job holds."""
        assert job.row is not None
        job.columns = job.row.own.columns + sum(span.columns for span in job.spans)
        # Whatever goes wrong with one of these, the others are given back.
        with contextlib.ExitStack() as leaving:
            leaving.callback(job.spans.clear)
            for span in job.spans:
                leaving.callback(self._pool.unpin, span)
            if self._running.pop(job.row, None) is not None:
                leaving.callback(self._batch.leave, job.row)
            else:
                self._loading.remove(job)
                leaving.callback(self._pool.forget, job.row.own)

    def _end(self, job: _Job, error: BaseException | None = None) -> None:
        """Let an admitted job go, with its answer as it is or with what went wrong.

        Once it has left nobody else knows of its client: whatever goes wrong here is told to it, too.
        """
        try:
            self._leave(job)
            if error is None:
                self._finish(job)
        except BaseException as broken:
            job.stream.put(error or broken)
            raise
        if error is not None:
            job.stream.put(error)

    def _say(self, job: _Job, said: Said) -> None:
        speech, token, top = job.speech, said.token, said.top
        if said.error is not None:
            self._end(job, said.error)
            return
        job.token_ms.append(_since(job.arrived))
        if said.probability is not None:
            job.certainty = together(job.certainty, said.probability)
            if job.certainty < (job.sampling.sure_at or 0.0):
                self._end(job)
                return
        ended = token in self._reader.end_ids and not job.sampling.ignore_end
        if not ended:
            if top is not None:
                job.tops.append(top)
            piece = speech.push(token)
            if piece:
                job.stream.put(piece)
        full = len(speech.ids) == job.sampling.max_tokens
        if ended or speech.stopped or full:
            job.cut = full and not (ended or speech.stopped)
            self._end(job)

    def _finish(self, job: _Job) -> None:
        piece = job.speech.close()
        if piece:
            job.stream.put(piece)
        job.stream.put(
            Completion(
                text=job.speech.text.strip(),
                prompt_tokens=len(job.prompted.ids),
                cartridge_slots=job.prompted.arranged.slots,
                completion_tokens=len(job.speech.ids),
                kv_bytes=self._pool.shape.column_nbytes * job.columns,
                compose_ms=job.compose_ms,
                load_ms=job.load_ms,
                first_token_ms=job.token_ms[0] if job.token_ms else 0.0,
                total_ms=_since(job.arrived),
                cut=job.cut,
                certainty=job.certainty,
                tops=tuple(job.tops),
                token_ms=tuple(job.token_ms),
            )
        )

    def _refuse(self) -> None:
        closed = EngineClosed("The engine was shut down before this was answered.")
        for job in list(self._loading):
            self._end(job, closed)
        while self._waiting:
            self._waiting.popleft().stream.put(closed)

    def _refuse_inbox(self) -> None:
        while True:
            try:
                event = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(event, _Job):
                event.stream.put(EngineClosed("The engine was shut down before this was answered."))


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1e3
