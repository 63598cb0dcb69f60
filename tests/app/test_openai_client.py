"""The official client, unchanged, against a real server: completions, streams, models, errors."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from app.keys import KeyRing
from app.settings import Settings
from tests.app.app_fakes import FakeEngine

TEXT = "The boiler of the garden flat was serviced by Franz Huber."
ASKED: list[Any] = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": [{"type": "text", "text": "Who serviced the boiler?"}]},
]


@pytest.fixture
def url(listening: Callable[..., Any]) -> Iterator[str]:
    with listening() as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str, settings: Settings, worker: Callable[..., Any]) -> Iterator[openai.OpenAI]:
    """With a key, and a document in collection house that has its cartridge."""
    _, key = KeyRing(settings.data).create("desk", "write")
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        sent: Any = client.post(
            "/documents",
            body={"collection": "house", "id": "boiler", "text": TEXT},
            cast_to=object,
        )
        with worker():
            deadline = time.monotonic() + 60
            while client.get(f"/jobs/{sent['job']['id']}", cast_to=object)["progress"] < 1:  # type: ignore[index]
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield client


def test_a_completion_with_its_sources(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.chat.completions.create(
        model="cartridge-qa/house",
        messages=ASKED,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["\n"],
        max_completion_tokens=20,
        user="somebody",
    )
    assert answer.choices[0].message.content == "1 cartridges and 0 texts"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 3
    extra = answer.model_extra or {}
    assert [source["document_id"] for source in extra["sources"]] == ["boiler"]
    assert (extra["sources"][0]["via"], extra["abstained"]) == ("cartridge", False)
    request = engine.requests[-1]
    assert request.question == "Who serviced the boiler?"
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 7)
    assert (sampling.stop, sampling.max_tokens) == (("\n",), 20)


def test_a_stream_ends_with_sources_and_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="cartridge-qa",
            messages=ASKED,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"collection": "house", "cartridges": ["boiler"]},
        )
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == "1 cartridges and 0 texts"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    ending, last = chunks[-2:]
    assert (ending.model_extra or {})["sources"][0]["title"]
    assert last.choices == []
    assert last.usage is not None
    plain = client.chat.completions.create(model="cartridge-qa/house", messages=ASKED, stream=True)
    assert all(len(chunk.choices) == 1 for chunk in plain)
    assert len({chunk.id for chunk in chunks}) == 1


def test_models_are_collections(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["cartridge-qa", "cartridge-qa/house"]
    assert client.models.retrieve("cartridge-qa/house").owned_by == "cartridge-qa"
    for name in ("gpt-4", "cartridge-qa/nowhere"):
        with pytest.raises(openai.NotFoundError, match="GET /v1/models"):
            client.models.retrieve(name)


def test_errors_are_the_clients_own(client: openai.OpenAI, url: str) -> None:
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="gpt-4", messages=ASKED)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        create(model="cartridge-qa/house", messages=ASKED, extra_body={"cartridges": ["nothing"]})
    for change in (
        {"n": 2},
        {"top_logprobs": 3},
        {"functions": [{}]},
        {"modalities": ["audio"]},
        {"tools": [{}]},
        {"logprobs": True},
        {"max_tokens": 0},
        {"stop": [""]},
    ):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            create(model="cartridge-qa", messages=ASKED, extra_body=change)
        assert refused.value.type == "invalid_request_error"
    with pytest.raises(openai.UnprocessableEntityError, match="user's question"):
        create(model="cartridge-qa", messages=[{"role": "assistant", "content": "Hello."}])
    with (
        openai.OpenAI(base_url=url, api_key="cq_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_a_stream_that_breaks_off_is_an_error(
    client: openai.OpenAI, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: Any, stream: Any) -> None:
        stream.put("The")
        stream.put(RuntimeError("a secret of the inside"))

    monkeypatch.setattr(engine, "_say", broken)
    with pytest.raises(openai.APIError, match="server's log") as raised:
        list(
            client.chat.completions.create(model="cartridge-qa/house", messages=ASKED, stream=True)
        )
    assert "secret" not in str(raised.value)


def test_an_empty_collection_abstains(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="cartridge-qa", messages=ASKED)
    assert answer.choices[0].message.content == "That is not stated."
    assert (answer.model_extra or {})["abstained"] is True


def test_what_gateways_and_long_chats_bring_along_changes_nothing(
    client: openai.OpenAI, engine: FakeEngine
) -> None:
    before: list[Any] = [
        {"role": "system", "content": "Be brief.", "name": "house"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ] * 100
    part = {"type": "text", "text": "Who leads the choir?", "cache_control": {"type": "ephemeral"}}
    nulls = ("stream", "tools", "functions", "top_logprobs", "reasoning_effort", "modalities")
    answer = client.chat.completions.create(
        model="cartridge-qa/house",
        messages=[*before, {"role": "user", "content": [part]}],
        max_tokens=4_096,
        extra_body=dict.fromkeys(nulls) | {"verbosity": "low"},
    )
    assert answer.choices[0].message.content
    assert engine.requests[-1].question == "Who leads the choir?"
    assert engine.requests[-1].sampling.max_tokens == 1_024
    with pytest.raises(openai.UnprocessableEntityError, match="messages"):
        client.chat.completions.create(
            model="cartridge-qa/house",
            messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
            ],
        )
