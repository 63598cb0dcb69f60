"""A generation: one complete state of an index in a folder of three files, never changed.

`vectors.faiss`, `chunks.jsonl` (a line per document) and `manifest.json`, which holds the
SHA-256 of the other two; whoever points to a generation holds the SHA-256 of its manifest. An
empty `journal` stands beside them for the changes that come after. Knows nothing of who reads
or writes when.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from retrieval.chunking import Chunk
from retrieval.durable import make_folder, sync_folder, write_file
from retrieval.errors import IndexCorrupt
from retrieval.table import ChunkTable, Indexed

JOURNAL = "journal"
_VECTORS = "vectors.faiss"
_CHUNKS = "chunks.jsonl"
_MANIFEST = "manifest.json"
_FORMAT = 1


def save_generation(
    folder: Path, table: ChunkTable, space: str, folded: tuple[str, int] | None = None
) -> str:
    """Write the table durably into a new folder; returns the SHA-256 of its manifest.

    `space` names the vectors' space; `folded` the generation, and the bytes of its journal, that come to
    the same table. Raises `StorageFull`.
    """
    vectors = faiss.serialize_index(table.vectors).tobytes()
    chunks = b"".join(_to_line(document) for document in table.documents.values())
    manifest = {
        "format": _FORMAT,
        "space": space,
        "dimension": table.dimension,
        "next_row": table.next_row,
        "vectors_sha256": _sha256(vectors),
        "chunks_sha256": _sha256(chunks),
    }
    if folded is not None:
        manifest["folded"] = folded
    encoded = json.dumps(manifest, indent=1).encode()
    make_folder(folder)
    write_file(folder / _VECTORS, vectors)
    write_file(folder / _CHUNKS, chunks)
    write_file(folder / _MANIFEST, encoded)
    write_file(folder / JOURNAL, b"")
    sync_folder(folder)
    return _sha256(encoded)


def folded_from(folder: Path, manifest_sha256: str) -> object:
    """The name of the generation, and the bytes of its journal, that come to the same table.

    None where nothing says so. Raises `IndexCorrupt` when the manifest is not what was written.
    """
    manifest: dict[str, Any] = json.loads(_verified(folder / _MANIFEST, manifest_sha256))
    return manifest.get("folded")


def load_generation(folder: Path, manifest_sha256: str, dimension: int, space: str) -> ChunkTable:
    """Read a generation and verify all of it.

    Raises `IndexCorrupt` when a byte differs from what was written, or when the vectors are of
    another dimension or space.
    """
    manifest: dict[str, Any] = json.loads(_verified(folder / _MANIFEST, manifest_sha256))
    stored = (manifest["format"], manifest["space"], manifest["dimension"])
    if stored != (_FORMAT, space, dimension):
        raise IndexCorrupt(
            f"The index holds vectors of {stored[1]} (length {stored[2]}, format {stored[0]}), not "
            f"of {space} (length {dimension}, format {_FORMAT}); rebuild it."
        )
    vectors = _verified(folder / _VECTORS, manifest["vectors_sha256"])
    chunks = _verified(folder / _CHUNKS, manifest["chunks_sha256"])
    try:
        return ChunkTable.restored(
            dimension,
            faiss.deserialize_index(np.frombuffer(vectors, dtype=np.uint8)),
            [_from_line(line) for line in chunks.splitlines()],
            manifest["next_row"],
        )
    except (ValueError, RuntimeError) as error:
        raise IndexCorrupt(f"Generation {folder.name} is damaged; rebuild the index.") from error


def _verified(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IndexCorrupt(f"{path.parent.name}/{path.name} is gone; rebuild the index.") from error
    if _sha256(data) != sha256:
        raise IndexCorrupt(f"{path.parent.name}/{path.name} is damaged; rebuild the index.")
    return data


def _to_line(document: Indexed) -> bytes:
    return json.dumps(asdict(document), ensure_ascii=False).encode("utf-8") + b"\n"


def _from_line(line: bytes) -> Indexed:
    fields: dict[str, Any] = json.loads(line)
    chunks = tuple(Chunk(**chunk) for chunk in fields.pop("chunks"))
    return Indexed(**fields, chunks=chunks)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
