"""ASGI middleware for `vllm serve --middleware`: requests may name cartridges, documents, a collection.

Everything that names none passes untouched, up to 16 MiB of JSON. Whoever has no key reaches neither the
store nor a cartridge: vLLM checks keys behind this middleware, and on some routes not at all. Options are
those of the connector, from the server's own configuration; the registry is named by CARTRIDGES_REDIS_URL,
which thereby stays out of the server's log.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from transformers import AutoTokenizer

from cartridge_store.catalogue import Catalogue
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, InvalidId, StoreError
from inference.chat import ChatFormat
from inference.reader import tokenizer_fingerprint
from inference.vllm.card import ReaderCard
from inference.vllm.errors import CardRefused, MountRefused
from inference.vllm.keys import keys_of, let_in
from inference.vllm.options import Options
from inference.vllm.prompts import (
    CHAT,
    COMPLETIONS,
    Resolve,
    asks_for_cartridges,
    names_cartridges,
    rewritten,
)
from inference.vllm.resolving import Current, Resolver

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

T = TypeVar("T")

_MOST_BYTES = 16 << 20  # of a body
_SECONDS = 30.0  # to find what a request names
_GUARDED = ("/v1", "/v2", "/inference", "/cohere")  # where vLLM asks for keys


class CartridgeMiddleware:
    """Rewrites OpenAI requests that name cartridges; the parts are made by the first of them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._parts: tuple[ChatFormat, Resolve] | None = None
        self._opening = asyncio.Lock()
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="cartridges")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(scope.get("root_path", "")).rstrip("/")
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        welcome, ours = _let_in(scope), path in (CHAT, COMPLETIONS)
        # vLLM refuses whoever has no key in its own words; a form is sound or a picture, unless a stranger
        # only says so.
        if path.startswith(_GUARDED) if not welcome else _is_form(scope["headers"]):
            await self._app(scope, receive, send)
            return
        data = await _body(receive)
        if data is None:
            await _refuse(send, 413, f"The request is larger than {_MOST_BYTES} bytes.")
            return
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None  # vLLM says so better
        named = isinstance(body, dict) and names_cartridges(body)
        if named and not welcome:
            await _refuse(send, 401, "Unauthorized")
            return
        if named and not ours and asks_for_cartridges(body):
            await _refuse(send, 400, f"Cartridges stand behind {CHAT} and {COMPLETIONS} alone.")
            return
        if named and ours:
            try:
                async with asyncio.timeout(_SECONDS):
                    chat, resolve = await self._opened(scope)
                    body = await self._aside(rewritten, path, body, chat, resolve)
            except TimeoutError:
                await _refuse(send, 503, "The store of the cartridges does not answer; ask again.")
                return
            except CartridgeNotFound as error:
                await _refuse(send, 404, str(error))
                return
            except (MountRefused, CartridgeRefused, InvalidId) as error:
                await _refuse(send, 400, str(error))
                return
            except (StoreError, CardRefused) as error:
                await _refuse(send, 503, str(error))
                return
            data = json.dumps(body).encode()
            scope = dict(scope) | {"headers": _with_length(scope["headers"], len(data))}
        await self._app(scope, _replayed(data, receive), send)

    async def _opened(self, scope: Scope) -> tuple[ChatFormat, Resolve]:
        async with self._opening:
            if self._parts is None:
                config = scope["app"].state.vllm_config
                self._parts = await self._aside(_open, config)
            return self._parts

    async def _aside(self, call: Callable[..., T], *given: Any) -> T:
        """A call in a thread of our own: a store that hangs holds none of vLLM's."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *given)


def _let_in(scope: Scope) -> bool:
    return let_in(scope["headers"], keys_of(scope["app"].state.args.api_key, os.environ))


def _open(config: Any) -> tuple[ChatFormat, Resolve]:
    options = Options.of(config.kv_transfer_config.kv_connector_extra_config, os.environ)
    card = ReaderCard.load(options.card)
    tokenizer = AutoTokenizer.from_pretrained(config.model_config.tokenizer)
    if tokenizer_fingerprint(tokenizer) != card.tokenizer_fingerprint:
        raise CardRefused(
            "The server's tokenizer is not the one of its reader card; its operator has to serve the "
            "model as it lies there, and to make the card again."
        )
    chat = ChatFormat(tokenizer)
    resolver = Resolver(card, Catalogue(options.blobs()), options.most, _registry(os.environ))
    return chat, resolver.resolve


def _registry(environment: MutableMapping[str, str]) -> Current | None:
    url = environment.get("CARTRIDGES_REDIS_URL")
    if not url:
        return None
    from cartridge_store.registry import Registry, connect  # a server without Redis needs no client

    prefix = environment.get("CARTRIDGES_REDIS_PREFIX", "cq:")
    return Registry(connect(url), f"{prefix}registry:").current


def _is_form(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    return any(kind.lower().startswith(b"multipart/") for kind in kinds)


async def _body(receive: Receive) -> bytes | None:
    """The whole body, None when it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)  # the client has gone: vLLM is told so when it looks
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(data: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()  # the client's going away is still noticed
        sent = True
        return {"type": "http.request", "body": data, "more_body": False}

    return replay


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0].lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


async def _refuse(send: Send, status: int, words: str) -> None:
    kind = "NotFoundError" if status == 404 else "BadRequestError"
    if status == 503:
        kind = "ServiceUnavailableError"
    if status == 401:
        kind = "AuthenticationError"
    error = {"message": words, "type": kind, "param": None, "code": status}
    data = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
