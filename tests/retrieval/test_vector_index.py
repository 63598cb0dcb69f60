import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval import durable
from retrieval.chunking import Chunk
from retrieval.durable import locked
from retrieval.encoder import Vectors
from retrieval.errors import IndexCorrupt, StorageFull
from retrieval.index import VectorIndex
from retrieval.relevance import Rarity
from retrieval.table import ChunkTable, Entry, Hit

ROOT = Path(__file__).parents[2]


def chunks(*texts: str) -> tuple[Chunk, ...]:
    return tuple(Chunk(i, text, 10 * i, 10 * i + len(text)) for i, text in enumerate(texts))


def axis(*numbers: int, dimension: int = 4) -> Vectors:
    return np.eye(dimension, dtype=np.float32)[list(numbers)]


def entry(number: int, version: int = 1) -> Entry:
    angle = number / 300
    vector = np.array([[np.cos(angle), np.sin(angle), 0, 0]], dtype=np.float32)
    return Entry(f"doc-{number}", version, "", chunks(f"text {number}"), vector)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path) -> VectorIndex:
    return VectorIndex(folder, 4, "test")


def reopened(folder: Path) -> VectorIndex:
    return VectorIndex(folder, 4, "test")


def test_a_search_finds_the_nearest_chunks_first(index: VectorIndex) -> None:
    index.add("a", 1, chunks("zero", "one"), axis(0, 1))
    index.add("b", 1, chunks("two"), axis(2))
    question = np.array([0.1, 0.9, 0.3, 0], dtype=np.float32)
    hits = index.search(question, 2)
    assert hits == [
        Hit("a", 1, "one", 10, 13, pytest.approx(0.9)),
        Hit("b", 0, "two", 0, 3, pytest.approx(0.3)),
    ]
    assert len(index.search(question, 50)) == 3
    assert [hit.document_id for hit in index.search(question, 50, ["b", "unknown"])] == ["b"]
    assert index.search(question, 50, []) == []


def test_an_empty_index_finds_nothing_and_writes_nothing(index: VectorIndex, folder: Path) -> None:
    assert index.search(axis(0)[0], 5) == []
    assert index.document_ids() == set()
    index.remove("unknown")
    index.add_many([])
    assert not folder.exists()


def test_adding_again_replaces_and_removing_removes(index: VectorIndex, folder: Path) -> None:
    index.add("a", 1, chunks("old", "older"), axis(0, 1))
    index.add("b", 1, chunks("other"), axis(3))
    index.add("a", 2, chunks("new"), axis(2))
    for view in (index, reopened(folder)):
        assert {hit.text for hit in view.search(axis(0)[0], 9)} == {"new", "other"}
        found = view.find("a")
        assert found is not None
        assert found.version == 2
    index.remove("a")
    for view in (index, reopened(folder)):
        assert view.document_ids() == {"b"}
        assert {hit.text for hit in view.search(axis(0)[0], 9)} == {"other"}


def test_an_older_version_does_not_replace_a_newer_one(index: VectorIndex, folder: Path) -> None:
    index.add("a", 2, chunks("new"), axis(0))
    index.add("a", 1, chunks("old"), axis(1))
    for view in (index, reopened(folder)):
        assert [hit.text for hit in view.search(axis(0)[0], 9)] == ["new"]


def test_a_document_without_chunks_is_indexed_all_the_same(
    index: VectorIndex, folder: Path
) -> None:
    index.add("a", 1, (), np.empty((0, 4), dtype=np.float32))
    index.compact()
    assert reopened(folder).document_ids() == {"a"}
    index.remove("a")
    assert reopened(folder).document_ids() == set()


@pytest.mark.parametrize(
    "vectors", [axis(0, 1), np.ones((1, 5), dtype=np.float32), axis(0) * np.float32("nan")]
)
def test_vectors_that_do_not_fit_are_refused(index: VectorIndex, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="shape"):
        index.add("a", 1, chunks("text"), vectors)
    assert index.document_ids() == set()


@pytest.mark.parametrize(("vector", "k"), [(np.ones(5), 1), (np.ones((1, 4)), 1), (np.ones(4), 0)])
def test_senseless_searches_are_refused(index: VectorIndex, vector: Vectors, k: int) -> None:
    with pytest.raises(ValueError, match="k >= 1"):
        index.search(vector, k)


def test_two_indexes_on_one_folder_see_each_others_writes(folder: Path) -> None:
    left = VectorIndex(folder, 4, "test", least_journal_bytes=300)
    right = VectorIndex(folder, 4, "test", least_journal_bytes=300)
    for number in range(20):
        writer, reader = (left, right) if number % 2 else (right, left)
        writer.add_many([entry(number)])
        assert reader.document_ids() == {f"doc-{i}" for i in range(number + 1)}
    left.remove("doc-3")
    assert "doc-3" not in right.document_ids()
    right.reset()
    assert left.search(axis(0)[0], 5) == []


