"""Initial weights that can already copy: a layer of previous-token heads, then one of induction heads.

Trained from random weights, a small reader spends most of its time discovering the two-layer circuit
that continues a repeated sequence (Olsson et al., "In-context learning and induction heads",
arXiv 2209.11895, section "Mechanistic view"). We write that circuit into the initial weights
instead; every weight stays trainable and the architecture stays a stock Qwen3. This file knows
nothing of tokens or text.
"""

import math

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

CONTENT_FREQUENCY = 1e-3  # radians a token; slower rotary pairs carry content, faster ones distance
SHARPNESS = 3.0  # gain of query and key norms in the layers of the circuit


def _rotary_frequencies(config: Qwen3Config) -> Tensor:
    """Rotation per position of each rotary pair, in radians; shape `[head_dim / 2]`."""
    half = config.head_dim // 2
    theta = float(config.rope_parameters["rope_theta"])
    return theta ** (-torch.arange(half, dtype=torch.float32) / half)


def _rotate(vector: Tensor, angle: Tensor) -> Tensor:
    """`vector` (`[head_dim]`) rotated pairwise by `angle` (`[head_dim / 2]`)."""
    first, second = vector.chunk(2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin])


@torch.no_grad()
def write_induction_circuit(model: Qwen3ForCausalLM, seed: int) -> None:
    """Write the copying circuit into a freshly made model, in place.

    Needs `attention_bias`, at least two layers, two key/value heads and a width of at least
    four head dimensions; raises ValueError otherwise.
    """
    config = model.config
    dim, width = config.head_dim, config.hidden_size
    group = config.num_attention_heads // config.num_key_value_heads
    if not config.attention_bias or config.num_hidden_layers < 2 or width < 4 * dim:
        raise ValueError("the induction circuit needs attention_bias, 2 layers and width >= 4 heads")
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(width, width, generator=generator))[0].T
    reads = [basis[:dim], basis[dim : 2 * dim]]
    writes = [basis[2 * dim : 3 * dim], basis[3 * dim : 4 * dim]]

    embedding = torch.randn(config.vocab_size, width, generator=generator) / math.sqrt(width)
    model.get_input_embeddings().weight.copy_(embedding)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(0.1)
        layer.self_attn.o_proj.weight.mul_(0.1)

    frequencies = _rotary_frequencies(config)
    pairs = torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.5]).sqrt()
    amplitude = torch.zeros(dim // 2)
    amplitude[: len(pairs)] = pairs
    distance = torch.cat([amplitude, torch.zeros(dim // 2)]) * 3

    first = model.model.layers[0].self_attn
    first.q_norm.weight.fill_(SHARPNESS)
    first.k_norm.weight.fill_(SHARPNESS)
    for head in range(2):  # the key of position j points at the query of position j + 1
        kv = slice(head * dim, (head + 1) * dim)
        first.k_proj.bias[kv] = _rotate(distance, frequencies)
        first.v_proj.weight[kv] = reads[head]
        for member in range(group):  # the second member looks one token further back
            query = head * group + member
            rows = slice(query * dim, (query + 1) * dim)
            first.q_proj.bias[rows] = _rotate(distance, -frequencies * member)
        rows = slice(head * group * dim, (head * group + 1) * dim)
        first.o_proj.weight[:, rows] = writes[head].T * (1.0 / math.sqrt(dim))

    slow = (frequencies <= CONTENT_FREQUENCY).nonzero().flatten()
    content = torch.cat([slow, slow + dim // 2])
    second = model.model.layers[1].self_attn
    second.q_norm.weight.fill_(SHARPNESS)
    second.k_norm.weight.fill_(SHARPNESS)
    for head in range(2):
        mix = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0][: len(content)]
        kv = slice(head * dim, (head + 1) * dim)
        rows = slice(head * group * dim, (head * group + 1) * dim)
        second.k_proj.weight[kv] *= 0.1
        second.q_proj.weight[rows] *= 0.1
        second.k_proj.weight[kv][content] = mix @ writes[head]
        second.q_proj.weight[rows][content] = mix @ reads[head]
        second.v_proj.weight[kv] = reads[head]
        second.o_proj.weight[:, rows] = reads[head].T * (3.0 / math.sqrt(dim))
