"""The commands' side of HTTP: a running service, or one of our own for as long as it is needed."""

import contextlib
import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from app.cli.output import CommandFailed, shown
from app.settings import Settings

Url = Annotated[
    str | None, typer.Option(help="Address of a running service; else one is found or started.")
]
_ANSWER_SECONDS = 600.0
_BYTES_A_SECOND = 2_000  # of a text that is searched through, on a slow machine
_MOST_WAITS, _LONGEST_WAIT = 10, 60.0  # for a key that has asked too often, seconds
_MOST_TRIES, _SECONDS_BETWEEN_TRIES = 90, 2.0  # of what is looked at for hours
_TOO_OFTEN = frozenset({"too-many-requests", "busy"})  # what is otherwise in a moment


class ServiceAway(CommandFailed):
    """The service does not answer, or says that it cannot now."""


def address(*parts: str) -> str:
    """Where something stands under /v1. Raises CommandFailed for a part that is no name."""
    for part in parts:
        if "/" in part or part in {"", ".", ".."}:
            raise CommandFailed(
                f"{shown(part)!r} is no name; use letters, digits, dots, underscores and hyphens."
            )
    return "/".join(("/v1", *(quote(shown(part), safe="") for part in parts)))


class Client:
    """Requests whose failures are sentences."""

    def __init__(self, http: httpx.Client, *, passing: bool = False) -> None:
        """`passing` is a client of a service that ends with the command."""
        self._http = http
        self.passing = passing

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON that the service answers. Raises CommandFailed with the problem's detail.

        Where a key has asked too often it waits for as long as it is told, for some minutes in all.
        """
        response = self._answer(method, path, **options)
        try:
            body: dict[str, Any] = response.json()
        except ValueError as error:
            raise CommandFailed(
                f"What answers at {self._http.base_url} is another service; name ours with --url."
            ) from error
        return body

    def read(self, path: str, media_type: str, **options: Any) -> bytes:
        """What stands at a path, in one of its forms. Raises CommandFailed with the problem's detail."""
        return self._answer("GET", path, headers={"Accept": media_type}, **options).content

    def delete(self, path: str, **options: Any) -> None:
        """Remove what stands at a path. Raises CommandFailed with the problem's detail."""
        self._answer("DELETE", path, **options)

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        for waits in count():
            try:
                response = self._http.request(method, path, **options)
            except UnicodeEncodeError as error:
                raise CommandFailed(
                    "What is to be sent holds characters that are not UTF-8; leave them out."
                ) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ServiceAway(
                    f"The service does not answer ({error}); is it running?"
                ) from error
            if waits == _MOST_WAITS or _code(response) not in _TOO_OFTEN:
                break
            told = response.headers.get("retry-after", "")
            time.sleep(min(float(told) if told.isdigit() else 1.0, _LONGEST_WAIT))
        if response.is_server_error:
            raise ServiceAway(_detail(response))
        if response.is_error:
            raise CommandFailed(_detail(response))
        return response

    def patient(self, path: str, **options: Any) -> dict[str, Any]:
        """As `request`, of something that is looked at for hours: a service that is away for some minutes
        is waited for."""
        for _ in range(_MOST_TRIES):
            try:
                return self.request("GET", path, **options)
            except ServiceAway:
                time.sleep(_SECONDS_BETWEEN_TRIES)
        return self.request("GET", path, **options)

    def send_file(self, path: Path, collection: str, name: str | None = None) -> dict[str, Any]:
        """POST one file as a document; with a `name`, as the version of the document known by it."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CommandFailed(f"{shown(path)} cannot be read: {error.strerror}.") from error
        return self.request(
            "POST",
            "/v1/documents",
            files={"file": (shown(name or path.name), data)},
            data={"collection": collection} | ({"known_by": "name"} if name else {}),
            # It is answered when it can be searched: a book takes minutes.
            timeout=_ANSWER_SECONDS + len(data) / _BYTES_A_SECOND,
        )


@contextlib.contextmanager
def connected(
    settings: Settings, url: str | None, *, workers: int | None = None
) -> Iterator[Client]:
    """A client of the service at `url`, of the one that runs on the data folder, or of a new one.

    `workers` is for a new one, which ends when this block does. The key, where one is needed, is
    read from CARTRIDGES_API_KEY.
    """
    with contextlib.ExitStack() as open_:
        base = url or _running(settings)
        if passing := base is None:
            base = open_.enter_context(_started(settings, workers))
        key = os.environ.get("CARTRIDGES_API_KEY")
        try:
            http = httpx.Client(
                base_url=base,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=_ANSWER_SECONDS,
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise CommandFailed(f"The address or the key cannot be used: {error}.") from error
        yield Client(open_.enter_context(http), passing=passing)


@contextlib.contextmanager
def _started(settings: Settings, workers: int | None) -> Iterator[str]:
    # Loads torch, so only when there is no service to ask.
    from app.service import Service

    changes: dict[str, Any] = {"port": 0, "host": "127.0.0.1"}
    if workers is not None:
        changes["workers"] = workers
    with Service(settings.model_copy(update=changes)) as service:
        yield service.url


def _running(settings: Settings) -> str | None:
    from app.address import running_service

    url = running_service(settings.data)
    if url is None:
        return None
    try:
        httpx.get(f"{url}/health/live", timeout=5.0).raise_for_status()
    except httpx.HTTPError:
        return None
    return url


def _code(response: httpx.Response) -> str:
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return ""
    try:
        return str(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _detail(response: httpx.Response) -> str:
    if response.status_code == 401:
        return "The service needs an API key; set CARTRIDGES_API_KEY to one."
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The service answered {response.status_code}."
