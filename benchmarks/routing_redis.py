"""What the registry takes in Redis: a sample of documents and locations on a real server.

Knows the registry and a server's own count of its memory; knows no policy.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from benchmarks.store_roles import sample
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import Registry, Tier, connect

_PER_BEAT = 200


def redis_bytes(folder: Path, documents: int) -> dict[str, Any]:
    """Bytes of a document with a current cartridge, and of a place where a cartridge is."""
    with EmbeddedRedis(folder / "redis") as server, connect(server.url) as client:
        registry = Registry(client, "cq:registry:")
        first = sample("sample").manifest
        ids = []
        # The scripts and the connection once, so that they are not counted.
        registry.promote(first, expected=None)
        registry.beat("node-000", [("host", first.cartridge_id)], 600, {first.cartridge_id: 1})
        empty = _used(client)
        for number in range(documents):
            name = "c" + hashlib.sha256(str(number).encode()).hexdigest()[:40]
            manifest = replace(first, document_id=f"document-{number:08d}", cartridge_id=name)
            registry.promote(manifest, expected=None)
            ids.append(name)
        registered = _used(client)
        for start in range(0, documents, _PER_BEAT):
            names = ids[start : start + _PER_BEAT]
            held: list[tuple[Tier, str]] = [("host", name) for name in names]
            registry.beat("node-000", held, 600, dict.fromkeys(names, 1))
        located = _used(client)
    return {
        "sampled_documents": documents,
        "bytes_per_document": round((registered - empty) / documents, 1),
        "bytes_per_location": round((located - registered) / documents, 1),
    }


def _used(client: redis.Redis) -> int:
    memory: dict[str, Any] = client.info("memory")
    return int(memory["used_memory"])
