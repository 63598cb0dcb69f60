"""Keys moved to other positions by the model's own rotary embedding.

RoPE is relative: a question at position F over keys as they are equals a question at F + d over keys
rotated by d. This file knows tensors, frequencies and a reader; it knows no cartridge.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from inference.reader import Reader, stacked

_CHECKED_AT = 37  # where the rotation is compared with the model's own


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """How a reader turns its keys: `frequencies` and `interleaved` as `rotated` takes them."""

    frequencies: Tensor
    interleaved: bool


def rotation_of(reader: Reader) -> Rotation | None:
    """How the reader turns its keys, checked against its own; None where they cannot be moved."""
    frequencies = _frequencies(reader)
    if frequencies is None:
        return None
    keys, _ = stacked(reader.sink)
    moved = _sink_keys_at(reader, _CHECKED_AT)
    for interleaved in (False, True):
        ours = rotated(keys.cpu(), _CHECKED_AT, frequencies, interleaved=interleaved)
        if _near(ours, moved):
            return Rotation(frequencies, interleaved)
    return None


def rotated(keys: Tensor, by: int, frequencies: Tensor, *, interleaved: bool = False) -> Tensor:
    """Keys `[..., head_dim]` moved by so many positions, in their own dtype; computed in float32.

    `frequencies` are radians per position, float32 `[n]`: of each head the first 2 n numbers are
    rotated, as pairs (i, i + n), or as neighbours where the model has them `interleaved`.
    """
    if by == 0:
        return keys
    angles = (
        frequencies.double() * by
    )  # a product of float32 would be off by 1e-4 at position 1,000
    cos, sin = angles.cos().float(), angles.sin().float()
    size = 2 * len(frequencies)
    turned, rest = keys[..., :size].float(), keys[..., size:]
    if interleaved:
        one, two = turned[..., 0::2], turned[..., 1::2]
        pairs = torch.stack([one * cos - two * sin, two * cos + one * sin], -1)
        moved = pairs.flatten(-2)
    else:
        one, two = turned.chunk(2, -1)
        moved = torch.cat([one * cos - two * sin, two * cos + one * sin], -1)
    return torch.cat([moved.to(keys.dtype), rest], -1)


def in_front_of(reader: Reader, keys: Tensor, length: int, place: int) -> Tensor:
    """Keys of a document of `length` tokens behind the sink, moved back so that it ends before `place`.

    As they are where it ends there anyway, and where the reader's keys cannot be moved.
    """
    by = place - (length + 1)
    rotation = rotation_of(reader) if by < 0 else None
    if rotation is None:
        return keys
    moved = rotated(keys.cpu(), by, rotation.frequencies, interleaved=rotation.interleaved)
    return moved.to(keys.device)


def _frequencies(reader: Reader) -> Tensor | None:
    rotary = getattr(reader.model.base_model, "rotary_emb", None)
    kind = getattr(rotary, "rope_type", "default")
    found = getattr(rotary, "inv_freq", None)
    # These depend on how long the prompt is: no rotation is right for every one.
    if kind in ("dynamic", "longrope") or not isinstance(found, Tensor) or found.dim() != 1:
        return None
    return found.detach().float().cpu().clone()


@torch.no_grad()
def _sink_keys_at(reader: Reader, position: int) -> Tensor:
    cache: Any = DynamicCache(config=reader.config)
    ids = torch.tensor([[reader.chat.sink_id]], device=reader.device)
    places = torch.tensor([[position]], device=reader.device)
    reader.model.base_model(ids, position_ids=places, past_key_values=cache, use_cache=True)
    return torch.cat([layer.keys for layer in cache.layers]).cpu()


def _near(one: Tensor, two: Tensor) -> bool:
    apart = (one.float() - two.float()).abs().max()
    # A bfloat16 key is rounded once here and once there.
    tolerance = 1e-4 if one.dtype == torch.float32 else 2e-2
    return bool(apart <= tolerance * (1 + two.float().abs().max()))
