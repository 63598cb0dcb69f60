"""The wiring: every part is made here, once, and handed to the parts that need it.

Tests replace the heavy parts through `Parts`. Knows no route and no process.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import redis
from dramatiq.brokers.redis import RedisBroker
from transformers.utils import logging as transformers_logging

from app.answering import Answering
from app.broker import MAX_RETRIES, JobQueue, current_retries, make_broker, register
from app.collection_training import DistilCollection
from app.conflicts import Conflicts
from app.document_training import Distil, Draft, Join
from app.documents import Documents
from app.fleet import open_fleet
from app.heartbeat import Heartbeat
from app.idempotency import IdempotencyKeys
from app.jobs import Jobs
from app.limits import Admission, RateLimit
from app.reconcile import Reconciler
from app.relevance import RelevanceGate
from app.report_files import ReportFiles
from app.reporting import Reporting
from app.screening import Find, Screening
from app.settings import Settings
from app.study_shelf import StudyShelf
from app.tally import Tally
from app.tasks import TRANSIENT, Trainer
from app.uploads import Parse, open_parser
from app.work_folders import WorkFolders
from cartridge_store.blobs import BlobStore, LocalBlobs
from cartridge_store.changes import Changes
from cartridge_store.disk_tier import DiskTier
from cartridge_store.embedded import EmbeddedRedis, running_url
from cartridge_store.errors import RegistryUnavailable
from cartridge_store.object_blobs import ObjectBlobs
from cartridge_store.registry import Registry, connect
from cartridge_store.residency import Budget
from cartridge_store.store import CartridgeStore
from inference.engine import Engine, LocalEngine
from inference.reader import Reader, load_reader
from inference.requests import Drops
from retrieval.documents import DocumentLibrary
from retrieval.encoder import Encoder, MiniLmEncoder
from retrieval.retriever import Retriever
from training.collection import distil_collection
from training.conflicts import conflicts
from training.draft import draft
from training.joining import join
from training.pipeline import distil
from training.settings import TrainingSettings


def _reader(settings: Settings) -> Reader:
    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    # The commands draw their own bars, and a server's log has no use for any.
    bars.disable_progress_bar()
    try:
        return load_reader(settings.reader, device=settings.device, dtype=settings.dtype)
    finally:
        if shown:
            bars.enable_progress_bar()


def _engine(settings: Settings, reader: Reader) -> Engine:
    if settings.vllm_url is not None:
        from app.vllm_engine import VllmEngine  # others need no HTTP client

        return VllmEngine(reader, settings.vllm_url, api_key=settings.vllm_api_key)
    return LocalEngine(reader, max_batch=settings.max_batch, kv_bytes=settings.kv_bytes)


@dataclass(frozen=True)
class Parts:
    """The parts that take long or much memory, as functions that make or do them."""

    reader: Callable[[Settings], Reader] = _reader
    engine: Callable[[Settings, Reader], Engine] = _engine
    encoder: Callable[[], Encoder] = MiniLmEncoder
    distil: Distil = distil
    join: Join = join
    draft: Draft = draft
    conflicts: Find = conflicts
    distil_collection: DistilCollection = distil_collection


@dataclass(frozen=True)
class Foundation:
    """What the API, the worker and the doctor all stand on."""

    client: redis.Redis
    broker: RedisBroker
    library: DocumentLibrary
    store: CartridgeStore
    jobs: Jobs
    queue: JobQueue
    reader: Reader
    reconciler: Reconciler
    tally: Tally
    shelf: StudyShelf
    work: WorkFolders
    gate: RelevanceGate
    noted: Conflicts

    def close(self) -> None:
        """Close the connections to Redis."""
        self.store.close()
        self.queue.close()
        self.client.close()


@dataclass(frozen=True)
class Api:
    """What the routes use."""

    base: Foundation
    retriever: Retriever
    engine: Engine
    documents: Documents
    answering: Answering
    parse: Parse
    idempotency: IdempotencyKeys
    heartbeat: Heartbeat
    changes: Changes
    admission: Admission
    rates: RateLimit
    reports: ReportFiles
    mounts_any: bool  # cartridges that are in no store, too

    def close(self) -> None:
        """Finish what runs, then let go of everything."""
        self.heartbeat.close()
        self.changes.close()
        self.engine.close()
        self.base.close()


@dataclass(frozen=True)
class WorkerParts:
    """What the worker process uses; `stop` ends the job under way at its next step."""

    base: Foundation
    retriever: Callable[[], Retriever]
    stop: threading.Event = field(default_factory=threading.Event)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def close(self) -> None:
        """Let go of everything; nothing is at work any more."""
        self.closing.close()
        self.base.close()


def redis_url(settings: Settings) -> str:
    """The Redis to use: the one that is named, else the one embedded in the data folder.

    Raises RegistryUnavailable when there is neither.
    """
    url = settings.redis_url or running_url(redis_folder(settings))
    if url is None:
        raise RegistryUnavailable(
            f"No service runs on the data folder {settings.data}; start 'cartridges serve' or name "
            "a Redis with CARTRIDGES_REDIS_URL."
        )
    return url


@contextlib.contextmanager
def redis_at_hand(settings: Settings) -> Iterator[Settings]:
    """Settings that name a Redis: the named one, the running one, or one started for this block."""
    with contextlib.ExitStack() as open_:
        url = settings.redis_url or running_url(redis_folder(settings))
        if url is None:
            url = open_.enter_context(EmbeddedRedis(redis_folder(settings))).url
        yield settings.model_copy(update={"redis_url": url})


def require_redis(url: str) -> None:
    """Raise RegistryUnavailable unless the server answers: better at the start than at the end."""
    with connect(url) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            raise RegistryUnavailable(
                "Redis does not answer; check that it runs and that CARTRIDGES_REDIS_URL names it."
            ) from error


def redis_folder(settings: Settings) -> Path:
    """Where the embedded Redis keeps its file."""
    return settings.data / "redis"


def registry_prefix(settings: Settings) -> str:
    """What the registry's keys begin with; its own, since rebuilding it forgets them all."""
    return f"{settings.redis_prefix}registry:"


