"""Blobs: named bytes that are written once, whole or not at all.

It knows nothing of cartridges or Redis. A name is an id (`ids.validate_id`), never a path.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    StorageFull,
    StoreUnavailable,
)
from cartridge_store.ids import validate_id

_TEMP_SUFFIX = ".tmp"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the operating system says of a full disk; EFBIG is a file-size quota."""


Data = bytes | bytearray
"""What a blob holds; a bytearray can become tensors without a copy."""


class BlobStore(Protocol):
    """Where bytes are kept. Every method raises InvalidId for a name that is not an id."""

    def put(self, name: str, data: Data) -> None:
        """Keep `data` under `name`, atomically and durably, replacing what was there.

        Raises StorageFull when there is no room and StoreError when it cannot be written; then
        the name holds what it held before.
        """

    def get(self, name: str, length: int | None = None) -> Data:
        """The bytes of `name`, or the first `length` of them; raises CartridgeNotFound.

        Raises CartridgeRefused when the name holds something that is not plain bytes.
        """

    def exists(self, name: str) -> bool:
        """Whether `get` would find something."""

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when it is not there."""

    def names(self) -> list[str]:
        """All names, sorted."""


class LocalBlobs:
    """A BlobStore in one local directory, which is made if it does not exist.

    Temporary files older than `grace_seconds`, which a killed process left, are removed here.
    """

    def __init__(self, root: Path | str, grace_seconds: float = 3600.0) -> None:
        # Resolved once: the root may be a link that its owner made, nothing below it may be.
        self._root = Path(root).resolve()
        with _explained(f"make the folder {self._root}"):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._remove_stale(grace_seconds)

    def put(self, name: str, data: Data) -> None:
        path = self._path(name)
        temp = path.with_name(f".{secrets.token_hex(8)}{_TEMP_SUFFIX}")
        with _explained(f"write {path}"):
            try:
                _write_new(temp, data)
                temp.replace(path)
            except BaseException:
                temp.unlink(missing_ok=True)
                raise
            sync_folder(self._root)

    def get(self, name: str, length: int | None = None) -> Data:
        path = self._path(name)
        with _explained(f"read {path}"):
            try:
                # O_NONBLOCK: a named pipe in the folder must not hang the reader.
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise CartridgeNotFound(f"There is no blob {name}; publish it again.") from error
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise _not_a_file(name) from error
                raise
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise _not_a_file(name)
                data = bytearray(found.st_size if length is None else min(length, found.st_size))
                with open(file, "rb", closefd=False, buffering=0) as opened:
                    rest = memoryview(data)
                    while rest and (count := opened.readinto(rest)):
                        rest = rest[count:]
                    short = len(rest)
                    rest.release()
                if short:  # cut off while it was read
                    del data[-short:]
                return data
            except OSError as error:
                if error.errno == errno.EIO:
                    raise CartridgeRefused(
                        f"The disk has lost {name} ({error.strerror}); train its document again, or put a "
                        "copy in its place."
                    ) from error
                raise
            finally:
                os.close(file)

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with _explained(f"look at {path}"):
            return path.is_symlink() or path.exists()

    def delete(self, name: str) -> None:
        path = self._path(name)
        with _explained(f"remove {path}"):
            path.unlink(missing_ok=True)
            sync_folder(self._root)

    def names(self) -> list[str]:
        with _explained(f"list {self._root}"), os.scandir(self._root) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False)
            )

    def _path(self, name: str) -> Path:
        return self._root / validate_id(name, "blob name")

    def _remove_stale(self, grace_seconds: float) -> None:
        oldest = time.time() - grace_seconds
        for temp in self._root.glob(f".*{_TEMP_SUFFIX}"):
            # Another may have removed it, and who only reads here may not.
            with contextlib.suppress(OSError):
                if temp.lstat().st_mtime <= oldest:
                    temp.unlink()


def _write_new(path: Path, data: Data) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Return when a folder's entries are on the disk: a rename or an unlink is durable only then."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _not_a_file(name: str) -> CartridgeRefused:
    return CartridgeRefused(f"{name} is not a regular file; remove it from the folder.")


@contextlib.contextmanager
def _explained(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(
                f"Could not {action}: {error.strerror}; free some space and try again."
            ) from error
        raise StoreUnavailable(
            f"Could not {action}: {error.strerror}; check the folder."
        ) from error
