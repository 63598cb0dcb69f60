"""The router as an ASGI application: requests in, each sent on to the replica that suits it best.

Wires access, search, registry and fleet together. It keeps nothing: any number of routers do.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from functools import partial

import httpx
import redis
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.keys import KeyRing
from app.layers import wrap
from app.metrics import Metrics
from app.parts import Parts
from app.problems import Problem, install_problems
from app.replicas import Replica, Replicas
from app.router.aiming import Aim, aim_at
from app.router.fleet import Fleet
from app.router.proxy import TIMEOUT, Proxy
from app.router.wanted import Seeker
from app.routes import metrics
from app.security import access_by
from app.settings import Settings
from app.storage import open_library, open_retriever, redis_url, registry_prefix
from cartridge_store.errors import StoreError
from cartridge_store.registry import Registry, connect
from retrieval.errors import RetrievalError

logger = logging.getLogger(__name__)

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_CONNECTIONS = 1024
_HEALTH_SECONDS = 2.0
_KEPT_SECONDS = (
    2.0  # shorter than the replicas keep an idle connection: they must not be first to close
)


class Routing:
    """What one router knows, and its choice for a request."""

    def __init__(self, settings: Settings, seeker: Seeker, http: httpx.AsyncClient) -> None:
        """Raises RegistryUnavailable when no Redis is named."""
        self._redis = connect(redis_url(settings))
        self._registry = Registry(self._redis, registry_prefix(settings))
        self._seeker, self._http = seeker, http
        announced = Replicas(self._redis, settings.redis_prefix).live
        self.fleet = Fleet(announced, self._lives, settings.route_bound)

    async def order(self, request: Request, body: bytes) -> list[Replica]:
        """The replicas to try for a request, the best first."""
        aim = None
        if request.method == "POST":
            authorization = request.headers.get("authorization", "")
            aim = await run_in_threadpool(self._aim, request.url.path, authorization, body)
        return self.fleet.order(aim)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()

    def _aim(self, path: str, authorization: str, body: bytes) -> Aim | None:
        try:
            wanted = self._seeker.wanted(path, authorization, body)
            return None if wanted is None else aim_at(wanted, self._registry, self.fleet.has)
        except UnicodeEncodeError:  # of what is no id: a replica says so
            return None
        except (RetrievalError, StoreError, redis.RedisError, OSError) as error:
            # Any replica can answer; it says what is wrong, if it is.
            logger.warning("Routed without an aim: %s", error)
            return None

    async def _lives(self, replica: Replica) -> bool:
        try:
            answer = await self._http.get(f"{replica.url}/health/live", timeout=_HEALTH_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            logger.info("Replica %s at %s does not answer: %r", replica.node, replica.url, error)
            return False
        return answer.is_success


def create_router(
    settings: Settings, parts: Parts | None = None, *, search: bool = True
) -> FastAPI:
    """The application. With `search` it finds a question's documents itself, in the data folder.

    Raises what making the encoder raises.
    """
    keys = KeyRing(settings.data, settings.api_keys)

    retriever = (
        open_retriever(settings, (parts or Parts()).encoder(), open_library(settings))
        if search
        else None
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = httpx.Limits(
            max_connections=_CONNECTIONS,
            max_keepalive_connections=64,
            keepalive_expiry=_KEPT_SECONDS,
        )
        # What the environment says of proxies is for the way out, not for the way in. Health is asked over
        # connections of its own: answers that take long must not make replicas look dead.
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False) as http,
            httpx.AsyncClient(trust_env=False) as health,
        ):
            seeker = Seeker(partial(access_by, keys), retriever, settings.max_question_chars)
            routing = Routing(settings, seeker, health)
            await routing.fleet.look()
            watching = asyncio.create_task(routing.fleet.watch())
            app.state.routing, app.state.proxy = routing, Proxy(http, routing.fleet)
            try:
                yield
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                await run_in_threadpool(routing.close)

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.closing = threading.Event()
    app.state.keys = keys
    app.state.metrics = Metrics()
    wrap(app, settings, keys, app.state.metrics)
    install_problems(app, lambda path: _METHODS)
    app.add_api_route("/health/live", _live, methods=["GET", "HEAD"])
    app.add_api_route("/health/ready", _ready, methods=["GET", "HEAD"])
    app.include_router(metrics.router)
    app.add_api_route("/{path:path}", _route, methods=_METHODS)
    return app


async def _live() -> dict[str, str]:
    return {"status": "ok"}


async def _ready(request: Request) -> Response:
    """Ready while a replica can be reached; says which can."""
    routing: Routing = request.app.state.routing
    if not routing.fleet.replicas:
        raise Problem(503, "not-ready", "No replica can be reached.", headers={"Retry-After": "2"})
    nodes = [replica.node for replica in routing.fleet.replicas]
    return JSONResponse({"status": "ready", "replicas": nodes})


async def _route(request: Request) -> Response:
    routing: Routing = request.app.state.routing
    proxy: Proxy = request.app.state.proxy
    body = await request.body()
    return await proxy.forward(request, body, await routing.order(request, body))
