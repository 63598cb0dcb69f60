"""The whole service in one process tree: Redis when it is ours, the API, and worker processes.

What `serve` runs until it is stopped, and what `ingest` and `ask` run for as long as they need it.
"""

import contextlib
import ipaddress
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from app.address import write_address
from app.keys import KeyRing
from app.listening import ServiceError, listen, served, url_of
from app.main import create_app
from app.parts import Parts
from app.replicas import Announcing, Replicas
from app.settings import Settings
from app.storage import redis_folder, redis_url, require_redis
from app.wiring import Api, open_api
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import RegistryUnavailable
from cartridge_store.folder_lock import FolderLock
from inference.threads import compute_alone, compute_with

logger = logging.getLogger(__name__)

__all__ = ["WORKER_COMMAND", "Service", "ServiceError"]

WORKER_COMMAND = (sys.executable, "-m", "app.cli", "worker")
_LOCK_FILE = "service.lock"
_STOP_SECONDS = 40.0
_SECONDS_BETWEEN_LOOKS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""For workers, unless the service has tunables of its own: training asks for megabytes and frees them many
times a second, which costs two threads a fifth of their time with small pages (docs/log.md)."""


class Service:
    """Runs between entering and leaving a `with` block, which must be in the main thread.

    With a Redis that is named by its URL, several may share a data folder and are announced to routers,
    each under a node name of its own. Entering raises `ServiceError` (the port, the address),
    `FolderBusy` (a second service on the data folder, or of the same node), `RegistryUnavailable`,
    `ReaderError`.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts | None = None,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self.settings = settings
        self._parts = parts
        self._command = tuple(worker_command)
        self._open = contextlib.ExitStack()
        self.url = ""

    def __enter__(self) -> "Service":
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def _start(self) -> None:
        settings = self.settings
        threads = compute_alone()  # the engine's thread takes what it needs
        self._open.callback(compute_with, threads)
        if not settings.is_loopback and not KeyRing(settings.data, settings.api_keys).needed:
            raise ServiceError(
                f"Without API keys the service listens to this machine only, not to "
                f"{settings.host}; make one with 'cartridges keys create NAME' or use the host "
                "127.0.0.1."
            )
        _make_folder(settings.data)
        shared = settings.redis_url is not None
        self._lock(_LOCK_FILE, shared=shared)
        if shared:
            # Replicas share the folder; what is a node's own, it has to itself.
            self._lock(f"node-{settings.node}.lock")
        listening = self._open.enter_context(listen(settings.host, settings.port))
        self.url = url_of(listening)
        if settings.redis_url is None:
            embedded = self._open.enter_context(EmbeddedRedis(redis_folder(settings)))
            self._open.enter_context(_kept_alive(embedded))
            settings = settings.model_copy(update={"redis_url": embedded.url})
        require_redis(redis_url(settings))
        # Only here: where nobody says how many, a fleet's workers have one.
        answering = settings.model_copy(update={"threads": settings.threads or threads})
        self._open.enter_context(_serving(answering, self._parts, listening, shared=shared))
        self._open.enter_context(_workers(settings, self._command))
        address = write_address(settings.data, self.url, settings.node)
        self._open.callback(address.unlink, missing_ok=True)

    def _lock(self, name: str, *, shared: bool = False) -> None:
        lock = FolderLock(self.settings.data.resolve(), name)
        lock.take(end_orphan=lambda: None, shared=shared)
        self._open.callback(lock.release)


@contextlib.contextmanager
def _kept_alive(embedded: EmbeddedRedis) -> Iterator[None]:
    """The embedded Redis is started again when it dies: nobody else looks after it."""
    ending = threading.Event()

    def keep() -> None:
        while not ending.wait(_SECONDS_BETWEEN_LOOKS):
            died = embedded.pid is None
            try:
                embedded.revive()
            except RegistryUnavailable as error:
                logger.warning("%s", error)
            else:
                if died:
                    logger.warning("The embedded Redis had ended; it was started again.")

    keeper = threading.Thread(target=keep, name="redis")
    keeper.start()
    try:
        yield
    finally:
        ending.set()
        keeper.join()


@contextlib.contextmanager
def _serving(
    settings: Settings, parts: Parts | None, listening: socket.socket, *, shared: bool
) -> Iterator[None]:
    """The API in a thread of its own; leaving finishes what it answers."""
    # Opened here and not by the server, which would bury in its log why it cannot be.
    api = open_api(settings, parts or Parts())
    app = create_app(settings, parts, api=api)
    with contextlib.ExitStack() as open_:
        open_.enter_context(served(app, listening, app.state.closing, settings.trusted_proxies))
        if shared:
            replicas = Replicas(api.base.client, settings.redis_prefix)
            url = settings.replica_url or _reachable(listening)
            open_.callback(Announcing(replicas, settings.node, url, _load_of(api)).close)
        yield


def _load_of(api: Api) -> Callable[[], int]:
    def under_way() -> int:
        load = api.engine.load()
        return load.waiting + load.loading + load.running

    return under_way


def _reachable(listening: socket.socket) -> str:
    """The address under which others find a socket; one that listens everywhere by this host's name."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        return f"http://{socket.gethostname()}:{port}"
    return url_of(listening)


@contextlib.contextmanager
def _workers(settings: Settings, command: Sequence[str]) -> Iterator[None]:
    """The worker processes, each started again when it dies; leaving ends them gently."""
    ending = threading.Event()
    environment = _HUGE_PAGES | os.environ | settings.environment()
    threads = [
        threading.Thread(
            target=_keep_running, args=(command, environment, ending), name=f"worker-{number}"
        )
        for number in range(settings.workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def _keep_running(
    command: Sequence[str], environment: Mapping[str, str], ending: threading.Event
) -> None:
    pause = _FIRST_PAUSE
    while not ending.is_set():
        began = time.monotonic()
        # A session of its own: Ctrl-C in the terminal is for the service, which ends its workers.
        process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603
        while process.poll() is None and not ending.wait(0.1):
            pass
        if ending.is_set():
            _end(process)
            return
        lived = time.monotonic() - began
        pause = _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
        logger.warning("A worker ended with %s; starting another one.", process.returncode)
        ending.wait(pause)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"The data folder {folder} cannot be made: {error.strerror}; name another one."
        ) from error