def test_compaction_keeps_everything_and_leaves_one_generation(folder: Path) -> None:
    index = VectorIndex(folder, 4, "test", least_journal_bytes=500)
    for number in range(60):
        index.add_many([entry(number)])
        if number % 3 == 0:
            index.remove(f"doc-{number}")
    expected = {f"doc-{number}" for number in range(60) if number % 3}
    before = [hit.text for hit in index.search(axis(1)[0], 99)]
    index.compact()
    view = reopened(folder)
    assert view.document_ids() == expected
    assert [hit.text for hit in view.search(axis(1)[0], 99)] == before
    assert len(before) == len(expected)
    assert len(list(folder.glob("generation-*"))) == 1


def test_what_others_fold_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader, late = reopened(folder), reopened(folder), reopened(folder)
    for number in range(4):
        writer.add_many([entry(number)])
    assert late.document_ids() == {f"doc-{n}" for n in range(4)}
    writer.remove("doc-2")
    assert reader.document_ids() == {"doc-0", "doc-1", "doc-3"}
    assert writer.purge()
    read: list[str] = []
    whole = VectorIndex._read_generation

    def noted(self: VectorIndex, current: bytes | None) -> ChunkTable:
        read.append("again")
        return whole(self, current)

    monkeypatch.setattr(VectorIndex, "_read_generation", noted)
    assert reader.document_ids() == {"doc-0", "doc-1", "doc-3"}
    assert read == []
    writer.add_many([entry(9)])
    assert [hit.document_id for hit in reader.search(entry(9).vectors[0], 1)] == ["doc-9"]
    assert read == []
    # Whoever had not read all of the journal reads the generation.
    assert late.document_ids() == {"doc-0", "doc-1", "doc-3", "doc-9"}
    assert read == ["again"]
    assert reopened(folder).documents() == reader.documents()


def test_several_who_purge_together_write_once(folder: Path) -> None:
    several = [reopened(folder) for _ in range(4)]
    several[0].add_many([entry(0), entry(1)])
    several[0].remove("doc-0")
    (before,) = folder.glob("generation-*")
    with ThreadPoolExecutor(4) as threads:
        with locked(folder / "lock"):
            # All have seen that there is something to do before the first one may.
            purging = [threads.submit(each.purge) for each in several]
            while sum(each.running() for each in purging) < 4:
                time.sleep(0.01)
            time.sleep(0.1)
        assert all(each.result() for each in purging)
    (after,) = folder.glob("generation-*")
    assert int(after.name[-8:]) == int(before.name[-8:]) + 1


