"""The worker process: takes training jobs from the queue, one at a time, until it is told to stop.

Knows signals, threads and how to look after Redis; the training itself is `tasks.Trainer`'s.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

import dramatiq
import redis

from app.parts import Parts
from app.settings import Settings
from app.storage import redis_url, require_redis
from app.wiring import WorkerParts, open_worker
from cartridge_store.errors import StoreError
from inference.allocation import keep_freed_memory
from inference.threads import compute_alone, compute_with
from retrieval.errors import RetrievalError

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_COLLECTIONS = 3600.0
_SECONDS_BETWEEN_PURGES = 60.0
_SECONDS_BETWEEN_TRIES = 60.0
_SECONDS_TO_SETTLE = 30.0  # after an outage of Redis; consumers try again every five
_IDLE_MS = 200
_STOP_MS = 30_000


def run_worker(settings: Settings, parts: Parts | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until the process that started this one has ended.

    The job under way is then given back with its checkpoint. Runs in the main thread. Raises
    RegistryUnavailable or ReaderError when it cannot start.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    parent = os.getppid()
    threads = compute_alone()
    keep_freed_memory()
    require_redis(redis_url(settings))
    worker = open_worker(settings, parts or Parts())
    # Teams that together have more members than there are processors keep each other waiting.
    share = max(1, threads // max(1, settings.workers))
    worker.base.broker.add_middleware(_Threads(settings.threads or share))
    watch = _Watch(worker, settings.grace_seconds)
    with working(worker):
        while not ending.wait(_SECONDS_BETWEEN_LOOKS) and os.getppid() == parent:
            watch.look()


@contextlib.contextmanager
def working(worker: WorkerParts) -> Iterator[None]:
    """Jobs are taken and done, in threads, within this block; leaving gives the last one back."""
    consumers = dramatiq.Worker(worker.base.broker, worker_threads=1, worker_timeout=_IDLE_MS)
    # One job at a time, and none put by that another worker could have.
    consumers.queue_prefetch = 1
    consumers.start()
    try:
        yield
    finally:
        worker.stop.set()
        consumers.stop(timeout=_STOP_MS)
        worker.close()


class _Threads(dramatiq.Middleware):
    """The thread that does jobs computes with so many torch threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: threading.Thread) -> None:
        compute_with(self._threads)


class _Watch:
    """Reconciles at the start, after Redis was away or emptied, and now and then; collects every hour."""

    def __init__(self, worker: WorkerParts, grace_seconds: float) -> None:
        self._reconciler = worker.base.reconciler
        self._store = worker.base.store
        self._library = worker.base.library
        self._retriever = worker.retriever
        self._grace_seconds = grace_seconds
        self._due = True
        self._was_away = False  # Redis, since the last run
        self._compare_at = self._collect_at = self._purge_at = time.monotonic()

    def look(self) -> None:
        try:
            self._compare()
            self._purge()
            self._collect()
        except redis.exceptions.LockError:
            logger.info("Another process compares documents and jobs; trying again.")
            self._due = True
        except redis.RedisError as error:
            if not self._due:
                logger.warning("Redis does not answer; waiting for it. (%s)", error)
            self._due = self._was_away = True
        except (StoreError, RetrievalError, OSError):
            logger.exception(
                "What was deleted or replaced could not be tidied up; trying again later."
            )

    def _compare(self) -> None:
        if time.monotonic() < self._compare_at:
            return
        try:
            if self._due or self._reconciler.is_due():
                self._reconciler.run()
            else:
                self._reconciler.resend()
            # The message of a job that could not be given back is there until its consumer has said so: it
            # is looked for once more when that is over.
            self._due, self._was_away = self._was_away, False
            if self._due:
                self._compare_at = time.monotonic() + _SECONDS_TO_SETTLE
        except (StoreError, RetrievalError, OSError):
            # What else there is to do does not wait for it.
            logger.exception("Documents and jobs could not be compared; trying again in a minute.")
            self._due = True
            self._compare_at = time.monotonic() + _SECONDS_BETWEEN_TRIES

    def _purge(self) -> None:
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + _SECONDS_BETWEEN_PURGES
        retriever = self._retriever()
        for collection in self._library.collections():
            retriever.purge(collection)

    def _collect(self) -> None:
        if time.monotonic() < self._collect_at:
            return
        self._collect_at = time.monotonic() + _SECONDS_BETWEEN_COLLECTIONS
        if collected := self._store.collect(self._grace_seconds):
            logger.info("Deleted %d cartridges that were replaced or removed.", len(collected))
