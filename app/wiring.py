"""The wiring: what the API and the worker are made of, each part handed to the parts that need it.

Knows no route and no process.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from app.answering import Answering
from app.broker import MAX_RETRIES, current_retries, register
from app.certainty import Certainty
from app.documents import Documents
from app.fleet import open_fleet
from app.foundation import Foundation, open_foundation, training_settings
from app.heartbeat import Heartbeat
from app.idempotency import IdempotencyKeys
from app.limits import Admission, RateLimit
from app.mending import Mending
from app.parts import Parts
from app.report_files import ReportFiles
from app.reporting import Reporting
from app.screening import Screening
from app.settings import Settings
from app.storage import open_disk, open_retriever
from app.tasks import Trainer
from app.uploads import Parse, open_parser
from app.wide_encoder import WideEncoder
from cartridge_store.changes import Changes
from inference.engine import Engine
from inference.requests import Drops
from retrieval.documents import Document
from retrieval.retriever import Retriever


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


def open_api(settings: Settings, parts: Parts) -> Api:
    """Everything that answers requests.

    Raises ParserUnavailable, RegistryUnavailable, ReaderError, and TrainingRefused for a recipe with which
    every worker would fail.
    """
    training_settings(settings)
    parse = open_parser(settings)
    base = open_foundation(settings, parts, open_disk(settings))
    encoder = WideEncoder(parts.encoder(), settings.threads or 1)
    retriever = open_retriever(settings, encoder, base.library)
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
    answering = open_answering(
        settings, base, retriever, engine, Mending(base.store, documents.trained_anew)
    )
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
    settings: Settings,
    base: Foundation,
    retriever: Retriever,
    engine: Engine,
    damaged: Callable[[Document, str], None] = lambda document, cartridge_id: None,
) -> Answering:
    """What answers questions, from the library and the store; `damaged` is told of cartridges that are."""
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
        sure_at=Certainty(base.store, base.library, base.reader, settings.doubt).least,
        least_relevance=base.gate.least,
        damaged=damaged,
    )


def open_worker(settings: Settings, parts: Parts) -> WorkerParts:
    """Everything that trains, registered with the broker. Raises as `open_api` does."""
    base = open_foundation(settings.of_a_worker(), parts)
    retriever = cache(lambda: open_retriever(settings, parts.encoder(), base.library))
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
