"""What the operator chooses for cartridges in vLLM: the connector's `kv_connector_extra_config`.

The connector and the middleware read the same entry, so that they cannot disagree. The object store's key
and secret come from CARTRIDGES_BLOBS_OPTIONS as in the service, because vLLM logs that entry. This file
knows names and defaults; it opens nothing but the blobs that they name.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cartridge_store.blobs import BlobStore, LocalBlobs
from cartridge_store.object_blobs import ObjectBlobs

CLIENT = "CARTRIDGES_BLOBS_OPTIONS"


@dataclass(frozen=True, slots=True)
class Options:
    """`cartridges` is a folder or an object store's URL, `card` the reader card's file.

    `client` are options of the object store's client, with its secrets.
    `host_bytes` bounds the cartridges that a worker keeps in memory, `most` how many one request names.
    """

    cartridges: str
    card: Path
    client: Mapping[str, Any] = field(default_factory=dict, repr=False)
    host_bytes: int = 1 << 30
    most: int = 64

    def __post_init__(self) -> None:
        if self.host_bytes < 0 or self.most < 1:
            raise ValueError("host_bytes must not be negative, and most must be at least 1.")

    @classmethod
    def of(cls, config: Mapping[str, Any], environment: Mapping[str, str]) -> "Options":
        """Read `kv_connector_extra_config`. Raises ValueError for what is missing or unknown."""
        known = {one.name for one in fields(cls)} - {"client"}
        if unknown := sorted(set(config) - known):
            raise ValueError(
                f"kv_connector_extra_config has unknown fields {unknown}; remove them. Options of an "
                f"object store's client belong in {CLIENT}."
            )
        if missing := sorted({"cartridges", "card"} - set(config)):
            raise ValueError(f"kv_connector_extra_config lacks {missing}; see docs/vllm.md.")
        given = {"card": Path(config["card"]), "client": _client(environment)}
        return cls(**(dict(config) | given))

    def blobs(self) -> BlobStore:
        """Where the cartridges are. Raises StoreError."""
        if "://" in self.cartridges:
            return ObjectBlobs(self.cartridges, self.client)
        return LocalBlobs(self.cartridges)


def _client(environment: Mapping[str, str]) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(environment.get(CLIENT) or "{}")
        if isinstance(found, dict):
            return found
    raise ValueError(f"{CLIENT} is no JSON object; write one or leave it out.")  # without its text
