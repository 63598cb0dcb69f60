"""Room on the disk: training's files are whole or not there, and a full disk is told from what is broken.

Knows what files' writers raise; knows no format.
"""

import glob
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from cartridge_store.blobs import NO_ROOM, sync_folder
from cartridge_store.errors import StorageFull

_STALE_SECONDS = 3600.0


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write `path` into: at the end it is put there, durably and whole, else nothing is left.

    Raises StorageFull where there is no room for it; trying again later helps. The folder is there: one
    that was deleted meanwhile must not come back. Raises FileNotFoundError where it is not.
    """
    # A name of its own: of two that write the same, neither cuts the other's short.
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp")
    try:
        _remove_stale(path)
        yield aside
        with aside.open("rb") as file:
            os.fsync(file)
        aside.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        if not path.parent.is_dir():  # safetensors has words of its own for it
            raise FileNotFoundError(f"The folder of {path.name} is gone.") from error
        if not _is_full(error):
            raise
        raise StorageFull(
            f"There is no room left to write {path.name}; free disk space and try again."
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file as `written` does. Raises StorageFull."""
    with written(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _remove_stale(path: Path) -> None:
    """Remove what writers of this file that were killed have left aside."""
    oldest = time.time() - _STALE_SECONDS
    for aside in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp"):
        with suppress(OSError):  # another was faster
            if aside.stat().st_mtime < oldest:
                aside.unlink()


def _is_full(error: OSError | SafetensorError) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return any(f"(os error {code})" in str(error) for code in NO_ROOM)  # all that safetensors says
