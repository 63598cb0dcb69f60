"""What the operator chooses for cartridges in vLLM: the connector's `kv_connector_extra_config`.

The connector and the middleware read the same entry, so that they cannot disagree. This file knows names
and defaults; it opens nothing but the blobs that they name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cartridge_store.blobs import BlobStore, LocalBlobs
from cartridge_store.object_blobs import ObjectBlobs


@dataclass(frozen=True, slots=True)
class Options:
    """`cartridges` is a folder or an object store's URL, `card` the reader card's file.

    `host_bytes` bounds the cartridges that a worker keeps in memory, `most` how many one request names.
    """

    cartridges: str
    card: Path
    cartridges_options: Mapping[str, Any] = field(default_factory=dict)
    host_bytes: int = 1 << 30
    most: int = 64

    def __post_init__(self) -> None:
        if self.host_bytes < 0 or self.most < 1:
            raise ValueError("host_bytes must not be negative, and most must be at least 1.")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Options":
        """Read `kv_connector_extra_config`. Raises ValueError for what is missing or unknown."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(config) - known):
            raise ValueError(
                f"kv_connector_extra_config has unknown fields {unknown}; remove them."
            )
        if missing := sorted({"cartridges", "card"} - set(config)):
            raise ValueError(f"kv_connector_extra_config lacks {missing}; see docs/vllm.md.")
        return cls(**(dict(config) | {"card": Path(config["card"])}))

    def blobs(self) -> BlobStore:
        """Where the cartridges are. Raises StoreError."""
        if "://" in self.cartridges:
            return ObjectBlobs(self.cartridges, self.cartridges_options)
        return LocalBlobs(self.cartridges)
