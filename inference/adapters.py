"""PEFT's CARTRIDGE adapter, both ways: cartridges as an adapter folder, an adapter as slots.

PEFT keeps one prefix as `prompt_embeddings` `[columns, layers * 2 * kv_heads * head_dim]`, per layer the
key, then the value; its first column is a frozen sink, and the question stands right behind the last
one. Rotary positions are relative: keys that were trained for a question elsewhere are rotated by the
distance. This file knows the reader and safetensors; it does not import peft.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import PositionRule
from inference.composer import compose
from inference.reader import Reader
from inference.rotation import rotated as moved
from inference.rotation import rotation_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TENSOR = "prompt_embeddings"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_COLUMNS = 1 << 20
_SAME_SINK = (
    0.02  # largest difference, relative to the sink's largest number: bfloat16 and rotation
)


def write_adapter(
    reader: Reader, cartridges: Sequence[Cartridge], folder: Path, *, base_model: str
) -> None:
    """Write a composition as an adapter that `PeftModel.from_pretrained` loads on the same model.

    Raises what `compose` raises, and CartridgeRefused for a reader whose rotation is not known.
    """
    prefix = compose(reader, cartridges)
    shift = prefix.length - prefix.question_at
    parts = [
        tensor[0].transpose(0, 1).flatten(1)
        for keys, values in prefix.layers
        for tensor in (rotated(reader, keys, shift), values.float().cpu())
    ]
    _, heads, columns, width = prefix.layers[0][0].shape
    config = {
        "peft_type": "CARTRIDGE",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "num_virtual_tokens": columns,
        "num_frozen_tokens": 1,
        "num_layers": len(prefix.layers),
        "num_attention_heads": heads,
        "token_dim": heads * width,
        "num_transformer_submodules": 1,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({_TENSOR: torch.cat(parts, dim=1).contiguous()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def read_adapter(
    reader: Reader, folder: Path, question_offset: int
) -> tuple[Tensor, Tensor, PositionRule]:
    """Slots `[layers, kv_heads, slots, head_dim]` of an adapter, and where its question stands.

    A first column that is this reader's sink is left out, since a composition has its own. One that
    `write_adapter` rotated away from `question_offset` is rotated back to it; any other adapter keeps
    the place right behind its columns. Raises CartridgeRefused.
    """
    flat = _flat(reader, folder)
    sink_keys = torch.stack([keys[0] for keys, _ in reader.sink]).float().cpu()
    layers, heads, _, width = sink_keys.shape
    columns = len(flat)
    pairs = flat.view(columns, layers, 2, heads, width).permute(2, 1, 3, 0, 4)
    keys, values = pairs[0].contiguous(), pairs[1].contiguous()
    shift = question_offset - columns
    if columns > 1 and _same(rotated(reader, keys[:, :, :1], shift), sink_keys):
        turned = rotated(reader, keys[:, :, 1:], shift)
        return turned, values[:, :, 1:].contiguous(), PositionRule("fixed", question_offset)
    if columns > 1 and _same(keys[:, :, :1], sink_keys):
        return keys[:, :, 1:].contiguous(), values[:, :, 1:].contiguous(), PositionRule("visible")
    # Its first column is something of its own: all are slots, and the reader's sink comes on top.
    return rotated(reader, keys, 1), values, PositionRule("visible")


def rotated(reader: Reader, keys: Tensor, shift: int) -> Tensor:
    """Keys `[..., head_dim]` as they would be `shift` positions further on, float32 on the CPU.

    Raises CartridgeRefused for a reader whose rotation is not one rotary embedding for all layers, the same
    at every length.
    """
    rotation = rotation_of(reader)
    if rotation is None:
        raise CartridgeRefused(
            f"How {reader.name} turns its keys is not known here; it cannot be exchanged with PEFT."
        )
    return moved(keys.float().cpu(), shift, rotation.frequencies, interleaved=rotation.interleaved)


def _flat(reader: Reader, folder: Path) -> Tensor:
    """The adapter's tensor, checked, float32 on the host."""
    config = _config(folder)
    if config.get("peft_type") != "CARTRIDGE":
        raise CartridgeRefused(f"{folder} is not an adapter of PEFT's type CARTRIDGE.")
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as stored:
            if _TENSOR not in stored.keys():  # noqa: SIM118
                raise CartridgeRefused(f"{WEIGHTS} holds no tensor {_TENSOR}.")
            shape = stored.get_slice(_TENSOR).get_shape()
            keys, _ = reader.sink[0]
            hidden = len(reader.sink) * 2 * keys.shape[1] * keys.shape[3]
            if len(shape) != 2 or shape[1] != hidden or not 1 <= shape[0] <= _MAX_COLUMNS:
                raise CartridgeRefused(
                    f"The adapter's shape is {list(shape)}, but {reader.name} has {hidden} numbers a "
                    "column; it was made for another model."
                )
            flat: Tensor = stored.get_tensor(_TENSOR).float()
    except (OSError, SafetensorError) as error:
        raise CartridgeRefused(f"{WEIGHTS} cannot be read: {error}.") from error
    if not bool(flat.isfinite().all()):
        raise CartridgeRefused("The adapter holds NaN or infinity.")
    return flat


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise CartridgeRefused(f"{CONFIG} is too large to be an adapter's.")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CartridgeRefused(
            f"{path} cannot be read as an adapter's configuration; name its folder."
        ) from error
    if not isinstance(config, dict):
        raise CartridgeRefused(f"{path} is not a JSON object.")
    return config


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _SAME_SINK * other.abs().max())
