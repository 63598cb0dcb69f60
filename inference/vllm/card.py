"""The reader card: what a server must know of the reader to mount its cartridges, in one small file.

Fingerprints, the sink's keys and values, and the rotary frequencies, taken from the model itself when
the server starts. This file knows a reader; it knows no cartridge and nothing of vLLM.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from inference.reader import Reader, load_reader, stacked
from inference.rotation import rotation_of
from inference.vllm.errors import CardRefused

_FORMAT = "2"
# Of a model's configuration, what makes another model of it: another size, other positions.
_CONFIGURED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "rope_parameters",
)


@dataclass(frozen=True, eq=False)
class ReaderCard:
    """`keys` and `values` are the sink's, `[layers, kv_heads, 1, head_dim]`, on the CPU.

    `frequencies` is float32 `[rotary pairs]` in radians per position, None for a model whose positions
    cannot be moved: it serves cartridges of the position rule "visible" alone. `config` is what the model's
    configuration says of its size and positions.
    """

    reader_fingerprint: str
    tokenizer_fingerprint: str
    sink_id: int
    keys: Tensor
    values: Tensor
    frequencies: Tensor | None
    interleaved: bool
    config: Mapping[str, Any]

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return int(self.keys.shape[0])

    @property
    def kv_heads(self) -> int:
        """Key/value heads of a layer."""
        return int(self.keys.shape[1])

    @property
    def head_dim(self) -> int:
        """Numbers of a key."""
        return int(self.keys.shape[3])

    def differences(self, config: object) -> list[str]:
        """What a configuration says otherwise than the reader's, by name."""
        theirs = _configured(config)
        return sorted(
            name for name in self.config.keys() & theirs if self.config[name] != theirs[name]
        )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {"keys": self.keys, "values": self.values}
        if self.frequencies is not None:
            tensors["frequencies"] = self.frequencies
        words = {
            f"reader v{_FORMAT}": self.reader_fingerprint,
            "tokenizer": self.tokenizer_fingerprint,
            "sink_id": str(self.sink_id),
            "interleaved": json.dumps(self.interleaved),
            "config": json.dumps(self.config),
        }
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(file)
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, name, words)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> "ReaderCard":
        """Read the file. Raises CardRefused."""
        try:
            with safe_open(path, framework="pt") as file:
                words = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(
                words[f"reader v{_FORMAT}"],
                words["tokenizer"],
                int(words["sink_id"]),
                tensors["keys"],
                tensors["values"],
                tensors.get("frequencies"),
                bool(json.loads(words["interleaved"])),
                dict(json.loads(words["config"])),
            )
        except Exception as error:  # whatever the file is instead
            raise CardRefused(
                f"{path} is no reader card of this version ({type(error).__name__}); make one with "
                "'python -m inference.vllm.card MODEL CARD'."
            ) from error


def describe(reader: Reader) -> ReaderCard:
    """The card of a reader."""
    keys, values = (tensor.cpu() for tensor in stacked(reader.sink))
    rotation = rotation_of(reader)
    return ReaderCard(
        reader.fingerprint,
        reader.tokenizer_fingerprint,
        reader.chat.sink_id,
        keys,
        values,
        None if rotation is None else rotation.frequencies,
        rotation is not None and rotation.interleaved,
        _configured(reader.config),
    )


def _configured(config: object) -> dict[str, Any]:
    """What a configuration says of these, as JSON has it."""
    said = {name: getattr(config, name, None) for name in _CONFIGURED}
    return dict(
        json.loads(json.dumps({k: v for k, v in said.items() if v is not None}, default=str))
    )


def main() -> None:
    """Write the card of a model."""
    parser = argparse.ArgumentParser(description="Write the reader card of a model.")
    parser.add_argument("model", help="folder or hub name of the model that vLLM serves")
    parser.add_argument("card", type=Path, help="file to write")
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        choices=("bfloat16", "float32"),
        help="the number format it is served in",
    )
    chosen = parser.parse_args()
    describe(load_reader(chosen.model, device="cpu", dtype=chosen.dtype)).save(chosen.card)


if __name__ == "__main__":
    main()
