"""The vector index of one collection: a chunk table on disk, shared by threads and processes.

`CURRENT` names the newest generation; the changes since then stand in that generation's
journal, which is folded into the next generation when it has outgrown it. Knows no encoder and
no document library: on `IndexCorrupt` its owner resets it and adds everything again.
"""

import json
import logging
import re
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.chunking import Chunk
from retrieval.durable import full_disk_is_an_error, locked, make_folder, replace_file
from retrieval.encoder import Vectors
from retrieval.errors import IndexCorrupt, StorageFull
from retrieval.generation import JOURNAL, folded_from, load_generation, save_generation
from retrieval.journal import append_records, read_records
from retrieval.relevance import Rarity
from retrieval.table import ChunkTable, Entry, Hit, Indexed

logger = logging.getLogger(__name__)

_POINTER = re.compile(rb"(generation-\d{8}) ([0-9a-f]{64})\n")

# The bytes of CURRENT, then the size and time of the journal: unlike these, nothing has changed.
_Stamp = tuple[bytes | None, int, int]
_NOTHING: _Stamp = (None, 0, 0)


@dataclass(frozen=True, slots=True)
class _Counted:
    """How rare words were in a table after so many changes."""

    rarity: Rarity
    table: ChunkTable
    changes: int

    def holds(self, table: ChunkTable) -> bool:
        """Whether less than a tenth of the table's passages has changed since."""
        return table is self.table and 10 * (table.changes - self.changes) <= table.passages


