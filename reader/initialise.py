"""Initial weights that can already copy and already look things up by context.

Trained from random weights, a small reader spends most of its time discovering the two-layer circuit
that continues a repeated sequence (Olsson et al., "In-context learning and induction heads",
arXiv 2209.11895). We write that circuit into the initial weights, and beside it a softer one that
continues the passage whose last few tokens, in any order, look most like what was just said. Every
weight stays trainable and the architecture stays a stock Qwen3. This file knows nothing of text.

Layer 0: heads that attend by distance alone (their queries and keys are constant biases that the
rotary embedding turns) write, beside each token, the token before it and the mean of the last few.
Layer 1: heads compare these notes with the present and copy the token that they find.
"""

import math

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

CONTENT_FREQUENCY = 1e-3  # radians a token; slower rotary pairs carry content, faster ones distance
SHARPNESS = 3.0  # gain of query and key norms in the two layers of the circuit
WINDOW = 8  # tokens that a context note averages over
CONTEXT_SHARE = 1.0  # weight of a match of contexts beside one of the last token


def rotary_frequencies(config: Qwen3Config) -> Tensor:
    """Rotation per position of each rotary pair, in radians; shape `[head_dim / 2]`."""
    half = config.head_dim // 2
    theta = float(dict(config.rope_parameters or {})["rope_theta"])
    return theta ** (-torch.arange(half, dtype=torch.float32) / half)


def rotate(vector: Tensor, angle: Tensor) -> Tensor:
    """`vector` (`[head_dim]`) rotated pairwise by `angle` (`[head_dim / 2]`)."""
    first, second = vector.chunk(2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin])


def pairs(head_dim: int, amplitudes: dict[int, float]) -> Tensor:
    """A vector with the given amplitude on the first member of each rotary pair."""
    vector = torch.zeros(head_dim)
    for pair, amplitude in amplitudes.items():
        vector[pair] = amplitude
    return vector


@torch.no_grad()
def write_lookup_circuit(model: Qwen3ForCausalLM, seed: int) -> None:
    """Write the circuit into a freshly made model, in place.

    Needs `attention_bias`, two layers, three key/value heads with two query heads each, and a width
    of at least four head dimensions; raises ValueError otherwise.
    """
    config = model.config
    dim, width = config.head_dim, config.hidden_size
    heads = config.num_key_value_heads or config.num_attention_heads
    group = config.num_attention_heads // heads
    fits = config.num_hidden_layers >= 2 and heads >= 3 and group == 2
    if not config.attention_bias or not fits or width < 4 * dim:
        raise ValueError(
            "the lookup circuit needs attention_bias, 2 layers, 3 key/value heads of 2 queries each, "
            "and a width of 4 head dimensions"
        )
    generator = torch.Generator().manual_seed(seed)

    def orthogonal(size: int) -> Tensor:
        factor: Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
        return factor

    half, quarter = dim // 2, dim // 4
    basis = orthogonal(width)
    reads = [basis[:dim], basis[dim : 2 * dim]]
    reads.append((orthogonal(dim) @ reads[0] + orthogonal(dim) @ reads[1]) / math.sqrt(2))
    notes = [basis[2 * dim + i * half : 2 * dim + (i + 1) * half] for i in range(4)]
    before, context, context_before = notes[:2], notes[2], notes[3]
    mixes = [orthogonal(dim)[:half] for _ in range(3)]  # head content `[dim]` to note `[dim / 2]`

    # Tokens live where they are read; the rest of the width is kept clean for notes.
    inside = torch.randn(config.vocab_size, 2 * dim, generator=generator) / math.sqrt(2 * dim)
    model.model.embed_tokens.weight.copy_(inside @ basis[: 2 * dim])
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(0.1)
        layer.self_attn.o_proj.weight.mul_(0.1)

    frequencies = rotary_frequencies(config)
    slow = (frequencies <= CONTENT_FREQUENCY).nonzero().flatten()[: half // 2]
    content = torch.cat([slow, slow + half])  # rotary pairs that hardly turn: `[dim / 2]` entries
    sharp = {i: 3 * math.sqrt(a) for i, a in enumerate((4, 3, 2, 1, 1, 1, 0.5, 0.5))}
    # A wide peak: little of the norm in pairs that turn within a window, the rest where query and
    # key do not meet.
    wide = dict.fromkeys(range(3, 8), 0.9)
    wide_query = pairs(dim, {**wide, half - 1: 9.0})
    wide_key = pairs(dim, {**wide, half - 2: 9.0})

    first, second = (layer.self_attn for layer in model.model.layers[:2])
    for attention in (first, second):
        attention.q_norm.weight.fill_(SHARPNESS)
        attention.k_norm.weight.fill_(SHARPNESS)

    def rows(head: int) -> slice:
        return slice(head * dim, (head + 1) * dim)

    unit = 1 / math.sqrt(dim)
    for head in range(2):  # the key of position j points at the query of position j + 1 (or j + 2)
        first.k_proj.bias[rows(head)] = rotate(pairs(dim, sharp), frequencies)
        first.v_proj.weight[rows(head)] = reads[head]
        for further in range(2):
            turned = rotate(pairs(dim, sharp), -frequencies * further)
            first.q_proj.bias[rows(2 * head + further)] = turned
        first.o_proj.weight[:, rows(2 * head)] = before[head].T @ mixes[head] * unit
    first.k_proj.bias[rows(2)] = wide_key
    first.v_proj.weight[rows(2)] = reads[2]
    for member, (start, note) in enumerate(((0, context), (1, context_before))):
        centre = start + (WINDOW - 1) / 2
        first.q_proj.bias[rows(4 + member)] = rotate(wide_query, -frequencies * centre)
        # A mean over several tokens is short: written larger to stand out as much as one token.
        first.o_proj.weight[:, rows(4 + member)] = note.T @ mixes[2] * (2.5 * unit)

    # A match of the last token says where in a passage to look, one of the context which passage.
    for head in range(2):
        query = rows(2 * head)
        part, whole = orthogonal(half)[:quarter], orthogonal(half)[:quarter]
        second.k_proj.weight[rows(head)] *= 0.1
        second.q_proj.weight[query] *= 0.1
        second.k_proj.weight[rows(head)][content] = torch.cat(
            [part @ before[head], CONTEXT_SHARE * whole @ context_before]
        )
        second.q_proj.weight[query][content] = torch.cat(
            [part @ mixes[head] @ reads[head], CONTEXT_SHARE * whole @ context]
        )
        second.v_proj.weight[rows(head)] = reads[head]
        second.o_proj.weight[:, query] = reads[head].T * (4.0 * unit)