def open_foundation(settings: Settings, parts: Parts, disk: DiskTier | None = None) -> Foundation:
    """Connect and load the reader. Raises RegistryUnavailable, ReaderError, StoreError."""
    url, prefix = redis_url(settings), settings.redis_prefix
    client = connect(url)
    broker = make_broker(url, namespace=f"{prefix}dramatiq", retry_when=_worth_retrying)
    library = open_library(settings)
    jobs, queue = Jobs(client, prefix), JobQueue(broker)
    reader = parts.reader(settings)
    store = _store(settings, client, disk, pinned=reader.device.type == "cuda")
    shelf, work = StudyShelf(settings.data / "studies"), WorkFolders(settings.data / "training")
    noted = _conflicts(settings)
    reconciler = Reconciler(
        client=client,
        library=library,
        store=store,
        jobs=jobs,
        queue=queue,
        reader=reader,
        reports=ReportFiles(settings.data / "reports"),
        shelf=shelf,
        work=work,
        noted=noted,
        prefix=prefix,
    )
    tally = Tally(client, prefix)
    gate = RelevanceGate(shelf, settings.data / "relevance", settings.refuse)
    return Foundation(
        client,
        broker,
        library,
        store,
        jobs,
        queue,
        reader,
        reconciler,
        tally,
        shelf,
        work,
        gate,
        noted,
    )


@contextlib.contextmanager
def open_store(settings: Settings) -> Iterator[CartridgeStore]:
    """The cartridges alone, for what needs no reader. Raises RegistryUnavailable."""
    with connect(redis_url(settings)) as client, contextlib.closing(_store(settings, client)) as s:
        yield s


def _store(
    settings: Settings, client: redis.Redis, disk: DiskTier | None = None, *, pinned: bool = False
) -> CartridgeStore:
    blobs: BlobStore
    if settings.blobs_url is None:
        blobs = LocalBlobs(settings.data / "cartridges")
    else:
        blobs = ObjectBlobs(settings.blobs_url, settings.blobs_options)
    return CartridgeStore(
        blobs,
        Registry(client, registry_prefix(settings)),
        node=settings.node,
        budget=Budget(host_bytes=settings.host_bytes, pinned=pinned),
        disk=disk,
    )


def _disk(settings: Settings) -> DiskTier | None:
    """Copies of what is kept far away, for the one process that answers questions."""
    if settings.blobs_url is None or not settings.disk_bytes:
        return None
    return DiskTier(settings.data / "copies" / settings.node, settings.disk_bytes)


def open_library(settings: Settings) -> DocumentLibrary:
    """The documents on disk."""
    return DocumentLibrary(settings.data / "documents", max_bytes=settings.max_upload_bytes)


