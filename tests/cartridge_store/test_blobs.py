"""One contract for every BlobStore, then what is true of a local directory alone."""

import errno
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import MemoryBlobs

from cartridge_store.blobs import BlobStore, LocalBlobs
from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    InvalidId,
    StorageFull,
    StoreError,
)
from cartridge_store.object_blobs import ObjectBlobs

BAD_NAMES = [
    "",
    ".",
    "..",
    "../a",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "a..b",
    ".hidden",
    "-rf",
    "A",
    "ä",
    "a\n",
    "a" * 129,
]


@pytest.fixture(params=["local", "memory", "object", "s3"])
def any_blobs(
    request: pytest.FixtureRequest, tmp_path: Path, new_s3: Callable[..., ObjectBlobs]
) -> BlobStore:
    makers: dict[str, Callable[[], BlobStore]] = {
        "local": lambda: LocalBlobs(tmp_path / "blobs"),
        "memory": MemoryBlobs,
        "object": lambda: ObjectBlobs(f"memory://{tmp_path.name}/blobs"),
        "s3": new_s3,
    }
    return makers[request.param]()


class TestContract:
    def test_what_was_put_is_got(self, any_blobs: BlobStore) -> None:
        any_blobs.put("a", b"one")
        any_blobs.put("b.safetensors", b"")
        assert any_blobs.get("a") == b"one"
        assert any_blobs.get("b.safetensors") == b""
        assert any_blobs.exists("a")
        assert any_blobs.names() == ["a", "b.safetensors"]

    def test_a_length_gives_the_beginning(self, any_blobs: BlobStore) -> None:
        any_blobs.put("a", b"12345")
        assert any_blobs.get("a", 0) == b""
        assert any_blobs.get("a", 3) == b"123"
        assert any_blobs.get("a", 99) == b"12345"

    def test_putting_again_replaces(self, any_blobs: BlobStore) -> None:
        any_blobs.put("a", b"long first")
        any_blobs.put("a", b"second")
        assert any_blobs.get("a") == b"second"
        assert any_blobs.names() == ["a"]

    def test_what_is_not_there_is_not_found(self, any_blobs: BlobStore) -> None:
        assert not any_blobs.exists("a")
        assert any_blobs.names() == []
        with pytest.raises(CartridgeNotFound):
            any_blobs.get("a")

    def test_deleting_twice_is_deleting(self, any_blobs: BlobStore) -> None:
        any_blobs.put("a", b"one")
        any_blobs.delete("a")
        any_blobs.delete("a")
        assert not any_blobs.exists("a")
        assert any_blobs.names() == []

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_names_that_are_no_ids_are_refused(self, any_blobs: BlobStore, name: str) -> None:
        with pytest.raises(InvalidId):
            any_blobs.put(name, b"")
        with pytest.raises(InvalidId):
            any_blobs.get(name)
        with pytest.raises(InvalidId):
            any_blobs.exists(name)
        with pytest.raises(InvalidId):
            any_blobs.delete(name)

    def test_a_reader_never_sees_half(self, any_blobs: BlobStore) -> None:
        versions = [bytes([digit]) * 50_000 for digit in range(4)]
        any_blobs.put("a", versions[0])
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(20):
                    for version in versions:
                        any_blobs.put("a", version)
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = {bytes(any_blobs.get("a"))}
        while not done.is_set():
            seen.add(bytes(any_blobs.get("a")))
        writer.join()
        assert seen <= set(versions)


def test_a_bad_sector_is_damage_to_one_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)
    blobs.put("a", b"one")

    def bad(_: int) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", bad)
        with pytest.raises(CartridgeRefused, match="train its document again"):
            blobs.get("a")
    assert blobs.get("a") == b"one"


def test_a_blob_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)
    events = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(file: int) -> None:
        events.append("fsync folder" if os.path.isdir(f"/dev/fd/{file}") else "fsync file")
        fsync(file)

    def record_replace(path: Path, target: Path) -> Path:
        events.append("rename")
        assert path.parent == target.parent
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", record_fsync)
        patch.setattr(Path, "replace", record_replace)
        blobs.put("a", b"one")
    assert events == ["fsync file", "rename", "fsync folder"]


def test_a_symlink_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blobs = LocalBlobs(tmp_path / "blobs")
    link = tmp_path / "blobs" / "a"
    link.symlink_to(secret)
    assert blobs.names() == ["a"]
    with pytest.raises(CartridgeRefused, match="not a regular file"):
        blobs.get("a")
    blobs.put("a", b"mine")
    assert blobs.get("a") == b"mine"
    assert secret.read_bytes() == b"secret"
    link.unlink()
    link.symlink_to(secret)
    blobs.delete("a")
    assert secret.read_bytes() == b"secret"


def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    os.mkfifo(tmp_path / "a")
    with pytest.raises(CartridgeRefused, match="not a regular file"):
        blobs.get("a")


def test_a_folder_among_the_blobs_is_no_blob(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    (tmp_path / "a").mkdir()
    assert blobs.names() == []
    with pytest.raises(CartridgeRefused, match="not a regular file"):
        blobs.get("a")
    with pytest.raises(StoreError, match="Could not write"):
        blobs.put("a", b"one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_old_temporary_files_are_removed_and_young_ones_kept(tmp_path: Path) -> None:
    old, young = tmp_path / ".0123.tmp", tmp_path / ".4567.tmp"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 100, time.time() - 100))
    blobs = LocalBlobs(tmp_path, grace_seconds=50)
    assert not old.exists()
    assert young.exists()
    assert blobs.names() == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    blobs = LocalBlobs(tmp_path)
    blobs.put("a", b"first")
    write = os.write

    def fill(file: int, data: bytes = b"") -> int:
        if call == "write" and len(data) > 3:
            return write(file, data[:3])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fill)
        with pytest.raises(StorageFull, match="free some space"):
            blobs.put("a", b"second one")
    assert blobs.get("a") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_may_not_grow_leaves_nothing_half(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageFull, match="File too large"):
            blobs.put("a", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    blobs.put("a", bytes(10_000))
    assert len(blobs.get("a")) == 10_000


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="Could not make the folder"):
        LocalBlobs(tmp_path / "file" / "blobs")


def test_a_root_behind_a_link_is_its_owners_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    LocalBlobs(tmp_path / "data").put("a", b"one")
    assert (tmp_path / "disk" / "a").read_bytes() == b"one"
