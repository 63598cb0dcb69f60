"""Growing keeps the function; the circuit finds the sentence that a question was made from."""

from random import Random
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from reader.batches import IGNORED, Batch, draw_batch
from reader.curriculum import Stage
from reader.grow import Notes, Sample, Writer, grown, write_quoting_circuit
from reader.paths import bundled_reader, word_list
from reader.sizes import SIZES
from reader.tasks import Recipe
from reader.tokenizer import dictionary

_WORDS = dictionary(word_list())
_RNG = Random(0)
POOL = [
    f"{first.capitalize()} {_RNG.choice(_WORDS)} is the {_RNG.choice(_WORDS)} that "
    f"{_RNG.choice(_WORDS)} has in a {_RNG.choice(_WORDS)}."
    for first in _RNG.sample(_WORDS, 200)
]
STAGE = Stage("quote", (Recipe((1, 1), (16, 20), 6, prose=1.0),), 3_000, 1, 2.0, max_gap=1_500)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(bundled_reader())
    return loaded


@pytest.fixture(scope="module")
def batches(tokenizer: PreTrainedTokenizerFast) -> list[Batch]:
    return [draw_batch(STAGE, tokenizer, _WORDS, Random(seed), pool=POOL) for seed in range(8)]


@pytest.fixture
def model() -> Qwen3ForCausalLM:
    loaded: Any = Qwen3ForCausalLM.from_pretrained(bundled_reader(), dtype=torch.float32)
    whole: Qwen3ForCausalLM = loaded.eval()
    return whole


@torch.no_grad()
def logits(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    mask = torch.ones_like(batch.ids)
    found: torch.Tensor = model(
        batch.ids, position_ids=batch.positions, attention_mask=mask, use_cache=False
    ).logits
    return found


def test_a_grown_model_says_what_it_said(model: Qwen3ForCausalLM, batches: list[Batch]) -> None:
    larger: Any = grown(model)
    before: Any = model.config
    assert larger.config.hidden_size == before.hidden_size + Notes.of(64).width
    assert larger.config.num_key_value_heads == before.num_key_value_heads + 1
    told, tells = logits(model, batches[0]), logits(larger, batches[0])
    # The epsilon of the norms weighs a little less, and sharp heads make more of it here and there.
    assert (told - tells).abs().mean() < 1e-3
    assert (told.argmax(-1) == tells.argmax(-1)).float().mean() > 0.999


@torch.no_grad()
def test_the_circuit_finds_the_sentence_asked_about(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, batches: list[Batch]
) -> None:
    larger: Any = grown(model)
    samples = [Sample(batch.ids, batch.positions) for batch in batches[:3]]
    writer = Writer(larger, tokenizer, samples, nudge=0.2)
    writer.write()
    head = larger.config.num_attention_heads - 2
    own = tokenizer("The", add_special_tokens=False).input_ids[
        0
    ]  # "The person who ...": no quotation
    larger.set_attn_implementation("eager")
    right: list[bool] = []
    for batch in batches[3:]:
        maps = larger(
            batch.ids,
            position_ids=batch.positions,
            attention_mask=torch.ones_like(batch.ids),
            use_cache=False,
            output_attentions=True,
        ).attentions
        for row, ids in enumerate(batch.ids):
            places = torch.arange(len(ids))
            opens = torch.roll(writer.boundary[ids] > 0, 1)
            sentence = torch.where(opens, places, 0).cummax(0).values
            targets = batch.targets[row]
            asked = (ids == writer.turns[2]) & (targets != IGNORED) & (targets != own)
            looked = maps[3][row, head, asked] @ maps[2][row, head]  # through question words
            found = torch.zeros_like(looked).index_add_(1, sentence, looked)
            found[:, 0] = 0  # where nothing is looked up
            right += (ids[found.argmax(1)] == targets[asked]).tolist()
    assert len(right) > 40
    assert sum(right) / len(right) > 0.4, sum(right) / len(right)  # of some sixteen sentences


def test_the_new_head_of_every_layer_can_learn(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, batches: list[Batch]
) -> None:
    larger: Any = grown(model)
    samples = [Sample(batch.ids, batch.positions) for batch in batches[:1]]
    writer = Writer(larger, tokenizer, samples, nudge=0.2)
    with torch.no_grad():
        writer.write()
    larger(batches[0].ids, use_cache=False).logits.logsumexp(-1).mean().backward()
    for layer in larger.model.layers:
        outgoing = layer.self_attn.o_proj.weight.grad[:, writer.first]
        assert outgoing.abs().max() > 0


def test_a_model_of_too_few_layers_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    config: Any = SIZES["small"].config()
    config.num_hidden_layers = 3
    config.layer_types = config.layer_types[:3]
    with pytest.raises(ValueError, match="four layers"):
        write_quoting_circuit(Qwen3ForCausalLM(config), tokenizer, [])
