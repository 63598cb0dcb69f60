"""Where a cartridge's slots start: from the document's own keys and values.

`first` takes the KV of the first tokens (Cartridges, arXiv 2506.06266, section 3.2), `spread` that of
evenly spaced tokens, `random` vectors with the document's mean and spread per head, `compaction` what
the study's questions look at (`compaction.py`). Keys of a document that is longer than the place where
questions stand are moved to before it: behind its question a reader has learned to look for nothing. This
file knows keys and values; it knows no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from inference.reader import KeyValues, Reader, stacked
from inference.rotation import in_front_of
from training.compaction import compact
from training.examples import StudyExample
from training.settings import TrainingRefused


@dataclass(frozen=True, slots=True)
class Source:
    """What slots can be made from: the document's KV without the sink, and what is asked about it.

    `offset` is the position at which conversations stand behind the slots.
    """

    document: KeyValues
    reader: Reader
    studied: Sequence[StudyExample]
    offset: int


class Initialiser(Protocol):
    """Makes `slots` columns to start from."""

    def __call__(self, source: Source, slots: int, seed: int) -> tuple[Tensor, Tensor]:
        """Keys and values `[layers, kv_heads, slots, head_dim]`, float32."""
        ...


def first_tokens(source: Source, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """The document's first columns."""
    keys, values = stacked(source.document)
    return keys[:, :, :slots].float().contiguous(), values[:, :, :slots].float().contiguous()


def spread_tokens(source: Source, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """Columns evenly spread over the document, ends included."""
    keys, values = stacked(source.document)
    chosen = torch.linspace(0, keys.shape[2] - 1, slots).round().long()
    spread = in_front_of(source.reader, keys[:, :, chosen].float(), keys.shape[2], source.offset)
    return spread, values[:, :, chosen].float()


def random_vectors(source: Source, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """Gaussian vectors with the document's mean and deviation per layer, head and dimension."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for tensor in map(Tensor.float, stacked(source.document)):
        shape = (*tensor.shape[:2], slots, tensor.shape[3])
        noise = torch.randn(shape, generator=generator).to(tensor)
        drawn.append(noise * tensor.std(2, keepdim=True) + tensor.mean(2, keepdim=True))
    return drawn[0], drawn[1]


def attention_matched(source: Source, slots: int, seed: int) -> tuple[Tensor, Tensor]:
    """The columns that questions look at, with the values that make up for the others."""
    return compact(source.reader, source.document, source.studied, slots, source.offset, seed)


INITIALISERS: dict[str, Initialiser] = {
    "first": first_tokens,
    "spread": spread_tokens,
    "random": random_vectors,
    "compaction": attention_matched,
}


def initialiser(name: str) -> Initialiser:
    """The initialiser called `name`. Raises TrainingRefused."""
    try:
        return INITIALISERS[name]
    except KeyError:
        known = ", ".join(INITIALISERS)
        raise TrainingRefused(f"There is no initialiser {name!r}; choose one of {known}.") from None


def document_key_values(reader: Reader, text: str) -> KeyValues:
    """KV of the document's place in a prompt, without the sink; a long text is cut to fit."""
    most = reader.max_positions // 2
    ids = [reader.chat.sink_id, *reader.chat.documents([text])][:most]
    return tuple((k[:, :, 1:], v[:, :, 1:]) for k, v in reader.prefill(ids))
