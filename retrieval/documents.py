"""The document library: every accepted text, one JSON file each, the truth for texts.

Knows ids, titles, texts and versions. Does not know what was made of a document (vectors,
cartridges) nor its status.
"""

import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from retrieval.durable import locked, make_folder, replace_file, sync_folder
from retrieval.errors import DocumentCorrupt, DocumentNotFound, DocumentRefused
from retrieval.markdown import choose_marks, title_of
from retrieval.marks import Mark, from_json, to_json
from retrieval.text import MAX_TITLE_CHARACTERS, normalise, only_text, require_text, shorten

logger = logging.getLogger(__name__)

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
# Quotes within a text are escaped in JSON: no text can look like this field.
_VERSION = re.compile(rb'"version": (\d{1,18})')


@dataclass(frozen=True)
class Document:
    """A text with an id, a title, a version and a collection.

    `sha256` is that of the text's UTF-8 bytes. Versions start at 1, grow with every change of
    text or title, and are not used again after a deletion. `marks` say which page and section
    each part of the text is from; they make no version.
    """

    collection: str
    id: str
    title: str
    text: str
    version: int
    sha256: str
    created_at: datetime
    marks: tuple[Mark, ...] = ()


def check_id(value: str, what: str = "document id") -> str:
    """The id itself. Raises `DocumentRefused("bad_id")` unless it is safe as a file name."""
    if not _ID.fullmatch(value) or ".." in value:
        raise DocumentRefused(
            "bad_id",
            f"This {what} is not valid; use 1 to 128 of a-z, 0-9, '.', '_' and '-', starting with "
            "a letter or digit and without '..'.",
        )
    return value


Require = Callable[[Document | None], None]
"""Looks at what is there, under the collection's lock, and raises when it may not be changed."""


