"""The peers of the serving benchmark: `generate` behind PEFT's CARTRIDGE adapter and a mounted cache.

PEFT has one adapter in view, so its requests go by groups of one composition each. Plain transformers does
so too, or has the compositions, of one length here, stacked as one batch: the best it can do for requests
that all arrive at once. Compositions are merged and stacked beforehand, which they are not charged for.
This file knows transformers' and PEFT's public interfaces; it knows no engine.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache, StoppingCriteriaList

from benchmarks.driving import Wave
from benchmarks.workload import QUESTION, Shape
from inference.composer import Composition
from inference.reader import Reader


class Mounted:
    """Plain transformers: compositions as a DynamicCache, one batch for each."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def wave(self, groups: Sequence[tuple[Composition, int]], shape: Shape) -> Wave:
        """Answer every group in turn; a group is a composition and how many ask it."""
        began = time.perf_counter()
        tokens: list[tuple[float, ...]] = []
        for prefix, count in groups:
            layers = [
                (k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in prefix.layers
            ]
            cache = DynamicCache(layers, config=self._reader.config)
            times = generated(
                self._reader.model, self._reader, count, shape, prefix.length, past_key_values=cache
            )
            tokens += [tuple(at - began for at in times)] * count
        return Wave(
            time.perf_counter() - began, tuple(tokens), _held(self._reader, groups[0][0], shape)
        )

    def stacked_wave(self, groups: Sequence[tuple[Composition, int]], shape: Shape) -> Wave:
        """Answer all groups, whose compositions are of one length, as one batch."""
        rows = [prefix for prefix, count in groups for _ in range(count)]
        stacked = [
            tuple(torch.cat([prefix.layers[layer][i] for prefix in rows]) for i in range(2))
            for layer in range(len(rows[0].layers))
        ]
        began = time.perf_counter()
        cache = DynamicCache(stacked, config=self._reader.config)
        times = generated(
            self._reader.model,
            self._reader,
            len(rows),
            shape,
            rows[0].length,
            past_key_values=cache,
        )
        tokens = (tuple(at - began for at in times),) * len(rows)
        return Wave(time.perf_counter() - began, tokens, _held(self._reader, rows[0], shape))


class Adapters:
    """PEFT: each composition an adapter, switched between groups."""

    def __init__(self, reader: Reader, compositions: Mapping[str, Composition]) -> None:
        from peft import CartridgeConfig, get_peft_model

        self._reader = reader
        self.model: Any = None
        for name, prefix in compositions.items():
            config = CartridgeConfig(
                task_type="CAUSAL_LM",
                num_virtual_tokens=prefix.length,
                num_frozen_tokens=1,
                inference_mode=True,
            )
            if self.model is None:
                self.model = get_peft_model(reader.model, config, adapter_name=name)
            else:
                self.model.add_adapter(name, config)
            self.model.prompt_encoder[name].load_prompt_embeddings(flattened(prefix))
        self.model.to(reader.dtype).eval()

    def wave(self, groups: Sequence[tuple[str, Composition, int]], shape: Shape) -> Wave:
        """Answer every group in turn with its adapter."""
        began = time.perf_counter()
        tokens: list[tuple[float, ...]] = []
        for name, _, count in groups:
            self.model.set_adapter(name)
            times = generated(self.model, self._reader, count, shape, 0)
            tokens += [tuple(at - began for at in times)] * count
        return Wave(
            time.perf_counter() - began, tuple(tokens), _held(self._reader, groups[0][1], shape)
        )


def _held(reader: Reader, prefix: Composition, shape: Shape) -> int:
    """Bytes of keys and values of one row when it ends."""
    columns = prefix.length + len(reader.chat.question(QUESTION)) + shape.answer_tokens - 1
    return prefix.nbytes // prefix.length * columns


def flattened(prefix: Composition) -> torch.Tensor:
    """PEFT's layout: `[columns, layers * 2 * kv_heads * head_dim]`, per layer the key, then the value."""
    parts = [t[0].transpose(0, 1).flatten(1) for layer in prefix.layers for t in layer]
    return torch.cat(parts, dim=1)


@torch.no_grad()
def generated(
    model: Any, reader: Reader, count: int, shape: Shape, columns: int, **mounted: Any
) -> list[float]:
    """When each token of `count` equal greedy answers came."""
    times: list[float] = []
    ids = torch.tensor([reader.chat.question(QUESTION)] * count, device=reader.device)
    answer(model, ids, columns, shape.answer_tokens, times=times, **mounted)
    return times


def answer(
    model: Any,
    ids: torch.Tensor,
    columns: int,
    tokens: int,
    *,
    times: list[float] | None = None,
    **mounted: Any,
) -> torch.Tensor:
    """Greedy ids `[batch, tokens]` behind a prefix of so many columns that the ids do not stand for."""
    whole = torch.ones((len(ids), columns + ids.shape[1]), dtype=torch.long, device=ids.device)

    def note(found: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        # A criterion that never stops: transformers asks it after every token of a batch.
        if times is not None:
            times.append(time.perf_counter())
        return torch.zeros(len(found), dtype=torch.bool, device=found.device)

    said: torch.Tensor = model.generate(
        input_ids=ids,
        attention_mask=whole,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        stopping_criteria=StoppingCriteriaList([note]),
        **mounted,
    )
    return said[:, ids.shape[1] :]
