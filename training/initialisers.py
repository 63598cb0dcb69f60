"""Where a cartridge's slots start: from the document's own keys and values.

`first` takes the KV of the first tokens (Cartridges, arXiv 2506.06266, section 3.2), `spread` that of
evenly spaced tokens, `random` vectors with the document's mean and spread per head. This file knows
keys and values; it knows no training.
"""

from typing import Protocol

import torch
from torch import Tensor

from inference.reader import KeyValues
from training.settings import TrainingRefused


class Initialiser(Protocol):
    """Chooses `slots` columns to start from."""

    def __call__(self, document: KeyValues, slots: int, seed: int) -> tuple[Tensor, Tensor]:
        """Keys and values `[layers, kv_heads, slots, head_dim]`, float32."""
        ...


def _stacked(document: KeyValues) -> tuple[Tensor, Tensor]:
    keys = torch.cat([k for k, _ in document]).float()
    values = torch.cat([v for _, v in document]).float()
    return keys, values


def first_tokens(document: KeyValues, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """The document's first columns."""
    keys, values = _stacked(document)
    return keys[:, :, :slots].clone(), values[:, :, :slots].clone()


def spread_tokens(document: KeyValues, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """Columns evenly spread over the document, ends included."""
    keys, values = _stacked(document)
    chosen = torch.linspace(0, keys.shape[2] - 1, slots).round().long()
    return keys[:, :, chosen].clone(), values[:, :, chosen].clone()


def random_vectors(document: KeyValues, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """Gaussian vectors with the document's mean and deviation per layer, head and dimension."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for tensor in _stacked(document):
        shape = (*tensor.shape[:2], slots, tensor.shape[3])
        noise = torch.randn(shape, generator=generator).to(tensor)
        drawn.append(noise * tensor.std(2, keepdim=True) + tensor.mean(2, keepdim=True))
    return drawn[0], drawn[1]


INITIALISERS: dict[str, Initialiser] = {
    "first": first_tokens,
    "spread": spread_tokens,
    "random": random_vectors,
}


def initialiser(name: str) -> Initialiser:
    """The initialiser called `name`. Raises TrainingRefused."""
    try:
        return INITIALISERS[name]
    except KeyError:
        known = ", ".join(INITIALISERS)
        raise TrainingRefused(f"There is no initialiser {name!r}; choose one of {known}.") from None