class DocumentLibrary:
    """Documents on disk under `root/<collection>/documents/<id>.json`.

    Safe for several threads and processes at once: changes of a collection take its lock, and
    readers see a document before a change or after it. Every method validates its ids.
    """

    def __init__(self, root: Path, *, max_bytes: int = 4_000_000) -> None:
        self._root = Path(root)
        self._max_bytes = max_bytes

    def put(
        self,
        collection: str,
        id: str | None,
        title: str | None,
        text: str,
        marks: Sequence[Mark] | None = None,
        require: Require = lambda current: None,
        suggested: str | None = None,
    ) -> tuple[Document, bool]:
        """Store a text durably; returns the document and whether this made a new version.

        The same content again is the same version. Without an id, one is derived from title and
        content, so that sending the same twice is one document; without a title, the same text keeps
        its own, and another has the `suggested` one or one derived from the text; without marks,
        they stay with the same text or are its Markdown headings.
        `require` is asked whether the document that is there, or None, may be replaced. Raises
        `DocumentRefused`, `StorageFull` and what `require` raises; then nothing has changed.
        """
        check_id(collection, "collection name")
        text, sha256 = self._accept(text)
        title, suggested = _accept_title(title), _accept_title(suggested)
        if id is None:
            id = _derive_id(title or suggested or title_of(text) or "", sha256)
        make_folder(self._documents(collection))
        with locked(self._lock(collection)):
            current = self._readable(collection, check_id(id))
            require(current)
            same = current if current and current.sha256 == sha256 else None
            if title is None:
                known = same.title if same else suggested or _chosen_title(current)
                title = known or title_of(text) or id
            held = same.marks if same else ()
            kept = choose_marks(marks, held, text)
            created = current is None or (current.sha256, current.title) != (sha256, title)
            if current and not created:
                document = replace(current, marks=kept)
            else:
                version, now = self._last_version(collection, id) + 1, datetime.now(UTC)
                document = Document(collection, id, title, text, version, sha256, now, kept)
            if document != current:
                replace_file(self._path(collection, id), _to_json(document))
            return document, created

    def require_acceptable(self, title: str | None, text: str) -> None:
        """Raise `DocumentRefused` for what `put` would refuse."""
        self._accept(text)
        _accept_title(title)

    def was_deleted(self, collection: str, id: str) -> bool:
        """Whether a document of this id was deleted, and none has come since."""
        return (self._deleted(collection) / f"{check_id(id)}.json").is_file() and not self.exists(
            collection, id
        )

    def get(self, collection: str, id: str) -> Document:
        """The document. Raises `DocumentNotFound`, `DocumentCorrupt`, `DocumentRefused`."""
        document = self.find(collection, id)
        if document is None:
            raise DocumentNotFound(f"Collection {collection} has no document {id}.")
        return document

    def find(self, collection: str, id: str) -> Document | None:
        """The document, or None. Raises `DocumentCorrupt` and, for bad ids, `DocumentRefused`."""
        path = self._path(collection, id)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        return _from_json(data, collection, id)

    def exists(self, collection: str, id: str) -> bool:
        """Whether the collection holds this id, without reading the document."""
        return self._path(collection, id).is_file()

    def ids(self, collection: str) -> tuple[str, ...]:
        """All ids of a collection in order; none when there is no such collection."""
        check_id(collection, "collection name")
        folder = self._documents(collection)
        if not folder.is_dir():
            return ()
        names = (path.name.removesuffix(".json") for path in folder.glob("*.json"))
        return tuple(sorted(name for name in names if _ID.fullmatch(name)))

    def list(
        self, collection: str, after: str | None = None, limit: int = 50
    ) -> tuple[Document, ...]:
        """Up to `limit` documents in id order, those after the id `after`."""
        if limit < 1:
            raise ValueError("Ask for at least one document.")
        return tuple(islice(self.each(collection, after), limit))

    def each(self, collection: str, after: str | None = None) -> Iterator[Document]:
        """All documents in id order, those after the id `after`, each read when it is asked for.

        An unreadable document is left out, with a warning in the log: the others stay usable.
        """
        for id in self.ids(collection):
            if (after is None or id > after) and (document := self._readable(collection, id)):
                yield document

    def pages(self, collection: str, size: int) -> Iterator[tuple[Document, ...]]:
        """All readable documents of a collection in id order, up to `size` at a time."""
        documents = self.each(collection)
        while page := tuple(islice(documents, size)):
            yield page

    def delete(self, collection: str, id: str, require: Require = lambda current: None) -> bool:
        """Remove a document durably; returns whether it was there.

        Its version number is remembered, so that a later document of this id cannot be taken for
        this one. What `require` raises of the document that is there is passed on, and it stays.
        """
        path = self._path(collection, id)
        if not path.is_file():
            return False
        deleted = self._deleted(collection)
        make_folder(deleted)
        with locked(self._lock(collection)):
            require(self._readable(collection, id))
            version = {"version": self._last_version(collection, id)}
            replace_file(deleted / f"{id}.json", json.dumps(version).encode())
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            sync_folder(path.parent)
            return True

    def collections(self) -> tuple[str, ...]:
        """The names of all collections that hold a document or were created, in order."""
        return tuple(
            name for name in self._folders() if self.ids(name) or self._created(name).is_file()
        )

    def has(self, collection: str) -> bool:
        """Whether the collection holds a document or was created, without looking at all of it."""
        check_id(collection, "collection name")
        first = next(self._documents(collection).glob("*.json"), None)
        return first is not None or self._created(collection).is_file()

    def create(self, collection: str) -> bool:
        """Let a collection be there without a document; returns whether it was not."""
        new = not self.has(collection)
        make_folder(self._root / collection)
        with locked(self._lock(collection)):
            replace_file(self._created(collection), b"")
        return new

    def drop(self, collection: str) -> bool:
        """Let a collection without documents be there no longer; returns whether it was."""
        created = self._created(check_id(collection, "collection name"))
        if not created.is_file():
            return False
        created.unlink(missing_ok=True)
        sync_folder(created.parent)
        return True

    def count(self, collection: str | None = None) -> int:
        """How many documents the collection holds, or all collections together."""
        names = self._folders() if collection is None else [collection]
        return sum(len(self.ids(name)) for name in names)

    def _accept(self, text: str) -> tuple[str, str]:
        # UTF-8 has at least one byte per character: no need to encode what is far too long.
        size = len(text)
        if size <= self._max_bytes:
            text = require_text(normalise(text))
            encoded = text.encode("utf-8")
            size = len(encoded)
        if size > self._max_bytes:
            raise DocumentRefused(
                "too_large",
                f"The text is larger than {self._max_bytes} bytes; split it into smaller ones.",
            )
        return text, hashlib.sha256(encoded).hexdigest()

    def _readable(self, collection: str, id: str) -> Document | None:
        try:
            return self.find(collection, id)
        except DocumentCorrupt as error:
            logger.warning("%s", error)
            return None

    def _last_version(self, collection: str, id: str) -> int:
        """The highest version this id has had; read even from a damaged file where possible."""
        found = [0]
        for folder in (self._documents(collection), self._deleted(collection)):
            with suppress(FileNotFoundError):
                found += map(int, _VERSION.findall((folder / f"{id}.json").read_bytes()))
        return max(found)

    def _folders(self) -> Iterator[str]:
        if self._root.is_dir():
            yield from sorted(
                path.name
                for path in self._root.iterdir()
                if _ID.fullmatch(path.name) and path.is_dir()
            )

    def _documents(self, collection: str) -> Path:
        return self._root / collection / "documents"

    def _deleted(self, collection: str) -> Path:
        return self._root / collection / "deleted"

    def _created(self, collection: str) -> Path:
        return self._root / collection / "created"

    def _lock(self, collection: str) -> Path:
        return self._root / collection / "lock"

    def _path(self, collection: str, id: str) -> Path:
        check_id(collection, "collection name")
        return self._documents(collection) / f"{check_id(id)}.json"


