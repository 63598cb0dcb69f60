"""What a cartridge's training begins with, on disk: made once, and read by who goes on from there.

Compaction takes seconds for each document, and a collection has hundreds. This file knows tensors and a
file; it knows no reader and no text.
"""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from training.room import written

Slots = tuple[Tensor, Tensor]


def kept_beginning(path: Path, make: Callable[[], Slots]) -> Slots:
    """Keys and values `[layers, kv_heads, slots, head_dim]`, float32: the file's, else made and kept there.

    Raises StorageFull, and what `make` raises.
    """
    if path.exists():
        kept = load_file(path)
        return kept["keys"], kept["values"]
    keys, values = make()
    with written(path) as aside:
        save_file({"keys": keys.cpu().contiguous(), "values": values.cpu().contiguous()}, aside)
    return keys, values
