"""A trained reader with more layers and wider MLPs that says what it said before.

Once a reader is right as often on fresh examples of its training as on those of evaluation, more
wordings help it no further: it has no room for them. Some layers are repeated, their copies silent at
first (block expansion, arXiv 2401.02415 section 3), and MLPs get neurons that nobody listens to yet
(Net2Net, arXiv 1511.05641); from there on all of it is trained. The residual stream and the heads stay as
they are, and with them what the written circuits rely on (`initialise.py`, `grow.py`). This file knows
no curriculum.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

AGAIN = (2, 3)  # where sentences are matched and their votes read
INNER = 1.5
_SILENT = ("self_attn.o_proj.weight", "self_attn.o_proj.bias", "mlp.down_proj.weight")


@torch.no_grad()
def enlarged(
    model: Qwen3ForCausalLM, *, again: Sequence[int] = AGAIN, inner: float = INNER, seed: int = 0
) -> Qwen3ForCausalLM:
    """The same function with the layers `again` repeated behind themselves and MLPs `inner` times as wide.

    Raises ValueError for a layer that the model has not, and MLPs that would become narrower.
    """
    config: Any = model.config
    layers = range(config.num_hidden_layers)
    if not set(again) <= set(layers) or inner < 1:
        raise ValueError(
            f"Of {len(layers)} layers {list(again)} cannot be repeated, {inner} times as wide."
        )
    order = sorted([*layers, *again])
    described = config.to_dict()
    described.pop("layer_types")
    described |= {
        "num_hidden_layers": len(order),
        "intermediate_size": round(config.intermediate_size * inner),
    }
    result: Any = Qwen3ForCausalLM(Qwen3Config.from_dict(described))
    before = model.state_dict()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in result.named_parameters():
        if not name.startswith("model.layers."):
            parameter.copy_(before[name])
            continue
        _, _, place, part = name.split(".", 3)
        source = order[int(place)]
        values = before[f"model.layers.{source}.{part}"]
        if part in _SILENT and int(place) and order[int(place) - 1] == source:
            parameter.zero_()
        else:
            _widen(parameter, values, generator, heard="down_proj" not in part)
    finished: Qwen3ForCausalLM = result.eval()
    return finished


def _widen(parameter: Tensor, values: Tensor, generator: torch.Generator, *, heard: bool) -> None:
    """Copy `values` into a parameter that may be larger; the rest is drawn like them, or zero."""
    parameter.zero_()
    if heard and parameter.shape != values.shape:
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        parameter.copy_(drawn * float(values.float().std()))
    parameter[tuple(slice(0, size) for size in values.shape)] = values
