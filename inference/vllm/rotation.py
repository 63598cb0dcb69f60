"""Keys moved to other positions by the model's own rotary embedding.

RoPE is relative: a question at position F over keys as they are equals a question at F + d over keys
rotated by d. This file knows tensors and frequencies; it knows no model and no cartridge.
"""

import torch
from torch import Tensor


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
