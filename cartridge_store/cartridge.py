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
from cartridge_store.quantisation import dequantised

_NAMES = {
    (torch.bfloat16, torch.bfloat16, False): "bfloat16",
    (torch.float32, torch.float32, False): "float32",
    (torch.bfloat16, torch.int8, True): "bfloat16_int8",
}


# Tensors do not compare to one bool, so equality is identity; the id says what is equal.
@dataclass(frozen=True, eq=False)
class Cartridge:
    """Keys (post-RoPE) and values as they are stored, `[layers, kv_heads, slots, head_dim]`, on the CPU.

    Both have the manifest's number of slots and its dtype; of "bfloat16_int8" the values are int8, with
    float32 `scales` `[layers, kv_heads, slots]`. Anything else raises CartridgeRefused.
    """

    manifest: Manifest
    keys: torch.Tensor
    values: torch.Tensor
    scales: torch.Tensor | None = None

    def __post_init__(self) -> None:
        name = _dtype_name(self.keys, self.values, self.scales)
        if name != self.manifest.dtype:
            raise CartridgeRefused(
                f"The tensors are {name} but the manifest says {self.manifest.dtype}; write the "
                "cartridge again."
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
        scales: torch.Tensor | None = None,
    ) -> "Cartridge":
        """Make a cartridge of trained tensors; they are copied.

        `keys` and `values` are `[layers, kv_heads, slots, head_dim]`, bfloat16 or float32 and
        finite, or values and `scales` are what `quantised` made of them; `parent` is the version this
        one is to replace. Raises CartridgeRefused.
        """
        keys, values = _own_copy(keys), _own_copy(values)
        scales = None if scales is None else _own_copy(scales)
        dtype = _dtype_name(keys, values, scales)
        _require_finite(*stored_tensors(keys, values, scales))
        identified = {
            "format_version": FORMAT_VERSION,
            "collection": collection,
            "document_id": document_id,
            "document_sha256": document_sha256,
            "document_tokens": document_tokens,
            "slots": keys.shape[2],
            "dtype": dtype,
            "reader_fingerprint": reader_fingerprint,
            "tokenizer_fingerprint": tokenizer_fingerprint,
            "initialiser": initialiser,
            # Through JSON and back: tuples become lists, and the caller keeps its own dict.
            "recipe": json.loads(canonical_json(recipe)),
            "parent": parent,
            "tensors_sha256": tensors_sha256(keys, values, scales),
        }
        rule = {"kind": position_rule.kind, "offset": position_rule.offset}
        manifest = Manifest(
            **identified,
            position_rule=position_rule,
            figures=json.loads(canonical_json(figures)),
            created_at=utc_now(),
            cartridge_id=content_id(identified | {"position_rule": rule}, tuple(keys.shape)),
        )
        return cls(manifest, keys, values, scales)

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
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What is stored, in the order of the file."""
        return stored_tensors(self.keys, self.values, self.scales)

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values in the keys' dtype, as attention takes them."""
        if self.scales is None:
            return self.keys, self.values
        return self.keys, dequantised(self.values, self.scales, self.keys.dtype)

    def require_finite(self) -> None:
        """Raise CartridgeRefused where a number is none."""
        _require_finite(*self.tensors)

    def pinned(self) -> "Cartridge":
        """The same cartridge in page-locked memory; needs CUDA."""
        scales = None if self.scales is None else self.scales.pin_memory()
        return Cartridge(self.manifest, self.keys.pin_memory(), self.values.pin_memory(), scales)

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


def _require_finite(*tensors: torch.Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise CartridgeRefused("The tensors hold NaN or infinity; the training has diverged.")


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """A view of the bytes of a contiguous CPU tensor, as safetensors lays them out."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def stored_tensors(
    keys: torch.Tensor, values: torch.Tensor, scales: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """The tensors in the order of the file: wider numbers first, so that each begins aligned."""
    return (keys, values) if scales is None else (scales, keys, values)


def tensors_sha256(
    keys: torch.Tensor, values: torch.Tensor, scales: torch.Tensor | None = None
) -> str:
    """SHA-256 over the bytes of the tensors in the order of the file, in hex."""
    digest = hashlib.sha256()
    for tensor in stored_tensors(keys, values, scales):
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    # A trainer goes on writing into its tensors; the cartridge must not change with them.
    return tensor.detach().to("cpu", copy=True).contiguous()


def _dtype_name(keys: torch.Tensor, values: torch.Tensor, scales: torch.Tensor | None) -> str:
    """The manifest's word for these tensors; raises CartridgeRefused where there is none."""
    if keys.dim() != 4 or keys.shape != values.shape or 0 in keys.shape:
        raise CartridgeRefused(
            "Keys and values must both be [layers, kv_heads, slots, head_dim] with no empty "
            f"dimension; they are {list(keys.shape)} and {list(values.shape)}."
        )
    if scales is not None and (scales.shape != keys.shape[:3] or scales.dtype != torch.float32):
        raise CartridgeRefused(
            f"The scales must be float32 {list(keys.shape[:3])}, one for each slot; they are "
            f"{_short(scales.dtype)} {list(scales.shape)}."
        )
    for tensor in stored_tensors(keys, values, scales):
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise CartridgeRefused("Keys and values must be contiguous tensors on the CPU.")
    kind = (keys.dtype, values.dtype, scales is not None)
    if kind not in _NAMES:
        raise CartridgeRefused(
            "Keys and values must both be bfloat16 or both float32, or bfloat16 and int8 with "
            f"scales; they are {_short(keys.dtype)} and {_short(values.dtype)}."
        )
    return _NAMES[kind]


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