def open_retriever(settings: Settings, parts: Parts, library: DocumentLibrary) -> Retriever:
    """The search over the library."""
    hidden = _conflicts(settings).holds
    return Retriever(library, parts.encoder(), settings.data / "indexes", hidden)


def _conflicts(settings: Settings) -> Conflicts:
    return Conflicts(settings.data / "conflicts")


def open_api(settings: Settings, parts: Parts) -> Api:
    """Everything that answers requests. Raises ParserUnavailable, RegistryUnavailable, ReaderError."""
    parse = open_parser(settings)
    base = open_foundation(settings, parts, _disk(settings))
    retriever = open_retriever(settings, parts, base.library)
    engine = parts.engine(settings, base.reader)
    reports = ReportFiles(settings.data / "reports")
    documents = Documents(
        library=base.library,
        retriever=retriever,
        store=base.store,
        jobs=base.jobs,
        queue=base.queue,
        reader=base.reader,
        reports=reports,
        shelf=base.shelf,
        work=base.work,
        noted=base.noted,
    )
    answering = open_answering(settings, base, retriever, engine)
    return Api(
        base,
        retriever,
        engine,
        documents,
        answering,
        parse,
        IdempotencyKeys(base.client, settings.redis_prefix),
        Heartbeat(base.store.beat),
        base.store.follow(
            engine.drop if isinstance(engine, Drops) else None, answering.gone, answering.look
        ),
        Admission(lambda: engine.load().waiting, settings.max_waiting),
        RateLimit(base.client, settings.redis_prefix, settings.requests_per_minute),
        reports,
        settings.vllm_url is None,
    )


def open_answering(
    settings: Settings, base: Foundation, retriever: Retriever, engine: Engine
) -> Answering:
    """What answers questions, from the library and the store."""
    return Answering(
        library=base.library,
        retriever=retriever,
        store=base.store,
        engine=engine,
        reader=base.reader,
        max_question_chars=settings.max_question_chars,
        passages=settings.top_k,
        not_stated=settings.not_stated,
        second_look=settings.second_look,
        doubt=settings.doubt,
        least_relevance=base.gate.least,
    )


def open_worker(settings: Settings, parts: Parts) -> WorkerParts:
    """Everything that trains, registered with the broker. Raises as `open_api` does."""
    # What a worker holds is at hand for no question: its places are not those of its node's API.
    own = settings.model_copy(update={"node": f"{settings.node}-worker"})
    base = open_foundation(own, parts)
    retriever = cache(lambda: open_retriever(settings, parts, base.library))
    worker = WorkerParts(base, retriever)

    @cache
    def answering() -> Answering:
        engine = parts.engine(settings, base.reader)
        worker.closing.callback(engine.close)
        return open_answering(settings, base, retriever(), engine)

    training = training_settings(settings)
    fleet = open_fleet(settings, base.reader, training)
    reporting = Reporting(
        answering=answering,
        library=base.library,
        store=base.store,
        reader=base.reader,
        files=ReportFiles(settings.data / "reports"),
        settings=training_settings(settings),
        shelf=base.shelf,
        fleet=fleet,
    )
    screening = Screening(
        library=base.library,
        retriever=retriever,
        reader=base.reader,
        shelf=base.shelf,
        noted=base.noted,
        settings=training,
        policy=settings.conflicts,
        find=parts.conflicts,
    )
    trainer = Trainer(
        library=base.library,
        retriever=retriever,
        store=base.store,
        jobs=base.jobs,
        reader=base.reader,
        distil=parts.distil,
        join=parts.join,
        draft=parts.draft,
        distil_collection=parts.distil_collection,
        settings=training,
        work=base.work,
        stop=worker.stop,
        send_again=base.queue.send,
        tally=base.tally,
        report=reporting.run,
        shelf=base.shelf,
        screening=screening,
        fleet=fleet,
    )
    register(
        base.broker,
        lambda job_id: trainer.run(job_id, last_try=current_retries() >= MAX_RETRIES),
    )
    return worker


def training_settings(settings: Settings) -> TrainingSettings:
    """The recipe that these settings choose. Raises TrainingRefused."""
    chosen = dict(settings.training) | {
        "seed": settings.seed,
        "not_stated": settings.not_stated,
    }
    if settings.compression is not None:
        chosen["compression"] = settings.compression
    return TrainingSettings(**chosen)


def _worth_retrying(retries: int, error: BaseException) -> bool:
    return retries < MAX_RETRIES and isinstance(error, TRANSIENT)
