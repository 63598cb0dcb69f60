"""Keys and values with room to spare: a decoding step writes its own columns and seldom copies others.

A cache that grows by concatenation copies all of itself at every step. This one does when its room is
used up, and when rows end. Knows tensors; it knows no reader and no gradients.
"""

from typing import Any, NoReturn

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

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows alone, in this order."""
        keys, values = (buffer[indices] for buffer in self._buffers)
        self._buffers = (keys, values)
        self.keys, self.values = keys[:, :, : self._length], values[:, :, : self._length]

    def _unable(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("Its buffers would not follow.")

    crop = reorder_cache = reset = offload = prefetch = _unable


class RoomyCache(Cache):
    """A batch's KV of all layers, begun with what is there."""

    def __init__(self, layers: tuple[tuple[Tensor, Tensor], ...]) -> None:
        super().__init__(layers=[_Layer(keys, values) for keys, values in layers])


def _roomier(buffer: Tensor, length: int, columns: int) -> Tensor:
    made = torch.empty(
        (*buffer.shape[:2], columns, buffer.shape[3]), dtype=buffer.dtype, device=buffer.device
    )
    made[:, :, :length] = buffer[:, :, :length]
    return made
