"""The API as an ASGI application: settings in, routes over the wired parts out."""

import contextlib
import logging
from collections.abc import AsyncIterator
from threading import Event, Thread

import anyio.to_thread
import redis
from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from app.keys import KeyRing
from app.layers import wrap
from app.metrics import Lookups, Metrics
from app.openapi import allowed, install_openapi
from app.parts import Parts
from app.problems import install_problems
from app.routes import (
    answers,
    chat,
    collections,
    console,
    documents,
    health,
    jobs,
    metrics,
    reports,
)
from app.security import limited
from app.settings import Settings
from app.tracing import set_up_tracing
from app.wiring import Api, open_api
from cartridge_store.errors import StoreError
from retrieval.errors import RetrievalError

logger = logging.getLogger(__name__)

# Besides those of questions: each holds one while it waits and is answered.
_THREADS = 128
# Reading a PDF takes a core and, at worst, hundreds of megabytes.
_PARSED_TOGETHER = 2
# A long text's passages are encoded for minutes, and short ones are not to wait for it: many, and yet so
# few that the other half is there for all else.
_TAKEN_IN_TOGETHER = _THREADS // 2
_SECONDS_TO_COMPARE = 10.0  # before questions are taken, and before the parts are closed


def create_app(
    settings: Settings | None = None, parts: Parts | None = None, *, api: Api | None = None
) -> FastAPI:
    """The application; it opens its parts when it starts, unless `api` is given, and closes them.

    Starting raises RegistryUnavailable or ReaderError, each a sentence that says what to do.
    """
    settings = settings or Settings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        questions = settings.max_batch + settings.max_waiting
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS + questions
        opened = api
        if opened is None:
            opened = await run_in_threadpool(open_api, settings, parts or Parts())
        app.state.api = opened
        app.state.metrics.registry.register(_lookups(opened))
        # Here, as it belongs to the loop that runs.
        app.state.parsing = anyio.CapacityLimiter(_PARSED_TOGETHER)
        app.state.taking_in = anyio.CapacityLimiter(_TAKEN_IN_TOGETHER)
        comparing = Thread(target=_compare, args=(opened, app.state.closing), daemon=True)
        try:
            await run_in_threadpool(_reconcile, opened)
            # Thousands of cartridges in a store that is far away are compared while questions are answered.
            comparing.start()
            await run_in_threadpool(comparing.join, _SECONDS_TO_COMPARE)
            yield
        finally:
            app.state.closing.set()
            if comparing.ident is not None:
                await run_in_threadpool(comparing.join, _SECONDS_TO_COMPARE)
            end_traces = getattr(app.state, "end_traces", None)
            if end_traces is not None:
                await run_in_threadpool(end_traces)
            await run_in_threadpool(opened.close)

    app = FastAPI(
        title="Cartridge QA",
        summary="Questions answered from documents distilled into cartridges.",
        lifespan=lifespan,
        # The interactive pages load their scripts from elsewhere; the schema is at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.keys = KeyRing(settings.data, settings.api_keys)
    # Set when the service ends: streams that would go on for ever end with it.
    app.state.closing = Event()
    app.state.metrics = Metrics()
    wrap(app, settings, app.state.keys, app.state.metrics)
    install_problems(app, lambda path: allowed(app, path))
    for resource in (documents, jobs, answers, chat, collections, reports):
        app.include_router(resource.router, prefix="/v1", dependencies=[Depends(limited)])
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(console.router)
    install_openapi(app)
    if settings.traces:
        set_up_tracing(app)
    return app


def _lookups(api: Api) -> Lookups:
    def jobs() -> dict[str, float]:
        return api.base.tally.all() | {"waiting": api.base.queue.depth()}

    return Lookups(
        api.engine.load, lambda: dict(api.base.store.reads), jobs, lambda: api.admission.refused
    )


def _reconcile(api: Api) -> None:
    for collection in api.base.library.collections():
        try:
            api.retriever.reconcile(collection)
        except (
            RetrievalError,
            OSError,
        ) as error:  # of a full disk, say: what is indexed is searchable
            logger.warning("The index of %s is not complete: %s", collection, error)


class _Closing(Exception):
    """The service ends before all was compared; its next start, or a worker, compares."""


def _compare(api: Api, closing: Event) -> None:
    def going_on() -> None:
        if closing.is_set():
            raise _Closing

    try:
        api.base.reconciler.run(going_on)
    except _Closing:
        logger.info("Documents and jobs were not compared to the end.")
    except (redis.RedisError, StoreError, RetrievalError, OSError) as error:
        # The texts are searchable; a worker reconciles when Redis, or the object store, is back.
        logger.warning("Documents and jobs were not compared: %s", error)
