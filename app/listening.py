"""Listening: an address that is free, and an ASGI application that is served there.

Knows sockets and the server; knows nothing of what is served.
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

_STOP_SECONDS = 40.0
_DRAIN_SECONDS = 20


class ServiceError(RuntimeError):
    """The service cannot start; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises ServiceError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"Port {port} is in use on {host}; stop what uses it or choose another --port."
            ) from error
        raise ServiceError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The address that a bound socket is reached at."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.contextmanager
def served(
    app: ASGIApp, listening: socket.socket, ending: threading.Event, trusted: Sequence[str] = ()
) -> Iterator[None]:
    """The application in a thread of its own; leaving sets `ending` and finishes what it answers.

    Whom a request is from is what its X-Forwarded-For says where it comes from one of the `trusted`
    addresses or networks.

    Raises ServiceError when it does not start.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            forwarded_allow_ips=[*trusted],
        )
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="api", daemon=True
    )
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise ServiceError("The API did not start; the log above says why.")
            time.sleep(0.02)
        yield
    finally:
        ending.set()
        server.should_exit = True
        thread.join(_STOP_SECONDS)