class VectorIndex:
    """Chunks and vectors of a collection in `folder`, which is made at the first write.

    Writers exclude each other and are durable when they return. A search sees every write that
    returned before it began, in whatever process. `space` names the encoder; vectors of another
    space or dimension make the stored index count as corrupt.

    Every method that touches the disk raises `IndexCorrupt` when what is stored cannot be
    trusted, and writers raise `StorageFull`; `reset` alone works on a corrupt index.
    """

    def __init__(
        self, folder: Path, dimension: int, space: str = "", *, least_journal_bytes: int = 1 << 20
    ) -> None:
        self._folder = Path(folder)
        self._dimension = dimension
        self._space = space
        self._least_journal_bytes = least_journal_bytes
        self._mutex = threading.RLock()
        self._table = ChunkTable(dimension)
        # None: the table is not a state of the disk, and must be read from the start.
        self._seen: _Stamp | None = _NOTHING
        self._offset = 0
        self._rarity: _Counted | None = None
        self._counting = threading.Lock()

    def add(
        self,
        document_id: str,
        version: int,
        chunks: Sequence[Chunk],
        vectors: Vectors,
        *,
        sha256: str = "",
    ) -> None:
        """Enter one document; see `add_many`. `vectors` is float32 `[len(chunks), dimension]`."""
        self.add_many([Entry(document_id, version, sha256, tuple(chunks), vectors)])

    def add_many(self, entries: Sequence[Entry]) -> None:
        """Enter documents with one durable write; each is in the index whole or not at all.

        An entry replaces its document's older chunks; an entry of an older version than the
        indexed one changes nothing. Raises `ValueError` for vectors of another shape.
        """
        entries = [self._checked(entry) for entry in entries]
        self._write([_to_record(entry) for entry in entries], {e.document_id for e in entries})

    def remove(self, document_id: str) -> None:
        """Take a document out; nothing happens when it is not there."""
        if self.find(document_id):
            self._write([json.dumps({"remove": document_id}).encode() + b"\n"], {document_id})

    def purge(self, most_bytes: int | None = None) -> bool:
        """Leave nothing on disk of what was taken out or replaced; returns whether that is so now.

        An index of more than `most_bytes` is left as it is.
        """
        if not self._leftovers.exists():
            return True
        with self._mutex, locked(self._lock):
            stamp = self._stamp()
            if stamp == _NOTHING or not self._leftovers.exists():  # somebody else was faster
                return True
            folder, _ = self._generation(stamp[0])
            # Before it is read: a large one takes its time, and it is asked for at every deletion.
            files = folder.iterdir() if folder.is_dir() else ()
            if most_bytes is not None and sum(f.stat().st_size for f in files) > most_bytes:
                return False
            self._load()
            self._fold()
            return True

    def search(
        self, vector: Vectors, k: int, documents: Collection[str] | None = None
    ) -> list[Hit]:
        """At most `k` chunks nearest to `vector` (float32 `[dimension]`), best first.

        With `documents`, only chunks of these. Raises `ValueError` for another shape or k < 1.
        """
        vector = np.ascontiguousarray(vector, dtype=np.float32)
        if vector.shape != (self._dimension,) or k < 1:
            raise ValueError(f"Search with a vector of length {self._dimension} and k >= 1.")
        with self._mutex:
            self._refresh()
            return self._table.search(vector, k, documents)

    def rarity(self) -> Rarity:
        """How rare words are among its passages: counted when first asked, and when a tenth has changed."""
        with self._mutex:
            self._refresh()
            table = self._table
            known, state = self._rarity, (table, table.changes)
            if known is not None and known.holds(table):
                return known.rarity
            if known is not None and self._counting.locked():
                return known.rarity  # somebody counts already
            texts = [c.text for d in table.documents.values() for c in d.chunks]
        # Not under the lock: meanwhile others search with what was known; where nothing is, they wait here.
        with self._counting:
            if (now := self._rarity) is not None and now is not known:
                return now.rarity
            counted = _Counted(Rarity(texts), *state)
            with self._mutex:
                self._rarity = counted
            return counted.rarity

    def find(self, document_id: str) -> Indexed | None:
        """What is indexed of a document, or None."""
        with self._mutex:
            self._refresh()
            return self._table.documents.get(document_id)

    def documents(self) -> Mapping[str, Indexed]:
        """Every indexed document by id, as of now."""
        with self._mutex:
            self._refresh()
            return dict(self._table.documents)

    def document_ids(self) -> set[str]:
        """The ids of every indexed document."""
        return set(self.documents())

    def reset(self) -> None:
        """Make the index empty, whatever state it is in. Raises `StorageFull`."""
        self.replace(())

    def replace(self, batches: Iterable[Sequence[Entry]]) -> None:
        """Let the index hold these and nothing else, in one step, whatever state it is in.

        It is what it was until all of them are there. Raises `StorageFull` and what `batches` raises.
        """
        table = ChunkTable(self._dimension)
        for batch in batches:
            for entry in batch:
                table.put(self._checked(entry))
        make_folder(self._folder)
        with self._mutex, locked(self._lock):
            self._advance(table)

    def compact(self) -> None:
        """Fold the journal into a new generation; writers do so by themselves when it pays."""
        make_folder(self._folder)
        with self._mutex, locked(self._lock):
            self._load()
            self._fold()

    @property
    def _leftovers(self) -> Path:
        """There while the disk has text of what was taken out or replaced."""
        return self._folder / "leftovers"

    @property
    def _lock(self) -> Path:
        return self._folder / "lock"

    def _checked(self, entry: Entry) -> Entry:
        vectors = np.ascontiguousarray(entry.vectors, dtype="<f4")
        shape = (len(entry.chunks), self._dimension)
        if vectors.shape != shape or not np.isfinite(vectors).all():
            raise ValueError(f"Document {entry.document_id} needs finite vectors of shape {shape}.")
        return Entry(entry.document_id, entry.version, entry.sha256, entry.chunks, vectors)

    def _write(self, records: list[bytes], changed: Collection[str]) -> None:
        if not records:
            return
        make_folder(self._folder)
        with self._mutex, locked(self._lock):
            self._load()
            if self._seen == _NOTHING:
                self._advance(self._table)
            folder, _ = self._generation(self._stamp()[0])
            if not self._table.documents.keys().isdisjoint(changed):
                with full_disk_is_an_error(self._leftovers):
                    self._leftovers.touch()  # before what it speaks of: a crash leaves one too many
            self._offset = append_records(folder / JOURNAL, self._offset, records)
            for record in records:
                self._replay(record)
            self._seen = self._stamp()
            self._compact_if_due(folder)

    def _compact_if_due(self, folder: Path) -> None:
        # The journal must outgrow its generation: a compaction that costs twice as much comes
        # half as often, so that adding documents one by one stays linear.
        generation = sum(file.stat().st_size for file in folder.iterdir() if file.name != JOURNAL)
        if self._offset <= max(self._least_journal_bytes, generation):
            return
        try:
            self._fold()
        except StorageFull as error:
            # The write itself is durable: the journal only stays longer than it need be.
            logger.warning("The index could not be compacted. %s", error)

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp == _NOTHING and stamp != self._seen:
            # Deleted from outside, and the lock file perhaps with it.
            self._table, self._seen, self._offset = ChunkTable(self._dimension), stamp, 0
        elif stamp != self._seen:
            # Writers hold the lock until their write is durable: what is read here will stay.
            with locked(self._lock, shared=True):
                self._load()

    def _load(self) -> None:
        """Bring the table up to the disk's state; the caller holds the lock."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        current, known = stamp[0], self._seen
        # Until all of it is read, the table is no state of the disk.
        self._seen = None
        if known is None or known[0] != current:
            if not self._is_folded(known, current):
                self._table = self._read_generation(current)
            self._offset = 0
        if current is not None:
            folder, _ = self._generation(current)
            records, self._offset = read_records(folder / JOURNAL, self._offset)
            for record in records:
                self._replay(record)
        self._seen = stamp

    def _is_folded(self, known: _Stamp | None, current: bytes | None) -> bool:
        """Whether the new generation holds just what was read of the last one and its journal."""
        if known is None or known[0] is None or current is None:
            return False
        folder, manifest_sha256 = self._generation(current)
        before, _ = self._generation(known[0])
        return folded_from(folder, manifest_sha256) == [before.name, self._offset]

    def _read_generation(self, current: bytes | None) -> ChunkTable:
        if current is None:
            return ChunkTable(self._dimension)
        folder, manifest_sha256 = self._generation(current)
        return load_generation(folder, manifest_sha256, self._dimension, self._space)

    def _generation(self, current: bytes | None) -> tuple[Path, str]:
        pointer = _POINTER.fullmatch(current or b"")
        if pointer is None:
            raise IndexCorrupt("CURRENT names no generation; rebuild the index.")
        name, manifest_sha256 = (group.decode("ascii") for group in pointer.groups())
        return self._folder / name, manifest_sha256

    def _replay(self, record: bytes) -> None:
        line, _, vectors = record.partition(b"\n")
        fields: dict[str, Any] = json.loads(line)
        if "remove" in fields:
            self._table.drop(fields["remove"])
            return
        chunks = tuple(Chunk(**chunk) for chunk in fields.pop("chunks"))
        matrix = np.frombuffer(vectors, dtype="<f4").reshape(len(chunks), self._dimension)
        self._table.put(Entry(**fields, chunks=chunks, vectors=matrix))

    def _fold(self) -> None:
        """Publish what was read as a new generation; who has read as much need not read that."""
        pointer = self._stamp()[0]
        folder = None if pointer is None else self._generation(pointer)[0].name
        self._advance(self._table, folded=None if folder is None else (folder, self._offset))

    def _advance(self, table: ChunkTable, folded: tuple[str, int] | None = None) -> None:
        """Publish `table` as a new generation; the caller holds the lock for writing."""
        generations = sorted(self._folder.glob("generation-" + "[0-9]" * 8))
        newest = int(generations[-1].name[-8:]) if generations else 0
        folder = self._folder / f"generation-{newest + 1:08d}"
        try:
            manifest_sha256 = save_generation(folder, table, self._space, folded)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        pointer = f"{folder.name} {manifest_sha256}\n".encode("ascii")
        replace_file(self._folder / "CURRENT", pointer)
        self._table = table
        self._offset = 0
        self._seen = self._stamp()
        for old in generations:
            shutil.rmtree(old, ignore_errors=True)
        self._leftovers.unlink(missing_ok=True)

    def _stamp(self) -> _Stamp:
        try:
            current = (self._folder / "CURRENT").read_bytes()
        except FileNotFoundError:
            return _NOTHING
        try:
            folder, _ = self._generation(current)
            journal = (folder / JOURNAL).stat()
        except (FileNotFoundError, IndexCorrupt):
            # Superseded since the line above, or damaged: whoever loads it finds out.
            return (current, -1, 0)
        return (current, journal.st_size, journal.st_mtime_ns)


def _to_record(entry: Entry) -> bytes:
    fields = {
        "document_id": entry.document_id,
        "version": entry.version,
        "sha256": entry.sha256,
        "chunks": [asdict(chunk) for chunk in entry.chunks],
    }
    return json.dumps(fields, ensure_ascii=False).encode("utf-8") + b"\n" + entry.vectors.tobytes()
