"""Decoding of a closed batch behind prefixes of its own: for training and evaluation.

Prefixes and prompts are padded on the left and the holes masked, so that every row decodes as it
would alone. This file knows key/value prefixes and token ids; it knows no cartridge, no text and no
thread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.composer import Composition
from inference.reader import KeyValues, Reader
from inference.roomy_cache import RoomyCache
from inference.sampling import Chooser, Sampling, Top, likeliest


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids that stand behind a prefix; the ids begin at the prefix's question position."""

    prefix: Composition
    ids: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Padded:
    """A batch behind left-padded prefixes: ids, positions `[B, Q]`, mask `[B, P + Q]`, prefix KV."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    past: KeyValues


def pad(reader: Reader, prompts: Sequence[Prompt]) -> Padded:
    """Lay prompts side by side, each behind its own copy of its prefix."""
    width = max(len(p.ids) for p in prompts)
    depth = max(p.prefix.length for p in prompts)
    ids = torch.full((len(prompts), width), reader.end_id)
    positions = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros((len(prompts), depth + width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        size, length = len(prompt.ids), prompt.prefix.length
        ids[row, width - size :] = torch.tensor(list(prompt.ids))
        start = prompt.prefix.question_at
        positions[row, width - size :] = torch.arange(start, start + size)
        mask[row, depth - length : depth] = 1
        mask[row, depth + width - size :] = 1
    past = []
    for layer in range(len(reader.sink)):
        sink = reader.sink[layer][0]
        shape = (len(prompts), sink.shape[1], depth, sink.shape[3])
        keys, values = sink.new_zeros(shape), sink.new_zeros(shape)
        for row, prompt in enumerate(prompts):
            k, v = prompt.prefix.layers[layer]
            keys[row, :, depth - k.shape[2] :] = k[0]
            values[row, :, depth - v.shape[2] :] = v[0]
        past.append((keys, values))
    device = reader.device
    return Padded(ids.to(device), positions.to(device), mask.to(device), tuple(past))


class Decoder:
    """One batch being decoded: `step` gives every unfinished row its next token.

    With `top_k`, `tops` holds for every row the likeliest tokens of each of its steps.
    """

    def __init__(self, reader: Reader, prompts: Sequence[Prompt], *, top_k: int = 0) -> None:
        self._reader = reader
        self._top_k = top_k
        self.tops: list[list[Top]] = [[] for _ in prompts]
        self._samplings = [p.sampling for p in prompts]
        self._choosers = [Chooser(s) for s in self._samplings]
        batch = pad(reader, prompts)
        self._ids, self._mask, self._cache = batch.ids, batch.mask, RoomyCache(batch.past)
        self._positions = batch.positions
        self._rows = list(range(len(prompts)))
        self._taken = [0] * len(prompts)

    @property
    def rows(self) -> Sequence[int]:
        """Indices of the prompts still being decoded."""
        return tuple(self._rows)

    @torch.no_grad()
    def step(self) -> dict[int, int]:
        """The next token of every unfinished row; rows that end with it are dropped."""
        hidden = self._reader.advance(self._ids, self._cache, self._mask, self._positions)
        logits = self._reader.logits(hidden[:, -1])
        if self._top_k:
            self._keep_tops(logits)
        logits = logits.cpu()
        greedy = logits.argmax(-1)
        chosen: dict[int, int] = {}
        kept: list[int] = []
        for place, row in enumerate(self._rows):
            sampled = self._samplings[row].temperature > 0
            token = self._choosers[row].choose(logits[place]) if sampled else int(greedy[place])
            chosen[row] = token
            self._taken[row] += 1
            ended = token in self._reader.end_ids
            if not ended and self._taken[row] < self._samplings[row].max_tokens:
                kept.append(place)
        self._advance(kept, chosen)
        return chosen

    def _keep_tops(self, logits: Tensor) -> None:
        for row, top in zip(self._rows, likeliest(logits, self._top_k), strict=True):
            self.tops[row].append(top)

    def _advance(self, kept: list[int], chosen: dict[int, int]) -> None:
        if len(kept) < len(self._rows):
            self._select(kept)
        if not self._rows:
            return
        device = self._reader.device
        self._ids = torch.tensor([[chosen[row]] for row in self._rows], device=device)
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, torch.ones_like(self._ids)], dim=1)

    def _select(self, kept: list[int]) -> None:
        self._rows = [self._rows[place] for place in kept]
        index = torch.tensor(kept, dtype=torch.long, device=self._reader.device)
        self._ids, self._mask = self._ids[index], self._mask[index]
        self._positions = self._positions[index]
        self._cache.batch_select_indices(index)


def decode(reader: Reader, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Generated ids of every prompt, without the end token."""
    outputs: list[list[int]] = [[] for _ in prompts]
    for tokens in stream(reader, prompts):
        for row, token in tokens.items():
            if token not in reader.end_ids:
                outputs[row].append(token)
    return outputs


def stream(reader: Reader, prompts: Sequence[Prompt]) -> Iterator[dict[int, int]]:
    """Tokens of a batch, step by step, until every row has ended."""
    decoder = Decoder(reader, prompts)
    while decoder.rows:
        yield decoder.step()
