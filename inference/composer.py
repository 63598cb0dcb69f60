"""Composition: the sink, then the chosen cartridges in canonical order, as one prefix.

Cartridges at Scale (arXiv 2606.04557) concatenates per-document cartridges without re-rotating their
keys. Keys carry their own positions, so order changes nothing but the cache's layout; the canonical
order (by id) makes equal sets equal prefixes. This file knows no question and no decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cartridge_store.cartridge import Cartridge
from inference.reader import KeyValues, Reader


class CompositionRefused(ValueError):
    """These cartridges cannot stand together; the message says why."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A prefix ready for attention: per layer, keys and values `[1, kv_heads, length, head_dim]`."""

    layers: KeyValues
    question_at: int
    """Position of the first token after the prefix."""

    @property
    def length(self) -> int:
        """Columns of the prefix, the sink included."""
        return int(self.layers[0][0].shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(k.nbytes + v.nbytes for k, v in self.layers)


def compose(reader: Reader, cartridges: Sequence[Cartridge] = ()) -> Composition:
    """The prefix of `cartridges`, each counted once, on the reader's device and in its dtype.

    Raises CartridgeRefused for a cartridge of another reader, CompositionRefused when the
    cartridges' position rules differ.
    """
    chosen = sorted({c.id: c for c in cartridges}.values(), key=lambda c: c.id)
    for cartridge in chosen:
        cartridge.require_reader(reader.fingerprint, reader.tokenizer_fingerprint)
    rules = {cartridge.manifest.position_rule for cartridge in chosen}
    if len(rules) > 1:
        raise CompositionRefused(
            "The cartridges were trained under different position rules and cannot be composed; "
            "train them again with the same one."
        )
    layers = []
    for index, (sink_keys, sink_values) in enumerate(reader.sink):
        keys = [sink_keys] + [c.keys[index : index + 1].to(sink_keys) for c in chosen]
        values = [sink_values] + [c.values[index : index + 1].to(sink_values) for c in chosen]
        layers.append((torch.cat(keys, dim=2), torch.cat(values, dim=2)))
    slots = sum(cartridge.slots for cartridge in chosen)
    rule = next(iter(rules), None)
    offset = rule.offset if rule is not None and rule.offset is not None else 1 + slots
    return Composition(tuple(layers), offset)


def from_key_values(reader: Reader, document: KeyValues, question_at: int) -> Composition:
    """The sink followed by any KV of the document's place: a cartridge before it is stored."""
    layers = tuple(
        (torch.cat([sk, k.to(sk)], dim=2), torch.cat([sv, v.to(sv)], dim=2))
        for (sk, sv), (k, v) in zip(reader.sink, document, strict=True)
    )
    return Composition(layers, question_at)
