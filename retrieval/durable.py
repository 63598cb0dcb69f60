"""Durable files: a write has happened completely or not at all, and stays after a power cut.

Knows bytes, paths and locks; knows nothing of documents or vectors.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retrieval.errors import StorageFull

# EFBIG is how a file-size quota says that it is full.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def full_disk_is_an_error(path: Path) -> Iterator[None]:
    """Raise `StorageFull` in place of the operating system's codes for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"There is no room left to write {path.name}; free disk space and try again."
            ) from error
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_file(path: Path, data: bytes) -> None:
    """Write and fsync a file that no reader looks at yet. Raises `StorageFull`."""
    with full_disk_is_an_error(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Replace `path` atomically: readers see the old bytes or the new ones, never a mixture.

    The caller holds the folder's lock, which is why one temporary name per folder is enough and
    why a killed writer leaves at most one such file behind. Raises `StorageFull`.
    """
    temporary = path.parent / ".incoming"
    try:
        write_file(temporary, data)
        with full_disk_is_an_error(path):
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each durably entered in its parent."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with full_disk_is_an_error(path):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames, creations and removals in this folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock on the file `path`, against other processes and other threads.

    Every call opens the file anew, and such locks belong to the open file: so threads exclude
    each other too. The system drops the lock when its holder dies.
    """
    # Over NFS an exclusive lock is granted to who may write alone (flock(2), EBADF).
    access = os.O_RDONLY if shared else os.O_RDWR
    with full_disk_is_an_error(path):
        descriptor = os.open(path, access | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
