"""Mounting: what stands before a question, and its keys and values as a server's pages take them.

The same composition as `inference.composer` makes: the sink, then the cartridges in canonical order. A
server that counts positions for itself places the question behind all columns, so keys are rotated by
the difference. This file knows manifests and tensors; it knows nothing of vLLM.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.ids import validate_cartridge_id
from cartridge_store.manifest import Manifest
from inference.rotation import rotated
from inference.vllm.card import ReaderCard
from inference.vllm.errors import MountRefused


@dataclass(frozen=True, slots=True)
class Composition:
    """Cartridges in canonical order with their slots and digests, and where the question was trained."""

    ids: tuple[str, ...]
    slots: tuple[int, ...]
    digests: tuple[str, ...]
    question_at: int

    @property
    def columns(self) -> int:
        """Columns before the question, the sink included."""
        return 1 + sum(self.slots)

    @property
    def shift(self) -> int:
        """By how many positions the keys are moved."""
        return self.columns - self.question_at

    def behind(self, start: int) -> tuple[str, ...]:
        """The cartridges that reach to column `start` or behind it."""
        ends = accumulate(self.slots, initial=1)
        next(ends)
        return tuple(id for id, end in zip(self.ids, ends, strict=True) if start < end)


def named(value: object, most: int) -> tuple[str, ...]:
    """The cartridge ids of a request, each once and in canonical order.

    Raises MountRefused, and InvalidId for what is no cartridge id.
    """
    if not isinstance(value, list | tuple) or not value:
        raise MountRefused("'cartridges' must be a list of at least one cartridge id.")
    require_few(value, most)
    return tuple(sorted({validate_cartridge_id(one) for one in value}))


def require_few(names: Sequence[object], most: int) -> None:
    """Raise MountRefused for more names than a request may have."""
    if (count := len(set(map(str, names)))) > most:
        raise MountRefused(f"{count} cartridges are named, but at most {most} are allowed.")


def composed(card: ReaderCard, manifests: Iterable[Manifest]) -> Composition:
    """The composition of these cartridges, which are in canonical order.

    Raises CartridgeRefused for one of another reader, MountRefused when they cannot stand together.
    """
    chosen = tuple(manifests)
    for manifest in chosen:
        require_reader(card, manifest)
    rules = {manifest.position_rule for manifest in chosen}
    if len(rules) > 1:
        raise MountRefused(
            "The cartridges were trained under different position rules and cannot be composed; train "
            "them again with the same one."
        )
    slots = tuple(manifest.slots for manifest in chosen)
    rule = next(iter(rules), None)
    offset = 1 + sum(slots) if rule is None or rule.offset is None else rule.offset
    found = Composition(
        tuple(manifest.cartridge_id for manifest in chosen),
        slots,
        tuple(manifest.tensors_sha256 for manifest in chosen),
        offset,
    )
    if found.shift and card.frequencies is None:
        raise MountRefused(
            "This model's positions cannot be moved, so it serves no cartridges with a fixed question "
            "offset; use the service's own engine."
        )
    return found


def require_reader(card: ReaderCard, manifest: Manifest) -> None:
    """Raise CartridgeRefused unless the cartridge was trained for the reader that is served."""
    pairs = (
        ("reader", manifest.reader_fingerprint, card.reader_fingerprint),
        ("tokenizer", manifest.tokenizer_fingerprint, card.tokenizer_fingerprint),
    )
    for what, trained, serving in pairs:
        if trained != serving:
            raise CartridgeRefused(
                f"Cartridge {manifest.cartridge_id} was trained for the {what} {trained[:12]}, but "
                f"{serving[:12]} is served; train its document again or serve that {what}."
            )


@dataclass(frozen=True, slots=True)
class Columns:
    """Keys and values `[layers, kv_heads of the rank, columns, head_dim]` to be written."""

    keys: Tensor
    values: Tensor


class Mounter:
    """Makes the columns of compositions, for the heads of one rank."""

    def __init__(
        self, card: ReaderCard, heads: slice, dtype: torch.dtype, load: Callable[[str], Cartridge]
    ) -> None:
        """`load` gives a verified cartridge by id."""
        self._card, self._heads, self._dtype, self._load = card, heads, dtype, load

    def columns(self, composition: Composition, start: int) -> Columns:
        """Columns from `start` on, keys rotated to where the server counts them, in `dtype`.

        Only the cartridges that reach behind `start` are loaded. Raises what `load` raises, and
        CartridgeRefused for a cartridge that is not the one its manifest promised.
        """
        keys, values = [], []
        if start == 0:
            keys.append(self._of_rank(self._card.keys))
            values.append(self._of_rank(self._card.values))
        first, needed = 1, composition.behind(start)
        for id, slots, digest in zip(
            composition.ids, composition.slots, composition.digests, strict=True
        ):
            if id in needed:
                cartridge = self._checked(self._load(id), slots, digest)
                k, v = cartridge.dense()
                skipped = max(0, start - first)
                keys.append(self._of_rank(k[:, :, skipped:]))
                values.append(self._of_rank(v[:, :, skipped:]))
            first += slots
        return Columns(self._moved(keys, composition.shift), torch.cat(values, 2))

    def _moved(self, keys: Sequence[Tensor], shift: int) -> Tensor:
        whole = torch.cat(list(keys), 2)
        frequencies = self._card.frequencies
        if frequencies is None or not shift:
            return whole
        return rotated(whole, shift, frequencies, interleaved=self._card.interleaved)

    def _of_rank(self, tensor: Tensor) -> Tensor:
        return tensor[:, self._heads].to(self._dtype)

    def _checked(self, cartridge: Cartridge, slots: int, digest: str) -> Cartridge:
        require_reader(self._card, cartridge.manifest)
        layers, heads, found, width = cartridge.keys.shape
        card = self._card
        if (layers, heads, width) != (card.layers, card.kv_heads, card.head_dim):
            raise CartridgeRefused(
                f"Cartridge {cartridge.id} has not this reader's shape; train its document again."
            )
        if found != slots or cartridge.manifest.tensors_sha256 != digest:
            raise CartridgeRefused(
                f"Cartridge {cartridge.id} changed under its id; publish it again."
            )
        return cartridge
