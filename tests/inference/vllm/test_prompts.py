"""Request bodies that name cartridges: what becomes of them, and what is refused; no server needed."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cartridge_store.blobs import LocalBlobs
from cartridge_store.catalogue import Catalogue
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import CartridgeNotFound, InvalidId, RegistryUnavailable
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.registry import Registry, connect
from inference.reader import Reader, load_reader
from inference.vllm.card import describe
from inference.vllm.errors import MountRefused
from inference.vllm.mounting import Composition
from inference.vllm.prompts import CHAT, COMPLETIONS, names_cartridges, rewritten
from inference.vllm.resolving import Resolver
from tests.inference.test_composition import cartridge
from tests.models import write_tiny_model

ONE = "c" + "a" * 40
COMPOSITION = Composition((ONE,), (3,), ("d",), 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return load_reader(folder, device="cpu", dtype="float32")


def resolve(names: Sequence[str] | None, collection: object) -> Composition:
    assert names == [ONE]
    return COMPOSITION


def test_a_question_stands_behind_placeholders(reader: Reader) -> None:
    body = {"model": "m", "prompt": "Who?", "cartridges": [ONE], "max_tokens": 3}
    made = rewritten(COMPLETIONS, body, reader.chat, resolve)
    places = [reader.chat.sink_id] * 4
    assert made == {
        "model": "m",
        "max_tokens": 3,
        "prompt": places + reader.chat.question("Who?"),
        "kv_transfer_params": {"cartridges": [ONE]},
    }
    ids = rewritten(COMPLETIONS, body | {"prompt": [7, 8]}, reader.chat, resolve)
    assert ids["prompt"] == [*places, 7, 8]


def test_a_chat_keeps_its_messages_and_brings_its_ids(reader: Reader) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}]
    body = {"messages": messages, "cartridges": [ONE]}
    made = rewritten(CHAT, body, reader.chat, resolve)
    assert made["messages"] == messages
    expected = [reader.chat.sink_id] * 4 + reader.chat.question("Who?")
    assert made["kv_transfer_params"] == {"cartridges": [ONE], "prompt_token_ids": expected}


def test_turns_stand_as_the_template_has_them(reader: Reader) -> None:
    turns = [("user", "Who?"), ("assistant", "Mira."), ("user", "When?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    whole = reader.tokenizer.apply_chat_template(
        [{"role": "system", "content": "A text."}, *messages],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    chat = reader.chat
    assert [chat.sink_id, *chat.documents(["A text."]), *chat.conversation(turns)] == whole
    for wrong in ([("assistant", "Mira.")], [("user", "Who?"), ("tool", "x")]):
        with pytest.raises(ValueError, match="user's first"):
            chat.conversation(wrong)


@pytest.mark.parametrize(
    ("path", "wrong", "words"),
    [
        (COMPLETIONS, {"prompt": "Who?", "echo": True}, "echo"),
        (COMPLETIONS, {"prompt": "Who?", "prompt_logprobs": 2}, "prompt_logprobs"),
        (COMPLETIONS, {"prompt": "Who?", "prompt_logprobs": 0}, "prompt_logprobs"),
        (COMPLETIONS, {"prompt": "Who \ud83d?"}, "half of a character"),
        (CHAT, {"messages": [{"role": "user", "content": "\ud83d"}]}, "half of a character"),
        (COMPLETIONS, {"prompt": ["Who?", "When?"]}, "one question"),
        (COMPLETIONS, {"prompt": ""}, "one question"),
        (COMPLETIONS, {"prompt": [True]}, "one question"),
        (COMPLETIONS, {"prompt": "Who?", "kv_transfer_params": {"cartridges": []}}, "one way"),
        (COMPLETIONS, {"prompt": "Who?", "collection": ""}, "collection's name"),
        (
            COMPLETIONS,
            {"prompt": "Who?", "cartridges": None, "collection": ""},
            "collection's name",
        ),
        (COMPLETIONS, {"prompt": "Who?", "collection": 3}, "collection's name"),
        (COMPLETIONS, {"prompt": "Who?", "cartridges": ""}, "list"),
        (
            COMPLETIONS,
            {"prompt": "Who?", "prompt_logprob_token_ids": [[5]]},
            "prompt_logprob_token",
        ),
        (CHAT, {"messages": []}, "question"),
        (CHAT, {"messages": ["Who?"]}, "object"),
        (CHAT, {"messages": [{"role": "system", "content": "x"}]}, "system message"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, "text"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "text"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "tools"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "cartridges": [3]}, "list"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "cartridges": []}, "list"),
    ],
)
def test_what_cannot_stand_behind_cartridges_is_refused(
    reader: Reader, path: str, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(MountRefused, match=words):
        rewritten(path, {"cartridges": [ONE]} | wrong, reader.chat, resolve)


def test_only_requests_that_name_cartridges_are_looked_at(reader: Reader) -> None:
    assert not names_cartridges({"prompt": "x", "kv_transfer_params": {"do_remote_decode": True}})
    direct = {"prompt": [1], "kv_transfer_params": {"cartridges": [ONE]}}
    assert names_cartridges(direct)
    assert rewritten(COMPLETIONS, direct, reader.chat, resolve) == direct
    with pytest.raises(MountRefused, match="use_beam_search"):
        rewritten(COMPLETIONS, direct | {"use_beam_search": True}, reader.chat, resolve)


def test_too_many_names_cost_nothing(reader: Reader) -> None:
    def never(*_: object) -> dict[str, str]:
        raise AssertionError

    catalogue = cast(Catalogue, SimpleNamespace(manifest=never, manifests=never))
    resolver = Resolver(describe(reader), catalogue, 2, never)
    with pytest.raises(MountRefused, match="3 cartridges are named, but at most 2"):
        resolver.resolve(["lease", "ferry", "../.."])


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_null_names_nothing(reader: Reader, path: str) -> None:
    """A client that always sends the fields is not given a whole collection, nor refused anything."""

    def never(names: object, collection: object) -> Composition:
        raise AssertionError

    plain = {"model": "m", "prompt": "Who?", "messages": [], "echo": True, "tools": [{}]}
    nulls = ({"cartridges": None}, {"collection": None}, {"cartridges": None, "collection": None})
    for none in nulls:
        assert names_cartridges(plain | none)  # else vLLM would see the fields
        assert rewritten(path, plain | none, reader.chat, never) == plain
    direct = {"prompt": [1], "kv_transfer_params": {"cartridges": [ONE]}}
    assert rewritten(path, direct | nulls[2], reader.chat, never) == direct
    with pytest.raises(MountRefused, match="echo"):
        rewritten(path, direct | nulls[2] | {"echo": True}, reader.chat, never)
    seen: list[object] = []

    def whole(names: Sequence[str] | None, collection: str | None) -> Composition:
        seen.append((names, collection))
        return COMPOSITION

    turn = {"messages": [{"role": "user", "content": "Who?"}], "prompt": "Who?"}
    rewritten(path, turn | {"cartridges": None, "collection": "house"}, reader.chat, whole)
    rewritten(path, turn | {"cartridges": [ONE], "collection": None}, reader.chat, whole)
    assert seen == [(None, "house"), ([ONE], None)]


def test_documents_and_collections_are_resolved(
    reader: Reader, tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    blobs = LocalBlobs(tmp_path)
    old, new, other = (cartridge(reader, seed) for seed in (1, 1, 2))
    new = cartridge(reader, 1, slots=6)
    for one in (old, new, other):
        blobs.put(blob_name(one.id), to_bytes(one))
    card, catalogue = describe(reader), Catalogue(blobs)
    alone = Resolver(card, catalogue, 4)
    listed: list[int] = []
    counted = SimpleNamespace(
        manifests=lambda: listed.append(1) or catalogue.manifests(), manifest=catalogue.manifest
    )
    assert len(Resolver(card, cast(Catalogue, counted), 4).resolve(None, "c").ids) == 2
    assert len(listed) == 2  # what there is, and which are the newest; not once for every document
    assert alone.resolve([old.id]).ids == (old.id,)
    assert set(alone.resolve(None, "c").ids) == {other.id, alone.resolve(["d1"], "c").ids[0]}
    client = connect(redis_server.url)
    registry = Registry(client, "vllm:")
    registry.restore(old.manifest, [old.id, new.id])  # whatever is newer
    known = Resolver(card, catalogue, 4, registry.current)
    assert known.resolve(["d1"], "c").ids == (old.id,)
    assert known.resolve(None, "c").ids == (old.id,)  # d2 was never published
    client.close()

    def gone(collection: str, documents: Sequence[str]) -> dict[str, str]:
        raise RegistryUnavailable("Redis does not answer.")

    assert Resolver(card, catalogue, 4, gone).resolve(["d2"], "c").ids == (other.id,)
    with pytest.raises(CartridgeNotFound, match="no cartridge of d9"):
        alone.resolve(["d9"], "c")
    with pytest.raises(CartridgeNotFound, match="no cartridges"):
        alone.resolve(None, "empty")
    with pytest.raises(MountRefused, match="collection"):
        alone.resolve(None, 3)
    with pytest.raises(InvalidId):
        alone.resolve(["../d1"], "c")