def _accept_title(title: str | None) -> str | None:
    title = " ".join(only_text(normalise(title)).split()) if title else None
    if title and len(title) > MAX_TITLE_CHARACTERS:
        raise DocumentRefused(
            "bad_title", f"The title is longer than {MAX_TITLE_CHARACTERS} characters; shorten it."
        )
    return title or None


def _chosen_title(current: Document | None) -> str | None:
    """A title that someone chose; None for one that was derived from the text."""
    if current is None or current.title == title_of(current.text):
        return None
    return current.title


def _derive_id(title: str, sha256: str) -> str:
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_title).strip("-")[:60].strip("-")
    return f"{slug or 'document'}-{sha256[:12]}"


def id_of_name(name: str) -> str:
    """The id of a document that is known by the name of its file, with the folders it is in."""
    path = "/".join(part for part in normalise(name).replace("\\", "/").split("/") if part)
    # Of names that look alike here, such as those of other alphabets, each has its own digest.
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return _derive_id(path, digest)


def _to_json(document: Document) -> bytes:
    fields = asdict(document) | {"created_at": document.created_at.isoformat()}
    del fields["marks"]
    if document.marks:
        fields["marks"] = to_json(document.marks)
    return json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8")


def _from_json(data: bytes, collection: str, id: str) -> Document:
    try:
        fields: dict[str, Any] = json.loads(data)
        created_at = datetime.fromisoformat(fields["created_at"])
        marks = from_json(fields.pop("marks", []))
        document = Document(**fields | {"created_at": created_at, "marks": marks})
        intact = (
            (document.collection, document.id) == (collection, id)
            and document.sha256 == hashlib.sha256(document.text.encode("utf-8")).hexdigest()
            and isinstance(document.title, str)
            and type(document.version) is int
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        intact = False
    if not intact:
        raise DocumentCorrupt(
            f"Document {id} of collection {collection} is damaged; send it again or delete it."
        )
    return replace(document, title=shorten(document.title))