def test_replacing_shows_all_or_nothing(folder: Path) -> None:
    index, other = reopened(folder), reopened(folder)
    index.add_many([entry(0), entry(1)])

    def batches() -> Iterator[list[Entry]]:
        yield [entry(2)]
        assert other.document_ids() == {"doc-0", "doc-1"}
        yield [entry(3)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.replace(batches())
    assert reopened(folder).document_ids() == index.document_ids() == {"doc-0", "doc-1"}
    index.replace([[entry(2)], [entry(3)]])
    assert other.document_ids() == {"doc-2", "doc-3"}


def test_a_lock_is_taken_by_who_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # NFS grants an exclusive lock to nobody else.
    taken: list[int] = []
    real = os.open

    def noted(path: Path, flags: int, mode: int = 0o777) -> int:
        taken.append(flags & os.O_ACCMODE)
        return real(path, flags, mode)

    monkeypatch.setattr("retrieval.durable.os.open", noted)
    with locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock", shared=True):
        pass
    assert taken == [os.O_RDWR, os.O_RDONLY]


def test_adding_one_by_one_costs_little_more_than_the_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    real_write = durable.os.write

    def counted(descriptor: int, data: memoryview) -> int:
        nonlocal written
        count = real_write(descriptor, data)
        written += count
        return count

    monkeypatch.setattr(durable.os, "write", counted)
    index = VectorIndex(folder, 4, "test", least_journal_bytes=1000)
    for number in range(200):
        index.add_many([entry(number)])
    index.compact()
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # Rewriting everything at each add would make this ratio about 100.
    assert written < 8 * stored


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["vectors.faiss", "chunks.jsonl", "manifest.json", "journal"])
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damage_to_any_file_is_noticed(
    index: VectorIndex, folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    index.add_many([entry(number) for number in range(5)])
    index.compact()
    index.add_many([entry(9)])
    (generation,) = folder.glob("generation-*")
    damage(generation / name)
    view = reopened(folder)
    for _ in range(2):
        with pytest.raises(IndexCorrupt, match="rebuild"):
            view.search(axis(0)[0], 1)
        with pytest.raises(IndexCorrupt):
            view.add_many([entry(1)])
    view.reset()
    assert view.document_ids() == set()
    view.add_many([entry(1)])
    assert reopened(folder).document_ids() == {"doc-1"}


@pytest.mark.parametrize(
    "content", [b"", b"generation-00000007 x\n", b"../../etc 00\n", b"\xff\x00"]
)
def test_a_damaged_pointer_is_noticed(index: VectorIndex, folder: Path, content: bytes) -> None:
    index.add_many([entry(1)])
    (folder / "CURRENT").write_bytes(content)
    with pytest.raises(IndexCorrupt):
        reopened(folder).search(axis(0)[0], 1)


def test_another_encoders_index_is_corrupt(index: VectorIndex, folder: Path) -> None:
    index.add_many([entry(1)])
    for view in (VectorIndex(folder, 4, "another"), VectorIndex(folder, 5, "test")):
        with pytest.raises(IndexCorrupt, match="vectors of test"):
            view.document_ids()


def test_a_deleted_folder_is_an_empty_index(index: VectorIndex, folder: Path) -> None:
    index.add_many([entry(1)])
    folder.rename(folder.with_name("elsewhere"))
    assert index.document_ids() == set()
    index.add_many([entry(2)])
    assert reopened(folder).document_ids() == {"doc-2"}


def test_a_full_disk_loses_nothing(folder: Path) -> None:
    """A real limit: the kernel writes a part of the record and refuses the rest."""
    program = f"""
import resource, numpy as np
from retrieval.errors import StorageFull
from retrieval.index import VectorIndex
from retrieval.chunking import Chunk
index = VectorIndex({str(folder)!r}, 4, "test", least_journal_bytes=1 << 30)
vector = np.eye(4, dtype=np.float32)[:1]
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
added = 0
try:
    while added < 1000:
        index.add(f"doc-{{added}}", 1, [Chunk(0, "text", 0, 4)], vector)
        added += 1
except StorageFull:
    print(added, len(index.document_ids()))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    added, indexed = map(int, run.stdout.split())
    assert 1 < added == indexed < 1000
    index = reopened(folder)
    assert index.document_ids() == {f"doc-{number}" for number in range(added)}
    index.add_many([entry(5000)])
    assert len(reopened(folder).document_ids()) == added + 1


def test_a_compaction_that_finds_the_disk_full_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex(folder, 4, "test", least_journal_bytes=1)
    index.add_many([entry(1)])

    def full(*_: object) -> str:
        raise StorageFull("full")

    with monkeypatch.context() as patch:
        patch.setattr("retrieval.index.save_generation", full)
        index.add_many([entry(number) for number in range(2, 30)])
        with pytest.raises(StorageFull):
            index.compact()
    assert len(reopened(folder).document_ids()) == len(index.document_ids()) == 29


def test_kill_9_during_writes_leaves_every_acknowledged_one(folder: Path) -> None:
    program = f"""
import numpy as np
from retrieval.index import VectorIndex
from retrieval.chunking import Chunk
index = VectorIndex({str(folder)!r}, 4, "test", least_journal_bytes=2000)
vector = np.eye(4, dtype=np.float32)[:1]
number = len(index.document_ids())
while True:
    index.add(f"doc-{{number}}", 1, [Chunk(0, "text" * 50, 0, 200)], vector)
    print(number, flush=True)
    number += 1
"""
    acknowledged = -1
    for round_number in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(0.05 + 0.07 * round_number)
        os.kill(writer.pid, signal.SIGKILL)
        printed, _ = writer.communicate()
        acknowledged = int(printed.split()[-1]) if printed.split() else acknowledged
        held = reopened(folder).document_ids()
        assert held == {f"doc-{number}" for number in range(len(held))}
        assert len(held) > acknowledged
        assert len(reopened(folder).search(axis(0)[0], len(held) + 1)) == len(held)
    assert acknowledged > 4


def test_threads_may_search_while_others_write(index: VectorIndex) -> None:
    index.add_many([entry(0)])
    failures: list[BaseException] = []

    def work(action: Callable[[int], object]) -> None:
        try:
            for number in range(40):
                action(number)
        except BaseException as error:
            failures.append(error)

    actions: list[Callable[[int], object]] = [
        lambda number: index.add_many([entry(number)]),
        lambda number: index.add_many([entry(100 + number)]),
        lambda number: index.search(axis(0)[0], 5)[0],
        lambda number: index.search(axis(1)[0], 5, ["doc-0"])[0],
    ]
    threads = [threading.Thread(target=work, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(index.document_ids()) == 80


def test_how_rare_words_are_is_counted_by_one(
    index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("a", 1, chunks(*("a boiler",) * 20), np.repeat(axis(0), 20, 0))
    begun, go_on = threading.Event(), threading.Event()
    counted: list[int] = []

    class Slow(Rarity):
        def __init__(self, texts: Sequence[str]) -> None:
            counted.append(len(texts))
            begun.set()
            assert go_on.wait(30)
            super().__init__(texts)

    monkeypatch.setattr("retrieval.index.Rarity", Slow)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(index.rarity) for _ in range(8)]
        assert begun.wait(30)
        go_on.set()
        first = asked[0].result(30)
        assert all(each.result(30) is first for each in asked)
        assert counted == [20]
        # Who asks while it is counted anew goes by what was known.
        index.add("b", 1, chunks(*("a garden",) * 20), np.repeat(axis(1), 20, 0))
        begun.clear()
        go_on.clear()
        anew = threads.submit(index.rarity)
        assert begun.wait(30)
        assert index.rarity() is first
        go_on.set()
        assert anew.result(30) is not first
    assert counted == [20, 40]
