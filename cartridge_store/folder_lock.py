"""The folder lock: one process at a time owns a data folder, and a second one learns who.

It knows nothing of what the folder is for. The kernel releases the lock when the last process that
holds its descriptor has ended, so nothing stale can remain.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from cartridge_store.errors import FolderBusy

_PATIENCE_SECONDS = 10.0


class FolderLock:
    """Taken with `take`, given up with `release`; `descriptor` may be handed to a child."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / name
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int | None:
        """The descriptor that holds the lock, None when it is not taken."""
        return self._descriptor

    def take(self, end_orphan: Callable[[], None], *, shared: bool = False) -> None:
        """Take the lock; raises FolderBusy, naming the owner, when another process has it.

        A `shared` lock may be held by several at once, and by none beside one that is not.

        When the owner is dead but a child of its still holds the lock, waits some seconds for the
        child, and calls `end_orphan` once if it does not end by itself.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            self._wait(descriptor, end_orphan, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up; nothing happens when it is not taken."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, descriptor: int, end_orphan: Callable[[], None], kind: int) -> None:
        started = time.monotonic()
        told = False
        while not _try_lock(descriptor, kind):
            # Read anew each time: a new owner writes its number just after it took the lock.
            owner = _owner_of(descriptor)
            waited = time.monotonic() - started
            if _is_alive(owner) or waited > _PATIENCE_SECONDS:
                raise FolderBusy(
                    f"The data folder {self._folder} is in use by process {owner or 'unknown'}; "
                    "stop that process or name another folder."
                )
            if waited > 1 and not told:
                told = True
                end_orphan()
            time.sleep(0.05)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_of(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).decode("ascii", "replace")
    return int(text) if text.isdecimal() else 0


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
