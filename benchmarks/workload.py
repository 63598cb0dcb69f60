"""What the serving benchmark asks: readers, cartridges and requests of a wanted shape.

Cartridges here are untrained: what serving costs does not depend on what was taught. This file knows
shapes; it measures nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from cartridge_store.cartridge import Cartridge
from cartridge_store.manifest import PositionRule
from inference.reader import KeyValues, Reader, stacked
from inference.requests import Request
from inference.sampling import Sampling

QUESTION = "Who keeps the register of the northern harbour, and since which year?"
COMPRESSION = 38.6
"""Document tokens for each slot, as in Cartridges (arXiv 2506.06266)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A context length, and how long answers are."""

    name: str
    context_tokens: int
    answer_tokens: int

    @property
    def slots(self) -> int:
        """Slots of the cartridges that stand for the context."""
        return max(2, round(self.context_tokens / COMPRESSION))

    def sampling(self) -> Sampling:
        """Greedy, and always the same number of tokens."""
        return Sampling(max_tokens=self.answer_tokens, ignore_end=True)


def qwen3_shaped(
    tokenizer: PreTrainedTokenizerFast, *, layers: int = 28, width: int = 1024, seed: int = 0
) -> Reader:
    """A reader with random weights in the shape of Qwen3-0.6B; it says nothing that means anything."""
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model: Any = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return Reader(model, tokenizer, "random weights in the shape of Qwen3-0.6B")


def random_cartridge(reader: Reader, columns: int, seed: int) -> Cartridge:
    """So many columns of noise, small enough that softmax stays a mixture."""
    keys, _ = reader.sink[0]
    shape = (len(reader.sink), keys.shape[1], columns, keys.shape[3])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.empty(shape, dtype=reader.dtype).normal_(0, 0.5, generator=generator)
    return _cartridge(reader, noise, noise.flip(2), seed)


def as_cartridge(reader: Reader, document: KeyValues, number: int) -> Cartridge:
    """The whole KV of a text as if it were a cartridge: a prefix that is cached."""
    return _cartridge(reader, *stacked(document), number)


def _cartridge(reader: Reader, keys: torch.Tensor, values: torch.Tensor, number: int) -> Cartridge:
    return Cartridge.create(
        keys,
        values,
        collection="bench",
        document_id=f"document-{number}",
        document_sha256=f"{number:064x}",
        document_tokens=keys.shape[2],
        reader_fingerprint=reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=PositionRule("visible"),
        initialiser="random",
        recipe={},
        figures={},
    )


def text_of(reader: Reader, tokens: int, seed: int) -> str:
    """A text of about so many tokens: words of the vocabulary, no sense."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = min(len(reader.tokenizer), reader.config.vocab_size)
    ids = torch.randint(300, vocabulary, (tokens,), generator=generator).tolist()
    return reader.decode(ids)


def asked(shape: Shape, *cartridges: Cartridge, text: str | None = None) -> Request:
    """The question behind cartridges or a text."""
    return Request(QUESTION, cartridges, () if text is None else (text,), shape.sampling())
