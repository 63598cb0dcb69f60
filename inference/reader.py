"""The reader: a frozen causal language model with its tokenizer, chat format, sink and fingerprint.

Any Hugging Face causal LM that is fit for it (`inference/fitness.py`) loads by path or name. This file
knows no cartridge and no training.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Cache, DynamicCache

from inference.chat import ChatFormat
from inference.fitness import ReaderError as ReaderError
from inference.fitness import (
    device_named,
    positions_of,
    require_planned,
    require_prefix,
    scaled_logits,
)
from inference.paged_attention import NO_MASK_SHAPE, Plan, install

# No float16: cartridges are not kept in it.
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

KeyValues = tuple[tuple[Tensor, Tensor], ...]
"""Per layer, keys and values `[batch, kv_heads, length, head_dim]`."""


class Reader:
    """A frozen language model that reads. Thread-safe as long as one thread calls it at a time."""

    def __init__(self, model: Any, tokenizer: Any, name: str, instructions: str = "") -> None:
        self.model = model.eval().requires_grad_(False)
        install(self.model)
        self.tokenizer = tokenizer
        self.name = name
        self.config = model.config
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        require_prefix(self.config)
        try:
            self.chat = ChatFormat(tokenizer, instructions)
        except ValueError as error:
            raise ReaderError(f"{name}: {error}") from error
        ends = _end_ids(model, tokenizer, self.chat.turn_end_id)
        self.end_ids = frozenset(ends)
        """Each of these ends an answer."""
        self.end_id = ends[0]
        """The one that the reader's own answers end with."""
        self.fingerprint = _model_fingerprint(model)
        self.tokenizer_fingerprint = tokenizer_fingerprint(tokenizer)
        self.max_positions = positions_of(self.config)
        self.sink: KeyValues = self.prefill([self.chat.sink_id])
        ids = torch.tensor([[self.chat.sink_id, *self.chat.bare_question(name)[:8]]])
        shapes = [(keys.shape[1], keys.shape[3]) for keys, _ in self.sink]
        require_planned(self.model, ids.to(self.device), shapes, self._planned_logits)

    @property
    def as_told(self) -> str:
        """Names the reader with what it is told: what studies, and runs that go on, depend on."""
        return as_told(self.fingerprint, self.chat.instructions)

    def cut(self, text: str, tokens: int) -> str:
        """The text's first `tokens` tokens, as text."""
        return self.decode(self.chat.ids_of(text)[:tokens])

    def count(self, text: str) -> int:
        """Tokens of `text` as a document."""
        return len(self.chat.ids_of(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @torch.no_grad()
    def prefill(self, ids: Sequence[int]) -> KeyValues:
        """Keys and values of `ids` from position 0 on, each `[1, kv_heads, len(ids), head_dim]`."""
        cache = DynamicCache(config=self.config)
        tokens = torch.tensor([list(ids)], device=self.device)
        self.model.base_model(tokens, past_key_values=cache, use_cache=True)
        return _key_values(cache)

    def prefill_documents(self, texts: Sequence[str]) -> KeyValues:
        """Keys and values of the documents' turn (no sink), as a prompt with `texts` has them."""
        ids = [self.chat.sink_id, *self.chat.documents(texts)]
        return tuple((k[:, :, 1:], v[:, :, 1:]) for k, v in self.prefill(ids))

    def forward(
        self, ids: Tensor, past: KeyValues, mask: Tensor, positions: Tensor
    ) -> tuple[Tensor, KeyValues]:
        """Hidden states `[batch, length, width]` of `ids` behind `past`, and the longer KV.

        `mask` is `[batch, past + length]`, 1 where attention may look; `positions` is
        `[batch, length]`. Gradients flow into `past`.
        """
        cache = DynamicCache(list(past), config=self.config)
        hidden = self.advance(ids, cache, mask, positions)
        return hidden, _key_values(cache)

    def advance(self, ids: Tensor, cache: Cache, mask: Tensor, positions: Tensor) -> Tensor:
        """As `forward`, behind what a cache holds; the new keys and values are written there."""
        hidden: Tensor = self.model.base_model(
            ids,
            past_key_values=cache,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def planned_forward(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        """Hidden states `[batch, length, width]`; the plan keeps keys and values, and says what is seen.

        `ids` and `positions` are `[batch, length]`.
        """
        hidden: Tensor = self.model.base_model(
            ids,
            position_ids=positions,
            attention_mask=torch.zeros(NO_MASK_SHAPE, dtype=self.dtype, device=self.device),
            use_cache=False,
            page_plan=plan,
        ).last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[..., vocabulary]` in float32 of hidden states `[..., width]`."""
        logits: Tensor = self.model.get_output_embeddings()(hidden).float()
        return scaled_logits(self.config, logits)

    def _planned_logits(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        return self.logits(self.planned_forward(ids, positions, plan))


def load_reader(
    name: str | Path, *, device: str = "auto", dtype: str = "auto", instructions: str = ""
) -> Reader:
    """Load a causal LM with its tokenizer by path or hub name. Raises ReaderError.

    `auto` is CUDA where there is one, and bfloat16 where the device multiplies it itself. `instructions`
    are said before every question to a reader that brings none of its own: its tokenizer's configuration
    may hold `cartridge_instructions`, and the bundled reader's says that there are none.
    """
    if dtype not in ("auto", *_DTYPES):
        raise ReaderError(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}.")
    place = device_named(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type != "cpu" or multiplies_bfloat16() else "float32"
    try:
        config = AutoConfig.from_pretrained(str(name))
        require_prefix(config)
        tokenizer = AutoTokenizer.from_pretrained(str(name))
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(name), dtype=_DTYPES[dtype], use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, ReaderError):
            raise
        raise ReaderError(
            f"No reader could be loaded from {str(name)!r}: give a folder or a hub name of a causal "
            f"language model with safetensors weights ({str(error).splitlines()[0]})"
        ) from error
    own = tokenizer.init_kwargs.get("cartridge_instructions")
    told = own if isinstance(own, str) else instructions
    return Reader(model.to(place), tokenizer, str(name), told)


def as_told(fingerprint: str, instructions: str) -> str:
    """A reader's fingerprint, and where it is told something, a digest of that and this."""
    if not instructions:
        return fingerprint
    return hashlib.sha256(json.dumps([fingerprint, instructions]).encode()).hexdigest()


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it: without, torch converts number by number."""
    found = torch.cpu.get_capabilities()
    return any(there for name, there in found.items() if name.endswith("bf16"))


def stacked(layers: KeyValues) -> tuple[Tensor, Tensor]:
    """Keys and values of one row, all layers in one: `[layers, kv_heads, n, head_dim]`."""
    return torch.cat([keys for keys, _ in layers]), torch.cat([values for _, values in layers])


def _key_values(cache: Any) -> KeyValues:
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def _end_ids(model: Any, tokenizer: Any, turn_end: int | None) -> tuple[int, ...]:
    """What ends an answer, the token first that the reader's own turns end with.

    Not all models name that one as their end of sequence: Phi-3 and Gemma end turns with others.
    """
    named = getattr(model.generation_config, "eos_token_id", None)
    named = named if isinstance(named, list) else [named]
    found = [id for id in (turn_end, tokenizer.eos_token_id, *named) if id is not None]
    if not found:
        raise ReaderError("The reader's tokenizer names no end-of-sequence token.")
    return tuple(dict.fromkeys(map(int, found)))


def _model_fingerprint(model: Any) -> str:
    """SHA-256 over the configuration and every weight (as bfloat16, so the loading dtype is free)."""
    digest = hashlib.sha256()
    config = model.config.to_diff_dict()
    for volatile in ("transformers_version", "dtype", "_name_or_path", "architectures"):
        config.pop(volatile, None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        stored = tensor.detach().to("cpu", torch.bfloat16).reshape(-1)
        digest.update(stored.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 over all that a tokenizer does, its chat template included."""
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(str(tokenizer.chat_template).encode())
    return digest.hexdigest()
