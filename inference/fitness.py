"""What a model and a device have to be to serve cartridges, and why others are refused.

This file knows configurations and transformers' attention interface; it knows no tokenizer, no question
and no cartridge.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from inference.paged_attention import Plan

_OFF = 0.1
"""How far logits through a plan may be from the model's own, as a share of these; bfloat16 is near 0.01."""


class ReaderError(ValueError):
    """The reader cannot be loaded or cannot serve cartridges; the message says what to do."""


def device_named(name: str) -> torch.device:
    """The device of a setting; `auto` is CUDA where there is one. Raises ReaderError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ReaderError(f"device {name!r} is not known; choose auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ReaderError("There is no CUDA device that torch can use here; choose auto or cpu.")
    return device


def require_prefix(config: Any) -> None:
    """Refuse models in which a layer cannot carry a prefix of keys and values. Raises ReaderError."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds - {"full_attention"}:
        raise ReaderError(
            f"{config.model_type} has layers of kind {', '.join(sorted(kinds))}, which cannot carry "
            "a cartridge; choose a model whose layers all attend to the whole context."
        )
    window = getattr(config, "sliding_window", None)
    listed = getattr(config, "layer_types", None)
    if not listed and window is not None and window < positions_of(config):
        raise ReaderError(
            f"{config.model_type} attends to a window of {window} positions, out of which a cartridge "
            "falls; choose a model whose layers all attend to the whole context."
        )


def positions_of(config: Any) -> int:
    """How many positions are read by one rule. Raises ReaderError for a model that does not say.

    With `longrope` transformers reads every row of a batch by another rule as soon as one is longer than
    this: no answer would be as it is alone, and no cartridge as it was trained.
    """
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int):
        raise ReaderError(
            f"{config.model_type} does not say how many positions it has (max_position_embeddings); choose "
            "a model with rotary positions."
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return most
    first = rope.get("original_max_position_embeddings")
    first = first or getattr(config, "original_max_position_embeddings", None)
    return min(most, int(first or most))


def scaled_logits(config: Any, logits: Tensor) -> Tensor:
    """Logits as the model itself gives them, of what its output embeddings give."""
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    return logits


class _Whole:
    """A plan without pages: everything is there at once. It notes what each layer wrote."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []
        """Layer, kv heads and head size of every call, in order."""
        self._new: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._new[layer] = keys, values
        self.written.append((layer, keys.shape[1], keys.shape[3]))

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        keys, values = self._new[layer]
        found = scaled_dot_product_attention(
            query, keys, values, is_causal=True, scale=scale, enable_gqa=True
        )
        return found.transpose(1, 2)


@torch.no_grad()
def require_planned(
    model: Any,
    ids: Tensor,
    shapes: Sequence[tuple[int, int]],
    logits: Callable[[Tensor, Tensor, Plan], Tensor],
) -> None:
    """Refuse models whose attention does not follow plans, or whose logits are not ours.

    `logits` gives ours for `ids` `[1, n]`, their positions and a plan; `shapes` are kv heads and head size
    of each layer's cache. A model that passes over transformers' attention interface would answer without
    its cartridges, and nobody would see it. Raises ReaderError.
    """
    kind = model.config.model_type
    theirs = model(ids).logits.float()
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    plan = _Whole()
    try:
        ours = logits(ids, positions, plan)
    except Exception as error:  # whatever a model's own code makes of a plan
        raise ReaderError(
            f"{kind} cannot serve cartridges: its attention takes no plan ({error}); choose a model that "
            "goes through transformers' attention interface, such as Llama or Qwen."
        ) from error
    if plan.written != [(layer, *shape) for layer, shape in enumerate(shapes)]:
        raise ReaderError(
            f"{kind} cannot serve cartridges: not every layer of it asks transformers' attention interface "
            "once, with the keys and values that it caches; choose another model, such as Llama or Qwen."
        )
    off = float((ours - theirs).norm() / (theirs - theirs.mean()).norm().clamp(min=1e-6))
    if not off <= _OFF:
        raise ReaderError(
            f"{kind} cannot serve cartridges: through transformers' attention interface it does not say "
            f"what it says for itself (its logits are off by {off:.0%}); choose another, such as Llama or "
            "Qwen."
        )
