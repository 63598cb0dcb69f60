"""Conflicts on disk: which documents turn others' answers, and which of them nobody is to read.

A file for each such document. Its record is of one text: a new version is looked at anew. Knows files and
ids; knows no reader and no index.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from retrieval.documents import Document, check_id
from retrieval.durable import locked, make_folder, replace_file
from retrieval.errors import DocumentRefused
from training.conflicts import Conflict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was found of the text with this checksum; `held` is one that is not answered from."""

    sha256: str
    held: bool
    found: tuple[Conflict, ...]


_FORM = TypeAdapter(Noted)
_SAYS_NOTHING = len(json.dumps(asdict(Noted("0" * 64, False, ()))))  # bytes of such a record


class Conflicts:
    """The records of all collections, under `root`. Safe for several threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, document: Document) -> Noted | None:
        """What was found of this very text; None where it was not looked at."""
        noted = self._read(self._path(document.collection, document.id))
        return noted if noted is not None and noted.sha256 == document.sha256 else None

    def holds(self, document: Document) -> bool:
        """Whether this text is not to be answered from."""
        noted = self.of(document)
        return noted is not None and noted.held

    def note(
        self,
        document: Document,
        found: Sequence[Conflict],
        *,
        held: bool,
        there: Callable[[str], str | None],
    ) -> Noted | None:
        """Keep what was found of a document, durably; None where it is another text by now, or gone.

        `there` says which text a document has, by its checksum. What is said of one that is gone is not
        kept: whoever deletes it forgets it here afterwards. Raises StorageFull.
        """
        with self._locked():
            if there(document.id) != document.sha256:
                return None
            left = tuple(each for each in found if there(each.document) is not None)
            noted = Noted(document.sha256, held, left)
            self._put(self._path(document.collection, document.id), noted)
        return noted

    def release(self, document: Document) -> bool:
        """Let it be answered from in spite of what was found; returns whether anything was."""
        path = self._path(document.collection, document.id)
        with self._locked():
            noted = self.of(document)
            if noted is None:
                return False
            self._put(path, replace(noted, held=False))
        return True

    def kept(self) -> Iterator[tuple[str, str]]:
        """Collections and ids of the documents that have records."""
        for path in sorted(self._root.glob("*/*.json")):
            with suppress(DocumentRefused):  # whatever else lies there is nobody's record
                yield check_id(path.parent.name, "collection name"), check_id(path.stem)

    def forget(self, collection: str, id: str) -> None:
        """Let go of a document that leaves: its own record, and what others' records say of it."""
        path = self._path(collection, id)
        if not path.parent.is_dir():
            return
        with self._locked():
            path.unlink(missing_ok=True)
            with os.scandir(path.parent) as others:
                # Most say nothing of any other one, and reading all of them takes its time.
                found = [Path(each.path) for each in others if _says_of_others(each)]
            for other in sorted(found):
                if f'"{id}"'.encode() in _bytes_of(other):
                    self._leave(other, lambda name: name != id)

    def forget_collection(self, collection: str, there: Callable[[str], bool]) -> None:
        """Let go of all documents of a collection but those that are `there`, in one pass."""
        folder = self._root / check_id(collection, "collection name")
        if not folder.is_dir():
            return
        with self._locked():
            for path in sorted(folder.glob("*.json")):
                with suppress(DocumentRefused):  # whatever else lies there is nobody's record
                    if there(check_id(path.stem)):
                        self._leave(path, there)
                    else:
                        path.unlink(missing_ok=True)

    def _leave(self, path: Path, there: Callable[[str], bool]) -> None:
        """Of what a record says, what is of documents that are there."""
        noted = self._read(path)
        if noted is None:
            return
        left = tuple(each for each in noted.found if there(each.document))
        if left != noted.found:
            self._put(path, replace(noted, found=left))

    def _path(self, collection: str, id: str) -> Path:
        return self._root / check_id(collection, "collection name") / f"{check_id(id)}.json"

    def _put(self, path: Path, noted: Noted) -> None:
        make_folder(path.parent)
        replace_file(path, json.dumps(asdict(noted)).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._root)
        with locked(self._root / ".lock"):  # which is no collection's name
            yield

    def _read(self, path: Path) -> Noted | None:
        try:
            return _FORM.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            logger.warning("%s cannot be read and is left out: %s", path.name, error)
            return None


def _says_of_others(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # gone meanwhile
        return entry.name.endswith(".json") and entry.stat().st_size > _SAYS_NOTHING
    return False


def _bytes_of(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""
