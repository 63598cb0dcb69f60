"""Members' training states on disk: written behind the step, read ahead of it.

A state is a handful of tensors in one safetensors file. Writing and reading go on in one background thread
beside the training step; a state that is read is the one last written, and `settle` returns when all
that was written is durably on the disk. This file knows files and tensors; it knows no optimiser.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from cartridge_store.blobs import LocalBlobs
from inference.threads import compute_alone

Tensors = dict[str, Tensor]

_MOST_WAITING = 8


class States:
    """States by file name in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        # The folder is its own: what a writer that died has left aside is nobody's.
        self._blobs = LocalBlobs(folder, grace_seconds=0)
        # One thread: what is read comes after what was written before.
        self._thread = ThreadPoolExecutor(1, "states", initializer=compute_alone)
        self._writing: dict[str, Future[None]] = {}
        self._ahead: dict[str, Future[Tensors]] = {}

    def write(self, file: str, state: Mapping[str, Tensor]) -> None:
        """Keep a copy of the state as it is now; the file itself follows."""
        waiting = [each for each in self._writing.values() if not each.done()]
        # Each holds its copy: memory is not to follow the collection.
        if len(waiting) >= _MOST_WAITING:
            waiting[0].result()
        copy = {part: tensor.detach().cpu().clone().contiguous() for part, tensor in state.items()}
        self._writing[file] = self._thread.submit(lambda: self._blobs.put(file, save(copy)))

    def expect(self, files: Iterable[str]) -> None:
        """Begin to read what will soon be asked for; what was expected before is forgotten."""
        self._ahead = {file: self._thread.submit(self._load, file) for file in files}

    def read(self, file: str) -> Tensors:
        """A state, on the host. Raises what writing it raised, and CartridgeNotFound."""
        if file in self._writing:
            self._writing[file].result()
        ahead = self._ahead.pop(file, None) or self._thread.submit(self._load, file)
        return ahead.result()

    def settle(self) -> None:
        """Return when everything written so far is on the disk. Raises StorageFull, StoreError.

        What could not be written stays unwritten: every later call raises the same.
        """
        for file, future in list(self._writing.items()):
            future.result()
            del self._writing[file]

    def put(self, file: str, data: bytes) -> None:
        """Keep plain bytes, on the disk when this returns, after everything written before."""
        self.settle()
        self._blobs.put(file, data)

    def get(self, file: str) -> bytes | None:
        """Plain bytes, or None where there are none."""
        return bytes(self._blobs.get(file)) if self._blobs.exists(file) else None

    def keep_only(self, files: Iterable[str]) -> None:
        """Delete every other file of the folder."""
        kept = set(files)
        for name in self._blobs.names():
            if name not in kept:
                self._blobs.delete(name)

    def _load(self, file: str) -> Tensors:
        tensors: Tensors = load(bytes(self._blobs.get(file)))
        return tensors
