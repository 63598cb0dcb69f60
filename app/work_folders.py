"""Where jobs keep what they have made until they end, a folder for each.

One process at a time is at work in a folder; the system frees it when that dies. What lies there says what
its documents say: it goes with the job. Knows folders; knows no job but by its id.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import StorageFull

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class WorkFolders:
    """The folders of all jobs, under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job_id: str) -> Path:
        """A job's folder, whether or not it is there. Raises ValueError for what is no job's id.

        Ids come out of Redis: what could be another path is none.
        """
        if not _ID.fullmatch(job_id):
            raise ValueError(f"{job_id[:80]!r} is no job's id.")
        return self._root / job_id

    @contextmanager
    def exclusive(self, job_id: str) -> Iterator[bool]:
        """Whether this process alone is at work in the folder, which is made. Raises StorageFull."""
        folder = self.folder(job_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFull(
                f"The folder of a training job cannot be written ({error.strerror}); free disk space."
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def remove(self, job_id: str) -> None:
        """Delete a job's folder, unless somebody is at work in it: then it is his to delete."""
        if not self.folder(job_id).is_dir():
            return
        with self.exclusive(job_id) as mine:
            if mine:
                shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def clear(self, needed: Callable[[str], bool]) -> None:
        """Delete the folders of all jobs that are not `needed` and that nobody is at work in."""
        for folder in self._root.glob("*"):
            if folder.is_dir() and _ID.fullmatch(folder.name) and not needed(folder.name):
                self.remove(folder.name)
