"""The middleware before vLLM's routes: what it rewrites, refuses and passes on, and for whom; no server."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cartridge_store.blobs import LocalBlobs
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from inference.reader import Reader, load_reader
from inference.vllm.card import describe
from inference.vllm.errors import MountRefused
from inference.vllm.keys import keys_of, let_in
from inference.vllm.middleware import CartridgeMiddleware
from inference.vllm.prompts import CHAT, COMPLETIONS
from inference.vllm.serve import transfer_config
from tests.inference.test_composition import cartridge
from tests.models import write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return load_reader(folder, device="cpu", dtype="float32")


async def asked(
    middleware: CartridgeMiddleware,
    config: Any,
    path: str,
    data: bytes,
    *,
    keys: Sequence[str] = (),
    said: str = "",
    kind: str = "application/json",
) -> tuple[list[Any], list[Any]]:
    """What came back, and what reached the application."""
    sent: list[Any] = []
    halves = [data[: len(data) // 2], data[len(data) // 2 :]]
    parts = [
        {"type": "http.request", "body": halves[0], "more_body": True},
        {"type": "http.request", "body": halves[1]},
    ]

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    args = SimpleNamespace(api_key=list(keys) or None)
    app = SimpleNamespace(state=SimpleNamespace(vllm_config=config, args=args))
    headers = [(b"content-length", str(len(data)).encode()), (b"content-type", kind.encode())]
    if said:
        headers.append((b"authorization", said.encode()))
    scope = {"type": "http", "method": "POST", "path": path, "app": app, "headers": headers}
    scope["root_path"] = "/behind"
    await middleware(scope, receive, send)
    return sent, parts


async def test_the_middleware_rewrites_answers_or_passes_on(
    reader: Reader, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARTRIDGES_REDIS_URL", raising=False)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    blobs = LocalBlobs(tmp_path / "cartridges")
    one = cartridge(reader, 1)
    blobs.put(blob_name(one.id), to_bytes(one))
    describe(reader).save(tmp_path / "card")
    text = transfer_config(str(tmp_path / "cartridges"), tmp_path / "card", 1 << 20, 2)
    extra = json.loads(text)["kv_connector_extra_config"]
    config = SimpleNamespace(
        kv_transfer_config=SimpleNamespace(kv_connector_extra_config=extra),
        model_config=SimpleNamespace(tokenizer=str(folder)),
    )
    reached: list[tuple[bytes, int]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert (await receive())["type"] == "http.disconnect"
        length = dict(scope["headers"])[b"content-length"]
        reached.append((message["body"], int(length)))

    middleware = CartridgeMiddleware(application)
    body = {"prompt": "Who?", "cartridges": [one.id]}
    await asked(middleware, config, COMPLETIONS, json.dumps(body).encode())
    data, length = reached.pop()
    assert json.loads(data)["kv_transfer_params"] == {"cartridges": [one.id]}
    assert length == len(data)
    await asked(middleware, config, f"/behind{COMPLETIONS}", json.dumps(body).encode())
    assert reached.pop() == (data, length)
    deep = b"[" * 100_000
    for plain in (b'{"prompt":  "Who?"}', b"no json", b"[1]", deep):
        await asked(middleware, config, COMPLETIONS, plain)
        assert reached.pop() == (plain, len(plain))
    for wrong, status in (
        (body | {"echo": True}, 400),
        (body | {"cartridges": ["c" + "0" * 40]}, 404),
        (body | {"cartridges": ["Not an id"]}, 400),
    ):
        sent, _ = await asked(middleware, config, COMPLETIONS, json.dumps(wrong).encode())
        assert sent[0]["status"] == status
        assert json.loads(sent[1]["body"])["error"]["code"] == status
    assert not reached
    # Elsewhere nobody is answered from nothing who asked for cartridges.
    for path in ("/v1/responses", "/invocations"):
        sent, _ = await asked(middleware, config, path, json.dumps(body).encode())
        assert sent[0]["status"] == 400
        assert COMPLETIONS in json.loads(sent[1]["body"])["error"]["message"]
        for plain in (b'{"input": "Who?", "cartridges": null}', b'{"kv_transfer_params": {}}'):
            await asked(middleware, config, path, plain)
            assert reached.pop() == (plain, len(plain))
    large = json.dumps({"prompt": "x" * (17 << 20)}).encode()
    sent, _ = await asked(middleware, config, COMPLETIONS, large)
    assert sent[0]["status"] == 413


async def test_a_store_that_hangs_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setattr("inference.vllm.middleware._SECONDS", 0.05)
    gate = threading.Event()

    def never(config: Any) -> Any:
        gate.wait(30)
        raise MountRefused("too late")

    monkeypatch.setattr("inference.vllm.middleware._open", never)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    middleware = CartridgeMiddleware(application)
    body = json.dumps({"prompt": "Who?", "cartridges": ["lease"]}).encode()
    for _ in range(2):
        sent, _ = await asked(middleware, None, COMPLETIONS, body)
        assert sent[0]["status"] == 503
        assert "does not answer" in json.loads(sent[1]["body"])["error"]["message"]
    gate.set()


async def test_another_tokenizer_than_the_cards_is_the_operators_fault(
    reader: Reader, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    replace(describe(reader), tokenizer_fingerprint="0" * 64).save(tmp_path / "card")
    text = transfer_config(str(tmp_path / "cartridges"), tmp_path / "card", 1 << 20, 2)
    config = SimpleNamespace(
        kv_transfer_config=SimpleNamespace(
            kv_connector_extra_config=json.loads(text)["kv_connector_extra_config"]
        ),
        model_config=SimpleNamespace(tokenizer=str(folder)),
    )

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    body = json.dumps({"prompt": "Who?", "cartridges": ["lease"]}).encode()
    sent, _ = await asked(CartridgeMiddleware(application), config, COMPLETIONS, body)
    assert sent[0]["status"] == 503
    assert "make the card again" in json.loads(sent[1]["body"])["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [{"cartridges": ["lease"]}, {"kv_transfer_params": {"cartridges": ["c" + "0" * 40]}}],
    ids=str,
)
async def test_no_cartridge_without_a_key_where_vllm_asks_for_none(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    reached: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append((await receive())["body"])

    middleware, data = CartridgeMiddleware(application), json.dumps(body).encode()
    for said, kind in (("", "application/json"), ("Bearer wrong", ""), ("", "multipart/form-data")):
        sent, _ = await asked(
            middleware, None, "/invocations", data, keys=["one"], said=said, kind=kind
        )
        assert sent[0]["status"] == 401
    assert not reached
    plain = b'{"prompt": "Who?"}'
    await asked(middleware, None, "/tokenize", plain, keys=["one"])
    assert reached == [plain]  # as without us
    form = {"keys": ["one"], "said": "Bearer one", "kind": "multipart/form-data; boundary=x"}
    await asked(middleware, None, "/v1/audio/transcriptions", data, **form)
    assert reached[1:] == [data[: len(data) // 2]]  # not gathered


async def test_whoever_has_no_key_reaches_neither_body_nor_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """vLLM, which stands behind the middleware, refuses them in its own words."""
    monkeypatch.setenv("VLLM_API_KEY", "of the environment")
    body = json.dumps({"prompt": "Who?", "cartridges": ["Not an id"]}).encode()
    reached: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append((await receive())["body"])

    middleware = CartridgeMiddleware(application)
    # Without a configuration, the first look at the store would raise.
    strangers = ("", "Bearer", "Bearer wrong", "Basic one", "one", "Bearer of the environment")
    for said in strangers:
        sent, left = await asked(middleware, None, CHAT, body, keys=["one", "two"], said=said)
        assert not sent
        assert len(left) == 1  # the body came in the two parts that were sent, not gathered
        assert reached.pop() == body[: len(body) // 2]
    for keys, said in ((["one", "two"], "bearer two"), ([], "Bearer of the environment")):
        with pytest.raises(AttributeError):
            await asked(middleware, None, CHAT, body, keys=keys, said=said)
    await asked(middleware, None, CHAT, body, said="Bearer one")
    assert reached.pop() == body[: len(body) // 2]
    assert let_in([], keys_of(None, {}))
    assert not let_in([(b"Authorization", b"Bearer \xff")], keys_of(["one"], {}))
