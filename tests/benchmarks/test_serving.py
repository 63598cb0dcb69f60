"""The serving benchmark: its arms answer alike, its figures follow from its waves."""

import json
from pathlib import Path

import pytest
import torch
from transformers import DynamicCache

from benchmarks.driving import Arm, Wave, drive
from benchmarks.peers import Adapters, answer
from benchmarks.serving import ServingPlan, compositions, run_serving
from benchmarks.workload import QUESTION, Shape, asked
from inference.composer import compose
from inference.engine import LocalEngine
from inference.reader import Reader, load_reader
from tests.models import write_tiny_model

PLAN = ServingPlan(
    rounds=2,
    context_tokens=160,
    answer_tokens=3,
    concurrencies=(1, 4),
    contexts=(160, 200),
    compared_at=4,
    compositions=2,
    large_layers=1,
    large_width=128,
    large_context=800,
    large_answer=24,  # so long that all of an arm's requests decode together
    large_kv_bytes=1 << 20,
    large_page_slots=16,
    large_rounds=2,
    joiners=3,
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


def test_engine_and_peers_say_the_same(reader: Reader) -> None:
    shape = Shape("tiny", 400, 6)
    composed = compositions(reader, shape, 2)
    engine = LocalEngine(reader, kv_bytes=1 << 22)
    try:
        _, done = drive(engine, [asked(shape, *chosen) for chosen in composed])
    finally:
        engine.close()
    prefixes = {f"c{n}": compose(reader, chosen) for n, chosen in enumerate(composed)}
    adapters = Adapters(reader, prefixes)
    ids = torch.tensor([reader.chat.question(QUESTION)] * 2)
    for (name, prefix), completion in zip(prefixes.items(), done, strict=True):
        cache = DynamicCache(
            [(k.repeat(2, 1, 1, 1), v.repeat(2, 1, 1, 1)) for k, v in prefix.layers],
            config=reader.config,
        )
        mounted = answer(reader.model, ids, prefix.length, 6, past_key_values=cache)
        adapters.model.set_adapter(name)
        adapted = answer(adapters.model, ids, 0, 6)
        for said in (mounted, adapted):
            assert reader.decode(said[0].tolist()).strip() == completion.text
            assert torch.equal(said[0], said[1])


def test_a_run_writes_every_claim(reader: Reader, tmp_path: Path) -> None:
    shares: list[float] = []
    result = run_serving(reader, tmp_path, PLAN, lambda _, done: shares.append(done))
    assert json.loads((tmp_path / "serving.json").read_text()) == result
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert set(result["claims"]) == {
        "kv_bytes_ratio_vs_icl",
        "throughput_ratio_vs_cached_icl",
        "throughput_ratio_vs_icl_with_prefill",
        "throughput_ratio_vs_rag",
        "throughput_ratio_vs_peft",
        "throughput_ratio_vs_generate",
        "throughput_ratio_vs_generate_by_composition",
        "compose_ratio_vs_bytes_moved",
        "compose_share_of_first_token",
    }
    arms = {row["arm"] for row in result["rows"] if "arm" in row}
    peers = {"PEFT generate", "generate", "generate, stacked"}
    assert arms == {"cartridge", "cached text", "text", "passages", *peers}
    fitting = {r["arm"]: r["concurrency"] for r in result["rows"] if r["shape"] == "800 tokens"}
    assert fitting["cartridge"] > 5 * fitting["cached text"] > 0


def test_figures_of_a_wave() -> None:
    wave = Wave(2.0, ((0.5, 1.0, 1.5), (1.0, 1.25, 2.0)), 7)
    assert wave.throughput == 3.0
    assert wave.steady_throughput == 4.0  # between 1.0 and 1.5: two tokens in half a second
    assert wave.gaps == [500.0, 500.0, 250.0, 750.0]
    row = Arm("a", "s", 2, 0, 5, [wave, wave]).row()
    assert (row["tokens_per_s"], row["inter_token_ms_p50"]) == (3.0, 500.0)
    assert row["kv_bytes_per_request"] == 7
