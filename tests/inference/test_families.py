"""Every family of models answers through pages as it does through transformers' own cache."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    ApertusConfig,
    ApertusForCausalLM,
    BloomForCausalLM,
    DiffLlamaForCausalLM,
    FalconForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    StableLmForCausalLM,
)

from inference.composer import compose
from inference.decoding import Prompt, decode
from inference.engine import LocalEngine, Request, RequestRefused
from inference.paged_attention import flex_partial_attention, partial_attention
from inference.reader import Reader, ReaderError, load_reader
from inference.sampling import Sampling
from tests.inference.test_composition import cartridge
from tests.models import FAMILIES, TEXT, write_tiny_model
from tests.vllm_serving import document_cartridge

SAMPLING = Sampling(max_tokens=10)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp(request.param)
    return load_reader(write_tiny_model(folder, request.param), dtype="float32")


def test_pages_give_what_transformers_cache_gives(reader: Reader) -> None:
    mounted = [(), (1,), (1, 2), (2, 3, 4), (1,), (1, 4)]
    chosen = [tuple(cartridge(reader, n, 5 + 30 * n) for n in seeds) for seeds in mounted]
    questions = [f"Who painted the {'north ' * n}gate?" for n in range(len(mounted))]
    prompts = [
        Prompt(
            compose(reader, cartridges),
            reader.chat.question(question) if cartridges else reader.chat.bare_question(question),
            SAMPLING,
        )
        for cartridges, question in zip(chosen, questions, strict=True)
    ]
    expected = [reader.decode(decode(reader, [prompt])[0]).strip() for prompt in prompts]
    engine = LocalEngine(reader, page_slots=16, kv_bytes=1 << 22)
    try:
        asked = [
            engine.submit(Request(question, cartridges, (), SAMPLING))
            for question, cartridges in zip(questions, chosen, strict=True)
        ]
        assert [stream.result().text for stream in asked] == expected
    finally:
        engine.close()


def test_long_prompts_are_read_in_chunks(reader: Reader) -> None:
    texts = (TEXT * 7, TEXT)
    ids = [*reader.chat.documents(texts), *reader.chat.question("Who?")]
    assert len(ids) > 512
    expected = decode(reader, [Prompt(compose(reader), ids, SAMPLING)])[0]
    engine = LocalEngine(reader, page_slots=32, kv_bytes=1 << 22)
    try:
        short = engine.submit(Request("Who?", (), (TEXT,), SAMPLING))
        long = engine.submit(Request("Who?", (), texts, SAMPLING))
        assert long.result().text == reader.decode(expected).strip()
        short.result()
    finally:
        engine.close()


def test_bfloat16_stays_near_float32(reader: Reader, tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, reader.config.model_type)
    half = load_reader(folder, dtype="bfloat16")
    request = Request(
        "Who painted the gate?", (cartridge(reader, 1, 40),), (), Sampling(1, logprobs=320)
    )
    found = []
    for one in (reader, half):
        engine = LocalEngine(one, kv_bytes=1 << 22)
        try:
            top = engine.submit(request).result().tops[0]
        finally:
            engine.close()
        logprobs = torch.empty(len(top.ids))
        logprobs[torch.from_numpy(top.ids).long()] = torch.from_numpy(top.logprobs)
        found.append(logprobs.exp())
    assert (found[0] - found[1]).abs().sum() < 0.3


def test_logprobs_are_the_models_own(reader: Reader) -> None:
    ids = [reader.chat.sink_id, *reader.chat.bare_question("Who painted the gate?")]
    with torch.no_grad():
        expected = (
            reader.model(torch.tensor([ids], device=reader.device)).logits[0, -1].log_softmax(-1)
        )
    engine = LocalEngine(reader, kv_bytes=1 << 22)
    try:
        top = engine.submit(Request("Who painted the gate?", sampling=Sampling(1, logprobs=320)))
        found = top.result().tops[0]
    finally:
        engine.close()
    assert (torch.from_numpy(found.logprobs) - expected[found.ids]).abs().max() < 1e-3


def test_a_document_s_own_keys_in_pages_are_the_document(reader: Reader) -> None:
    """DESIGN's first invariant, through a cartridge and the engine that serves it."""
    whole = document_cartridge(reader, TEXT, offset=None)
    ids = [reader.chat.sink_id, *reader.chat.documents([TEXT]), *reader.chat.question("Who?")]
    with torch.no_grad():
        expected = (
            reader.model(torch.tensor([ids], device=reader.device)).logits[0, -1].log_softmax(-1)
        )
    engine = LocalEngine(reader, page_slots=16, kv_bytes=1 << 22)
    try:
        asked = Request("Who?", (whole,), sampling=Sampling(1, logprobs=320))
        found = engine.submit(asked).result().tops[0]
    finally:
        engine.close()
    assert len(found.ids) >= 300
    assert (torch.from_numpy(found.logprobs) - expected[found.ids].cpu()).abs().max() < 1e-4


