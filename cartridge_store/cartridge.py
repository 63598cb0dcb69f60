"""The cartridge: one document's trained keys and values with their manifest, in host memory.

It knows no file, no server and no device but the CPU. Tensors are shared by all who hold a
cartridge and are never written to.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch

from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import (
    FORMAT_VERSION,
    Manifest,
    PositionRule,
    canonical_json,
    content_id,
    utc_now,
)


# Tensors do not compare to one bool, so equality is identity; the id says what is equal.
@dataclass(frozen=True, eq=False)
class Cartridge:
    """Keys (post-RoPE) and values, each `[layers, kv_heads, slots, head_dim]`, on the CPU.

    Both have the manifest's dtype and number of slots; anything else raises CartridgeRefused.
    """

    manifest: Manifest
    keys: torch.Tensor
    values: torch.Tensor

    def __post_init__(self) -> None:
        _require_tensors(self.keys, self.values)
        if _dtype_name(self.keys) != self.manifest.dtype:
            raise CartridgeRefused(
                f"The tensors are {_dtype_name(self.keys)} but the manifest says "
                f"{self.manifest.dtype}; write the cartridge again."
            )
        if self.keys.shape[2] != self.manifest.slots:
            raise CartridgeRefused(
                f"The tensors have {self.keys.shape[2]} slots but the manifest says "
                f"{self.manifest.slots}; write the cartridge again."
            )

    @classmethod
    def create(
        cls,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        collection: str,
        document_id: str,
        document_sha256: str,
        document_tokens: int,
        reader_fingerprint: str,
        tokenizer_fingerprint: str,
        position_rule: PositionRule,
        initialiser: str,
        recipe: dict[str, Any],
        figures: dict[str, Any],
        parent: str | None = None,
    ) -> "Cartridge":
        """Make a cartridge of trained tensors; they are copied.

        `keys` and `values` are `[layers, kv_heads, slots, head_dim]`, bfloat16 or float32 and
        finite; `parent` is the version this one is to replace. Raises CartridgeRefused.
        """
        keys, values = _own_copy(keys), _own_copy(values)
        _require_tensors(keys, values)
        if not (keys.isfinite().all() and values.isfinite().all()):
            raise CartridgeRefused("The tensors hold NaN or infinity; the training has diverged.")
        identified = {
            "format_version": FORMAT_VERSION,
            "collection": collection,
            "document_id": document_id,
            "document_sha256": document_sha256,
            "document_tokens": document_tokens,
            "slots": keys.shape[2],
            "dtype": _dtype_name(keys),
            "reader_fingerprint": reader_fingerprint,
            "tokenizer_fingerprint": tokenizer_fingerprint,
            "initialiser": initialiser,
            # Through JSON and back: tuples become lists, and the caller keeps its own dict.
            "recipe": json.loads(canonical_json(recipe)),
            "parent": parent,
            "tensors_sha256": tensors_sha256(keys, values),
        }
        rule = {"kind": position_rule.kind, "offset": position_rule.offset}
        manifest = Manifest(
            **identified,
            position_rule=position_rule,
            figures=json.loads(canonical_json(figures)),
            created_at=utc_now(),
            cartridge_id=content_id(identified | {"position_rule": rule}, tuple(keys.shape)),
        )
        return cls(manifest, keys, values)

    @property
    def id(self) -> str:
        """The content-addressed id."""
        return self.manifest.cartridge_id

    @property
    def slots(self) -> int:
        """Trained positions."""
        return self.manifest.slots

    @property
    def nbytes(self) -> int:
        """Bytes of both tensors."""
        return self.keys.nbytes + self.values.nbytes

    def require_reader(self, reader_fingerprint: str, tokenizer_fingerprint: str) -> None:
        """Raise CartridgeRefused unless this cartridge was trained for exactly this reader."""
        for what, trained, serving in (
            ("reader", self.manifest.reader_fingerprint, reader_fingerprint),
            ("tokenizer", self.manifest.tokenizer_fingerprint, tokenizer_fingerprint),
        ):
            if trained != serving:
                raise CartridgeRefused(
                    f"Cartridge {self.id} was trained for the {what} {trained[:12]}, but "
                    f"{serving[:12]} is serving; train document {self.manifest.document_id} again "
                    f"or serve the {what} it was trained for."
                )


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """A view of the bytes of a contiguous CPU tensor, as safetensors lays them out."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def tensors_sha256(keys: torch.Tensor, values: torch.Tensor) -> str:
    """SHA-256 over the bytes of keys, then values, in hex."""
    digest = hashlib.sha256(tensor_bytes(keys))
    digest.update(tensor_bytes(values))
    return digest.hexdigest()


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    # A trainer goes on writing into its tensors; the cartridge must not change with them.
    return tensor.detach().to("cpu", copy=True).contiguous()


def _require_tensors(keys: torch.Tensor, values: torch.Tensor) -> None:
    if keys.dim() != 4 or keys.shape != values.shape or 0 in keys.shape:
        raise CartridgeRefused(
            "Keys and values must both be [layers, kv_heads, slots, head_dim] with no empty "
            f"dimension; they are {list(keys.shape)} and {list(values.shape)}."
        )
    if keys.dtype != values.dtype or keys.dtype not in (torch.bfloat16, torch.float32):
        raise CartridgeRefused(
            "Keys and values must both be bfloat16 or both float32; "
            f"they are {_dtype_name(keys)} and {_dtype_name(values)}."
        )
    for tensor in (keys, values):
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise CartridgeRefused("Keys and values must be contiguous tensors on the CPU.")


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
