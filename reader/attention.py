"""Causal attention of a training step, written out block by block.

On a CPU the fused kernel computes bfloat16 in float32 and takes more than half of a step at lengths that
the reader learns at (docs/decisions/0019, which found the same for cartridges). Here a block of queries
multiplies the keys up to its own end, in the inputs' dtype, by the processor's matrix kernels. Nothing but
causality is known: what is padded stands on the right, where no real token looks. Sizes should repeat
(`ROUND`), because the kernels are made anew for each. This file knows tensors; it knows no curriculum.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

NAME = "causal_blocks"
ROUND = 64
"""Lengths of batches are rounded up to this."""
_BLOCK = 256  # queries


def install(model: Any) -> None:
    """Let a model on a CPU learn by it; where nothing is learned it is sdpa."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: `[B, n, heads, head_dim]` of queries `[B, heads, n, head_dim]`."""
    if not query.requires_grad:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    scale = scaling or query.shape[-1] ** -0.5
    # Autocast leaves these two, which are normalised, in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    with torch.autocast("cpu", enabled=False):
        found: Tensor = CausalBlocks.apply(query, key, value, scale)  # type: ignore[no-untyped-call]
    return found, None


class CausalBlocks(torch.autograd.Function):
    """Attention `[B, n, heads, head_dim]` of `[B, heads, n, head_dim]` over `[B, kv_heads, n, head_dim]`.

    What is kept for the gradients is the weights, in the inputs' dtype; gradients of keys and
    values are summed over blocks in float32.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention, row by row and block by block."""
        rows, heads, count, size = query.shape
        shared = heads // keys.shape[1]
        # What all keys have in common adds the same to every score of a query: no weight changes, and what
        # is left is rounded less.
        keys = keys - keys.mean(2, keepdim=True)
        hidden = torch.ones(_BLOCK, _BLOCK, dtype=torch.bool).triu(1)
        weights: list[Tensor] = []
        found = query.new_empty(rows, count, heads, size)
        for row in range(rows):
            for start in range(0, count, _BLOCK):
                end = min(start + _BLOCK, count)
                q = _block(query[row] * scale, shared, start, end)
                scores = torch.bmm(q, keys[row, :, :end].transpose(1, 2))
                own = scores.view(len(q), shared, end - start, end)[..., start:]
                own.masked_fill_(hidden[: end - start, : end - start], -torch.inf)
                weights.append(torch.softmax(scores, -1))
                seen = torch.bmm(weights[-1], values[row, :, :end])
                found[row, start:end] = seen.view(heads, end - start, size).transpose(0, 1)
        ctx.save_for_backward(query, keys, values, *weights)
        ctx.scale = scale
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, keys and values."""
        query, keys, values, *weights = ctx.saved_tensors
        rows, heads, count, size = query.shape
        shared = heads // keys.shape[1]
        of_query = torch.empty_like(query)
        of_keys, of_values = (torch.zeros(t.shape) for t in (keys, values))
        grad = grads[0].transpose(1, 2)
        kept = iter(weights)
        for row in range(rows):
            for start in range(0, count, _BLOCK):
                end = min(start + _BLOCK, count)
                shares, g = next(kept), _block(grad[row], shared, start, end)
                of_values[row, :, :end] += torch.bmm(shares.transpose(1, 2), g)
                slope = torch.ops.aten._softmax_backward_data(
                    torch.bmm(g, values[row, :, :end].transpose(1, 2)), shares, -1, shares.dtype
                )
                q = _block(query[row] * ctx.scale, shared, start, end)
                of_keys[row, :, :end] += torch.bmm(slope.transpose(1, 2), q)
                of_query[row, :, start:end] = (
                    torch.bmm(slope, keys[row, :, :end]).view(heads, end - start, size) * ctx.scale
                )
        return of_query, of_keys.to(keys.dtype), of_values.to(values.dtype), None


def _block(heads: Tensor, shared: int, start: int, end: int) -> Tensor:
    """Queries `[kv_heads, shared * block, head_dim]` of `[heads, n, head_dim]`."""
    size = heads.shape[-1]
    return heads[:, start:end].reshape(len(heads) // shared, shared * (end - start), size)