@pytest.mark.parametrize(
    "kind",
    [StableLmForCausalLM, FalconForCausalLM, BloomForCausalLM, DiffLlamaForCausalLM],
)
def test_a_model_that_would_not_hear_its_cartridges_is_refused(kind: Any, tmp_path: Path) -> None:
    def made(shape: dict[str, Any]) -> Any:
        config = kind.config_class(**shape)
        config.alibi = False
        return kind(config)

    with pytest.raises(ReaderError, match=r"cannot serve cartridges|max_position_embeddings"):
        load_reader(write_tiny_model(tmp_path, made=made), dtype="float32")


def test_weights_may_be_single_numbers(tmp_path: Path) -> None:
    def made(shape: dict[str, Any]) -> Any:
        return ApertusForCausalLM(ApertusConfig(**shape))

    folder = write_tiny_model(tmp_path, made=made)
    reader = load_reader(folder, dtype="float32")
    assert any(not each.ndim for each in reader.model.state_dict().values())
    assert reader.fingerprint == load_reader(folder, dtype="float32").fingerprint


def test_positions_that_change_for_everybody_are_left_out(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
        "original_max_position_embeddings": 128,
    }

    def made(shape: dict[str, Any]) -> Any:
        # It has the number twice, and the first is the one that counts.
        twice = {"original_max_position_embeddings": 128, "rope_parameters": rope}
        return Phi3ForCausalLM(Phi3Config(sliding_window=None, **twice, **shape))

    reader = load_reader(write_tiny_model(tmp_path, made=made), dtype="float32")
    assert reader.max_positions == 128
    engine = LocalEngine(reader, kv_bytes=1 << 22)
    try:
        with pytest.raises(RequestRefused, match="128"):
            engine.submit(Request("Who? " * 100))
    finally:
        engine.close()


@pytest.mark.parametrize(("device", "words"), [("gpu", "not known"), ("cuda", "no CUDA device")])
def test_a_device_that_is_not_there_is_refused(device: str, words: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() and device == "cuda":
        pytest.skip("there is a CUDA device")
    with pytest.raises(ReaderError, match=words):
        load_reader(write_tiny_model(tmp_path), device=device)


def test_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    weights = write_tiny_model(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ReaderError, match="No reader could be loaded"):
        load_reader(tmp_path)


def test_a_window_of_attention_cannot_carry_a_cartridge(tmp_path: Path) -> None:
    import json

    folder = write_tiny_model(tmp_path, "mistral")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 64}))
    with pytest.raises(ReaderError, match="window"):
        load_reader(folder)
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 4096}))
    assert load_reader(folder).max_positions == 4096


# Uncompiled, it warns; the compiled one is the same function on CUDA.
@pytest.mark.filterwarnings("ignore:flex_attention called without:UserWarning")
def test_flex_attention_gives_the_same_partial_results() -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 6, 8), torch.randn(3, 2, 6, 8)
    mask = torch.zeros(3, 1, 1, 6)
    mask[1, ..., 4:] = float("-inf")
    ours = partial_attention(query, keys, values, mask, 0.3)
    flex = flex_partial_attention(query, keys, values, mask, 0.3)
    for one, other in zip(ours, flex, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_the_processor_decides_the_number_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_model(tmp_path)
    for capable, expected in ((True, torch.bfloat16), (False, torch.float32)):
        found = {"avx2": True, "avx512_bf16": capable}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert load_reader(folder, device="cpu").dtype == expected
    assert load_reader(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16
