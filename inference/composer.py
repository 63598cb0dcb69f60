"""Composition: the sink, then the chosen cartridges in canonical order, as one prefix.

Cartridges at Scale (arXiv 2606.04557) concatenates per-document cartridges without re-rotating their
keys. Keys carry their own positions, so order changes nothing but the cache's layout; the canonical
order (by id) makes equal sets equal prefixes. This file knows no question and no decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
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


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Which cartridges stand before a question, in canonical order, and where it begins."""

    cartridges: tuple[Cartridge, ...]
    question_at: int

    @property
    def slots(self) -> int:
        """Trained positions in all."""
        return sum(cartridge.slots for cartridge in self.cartridges)


def fits(reader: Reader, cartridge: Cartridge) -> bool:
    """Whether a cartridge has the reader's layers, kv heads and head size."""
    _, heads, _, width = reader.sink[0][0].shape
    layers, own_heads, _, own_width = cartridge.keys.shape
    return (layers, own_heads, own_width) == (len(reader.sink), heads, width)


def arrange(reader: Reader, cartridges: Sequence[Cartridge] = ()) -> Arrangement:
    """The cartridges, each counted once, in canonical order, and the position that they ask for.

    Raises CartridgeRefused for a cartridge of another reader, CompositionRefused when the
    cartridges' position rules differ.
    """
    chosen = sorted({c.id: c for c in cartridges}.values(), key=lambda c: c.id)
    for cartridge in chosen:
        cartridge.require_reader(reader.fingerprint, reader.tokenizer_fingerprint)
        if not fits(reader, cartridge):
            raise CartridgeRefused(
                f"Cartridge {cartridge.id} has not this reader's shape; train its document again."
            )
    rules = {cartridge.manifest.position_rule for cartridge in chosen}
    if len(rules) > 1:
        raise CompositionRefused(
            "The cartridges were trained under different position rules and cannot be composed; "
            "train them again with the same one."
        )
    slots = sum(cartridge.slots for cartridge in chosen)
    rule = next(iter(rules), None)
    offset = rule.offset if rule is not None and rule.offset is not None else 1 + slots
    return Arrangement(tuple(chosen), offset)


def compose(reader: Reader, cartridges: Sequence[Cartridge] = ()) -> Composition:
    """One prefix of `cartridges`, copied to the reader's device in its dtype.

    Raises what `arrange` raises.
    """
    arranged = arrange(reader, cartridges)
    chosen = [cartridge.dense() for cartridge in arranged.cartridges]
    layers = []
    for index, (sink_keys, sink_values) in enumerate(reader.sink):
        keys = [sink_keys] + [keys[index : index + 1].to(sink_keys) for keys, _ in chosen]
        values = [sink_values] + [v[index : index + 1].to(sink_values) for _, v in chosen]
        layers.append((torch.cat(keys, dim=2), torch.cat(values, dim=2)))
    return Composition(tuple(layers), arranged.question_at)


def from_key_values(reader: Reader, document: KeyValues, question_at: int) -> Composition:
    """The sink followed by any KV of the document's place: a cartridge before it is stored."""
    layers = tuple(
        (torch.cat([sk, k.to(sk)], dim=2), torch.cat([sv, v.to(sv)], dim=2))
        for (sk, sv), (k, v) in zip(reader.sink, document, strict=True)
    )
    return Composition(layers, question_at)


def in_context(reader: Reader, texts: Sequence[str]) -> Composition:
    """ICL: the documents' own KV, as a prompt that holds them would have it."""
    document = reader.prefill_documents(texts)
    return from_key_values(reader, document, 1 + document[0][0].shape[2])
