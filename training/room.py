"""Room on the disk: what a training finds no room to write is told apart from what is broken.

Knows what files' writers raise; knows no file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from cartridge_store.blobs import NO_ROOM
from cartridge_store.errors import StorageFull


@contextmanager
def written(aside: Path) -> Iterator[None]:
    """While a file is written aside, to be put in place: nothing is left of one that could not be.

    Raises StorageFull where there is no room for it; trying again later helps.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _is_full(error):
            raise
        aside.unlink(missing_ok=True)
        raise StorageFull(
            f"There is no room left to write {aside.name}; free disk space and try again."
        ) from error


def _is_full(error: OSError | SafetensorError) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return any(f"(os error {code})" in str(error) for code in NO_ROOM)  # all that safetensors says
