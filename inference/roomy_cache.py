"""Keys and values with room to spare: a decoding step writes its own columns and copies no others.

A cache that grows by concatenation copies all of itself at every step. Knows tensors; it knows no reader
and no gradients.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 32  # columns that are made at once


class _Layer(DynamicLayer):
    """Keys and values `[rows, kv_heads, length, head_dim]`, views of buffers that are longer."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length = keys.shape[2]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values = self._buffers = (keys, values)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the columns behind those that are there; everything up to them."""
        length, whole = self._length, self._length + key_states.shape[2]
        if whole > self._buffers[0].shape[2]:
            keys, values = (_roomier(buffer, length, whole + _ROOM) for buffer in self._buffers)
            self._buffers = (keys, values)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, length:whole] = new
        self._length = whole
        keys, values = (buffer[:, :, :whole] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values

    def keep(self, rows: Tensor) -> None:
        """Keep these rows alone."""
        keys, values = (buffer[rows] for buffer in self._buffers)
        self._buffers = (keys, values)
        self.keys, self.values = keys[:, :, : self._length], values[:, :, : self._length]


class RoomyCache(Cache):
    """A batch's KV of all layers, begun with what is there."""

    def __init__(self, layers: tuple[tuple[Tensor, Tensor], ...]) -> None:
        self._own = [_Layer(keys, values) for keys, values in layers]
        super().__init__(layers=list(self._own))

    def keep(self, rows: Tensor) -> None:
        """Keep these rows of the batch alone, in this order."""
        for layer in self._own:
            layer.keep(rows)


def _roomier(buffer: Tensor, length: int, columns: int) -> Tensor:
    made = torch.empty(
        (*buffer.shape[:2], columns, buffer.shape[3]), dtype=buffer.dtype, device=buffer.device
    )
    made[:, :, :length] = buffer[:, :, :length]
    return made
