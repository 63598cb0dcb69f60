"""The file of a collection's archive: what may be in it, how it is written, and that it is whole.

A plain tar: `archive.json` with a checksum of every other member, then `texts/ID.txt`, each before its
`cartridges/ID.safetensors`. Nothing is ever extracted to a path. This file knows no library and no store.
"""

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cartridge_store.blobs import NO_ROOM
from cartridge_store.errors import CartridgeRefused, StorageFull, StoreError
from cartridge_store.format import from_bytes
from retrieval.documents import check_id
from retrieval.errors import DocumentRefused
from retrieval.marks import from_json
from retrieval.text import is_text
from training.conflicts import Conflict

Report = Callable[[float], None]

FORMAT = 1
_LIST = "archive.json"
_LARGEST_LIST = 256 << 20
_LARGEST_MEMBER = 8 << 30
_MEMBER = re.compile(
    r"(texts/[a-z0-9][a-z0-9._-]{0,127}\.txt)|(cartridges/c[0-9a-f]{40}\.safetensors)"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONFLICTS: TypeAdapter[tuple[Conflict, ...] | None] = TypeAdapter(tuple[Conflict, ...] | None)


class ArchiveRefused(StoreError):
    """The file is no archive of a collection, or is damaged; nothing was imported."""


def write_archive(target: Path, head: dict[str, Any], members: Iterable[tuple[str, bytes]]) -> None:
    """Write list and members to `target`, whole or not at all. Raises StorageFull, and StoreError for more
    documents than one archive may hold."""
    listed = json.dumps(head, ensure_ascii=True).encode()
    if len(listed) > _LARGEST_LIST:
        raise StoreError(
            f"The list of {target.name} would have {len(listed):,} bytes and may have {_LARGEST_LIST:,}: "
            "that many documents do not fit into one archive."
        )
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                _add(tar, _LIST, listed)
                for name, data in members:
                    _add(tar, name, data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        advice = "free some space" if error.errno in NO_ROOM else "choose another place"
        raise StorageFull(f"{target} cannot be written: {error.strerror}; {advice}.") from error
    finally:
        aside.unlink(missing_ok=True)


def described(data: bytes) -> dict[str, Any]:
    """What the list says of a member."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def text_name(document_id: str) -> str:
    """The member that holds a document's text."""
    return f"texts/{document_id}.txt"


def cartridge_name(cartridge_id: str) -> str:
    """The member that holds a cartridge."""
    return f"cartridges/{cartridge_id}.safetensors"


def conflicts_of(listed: Mapping[str, Any]) -> tuple[Conflict, ...] | None:
    """What a document of the list is held back for; None where it is not. Raises ValueError."""
    found = _CONFLICTS.validate_python(listed.get("held"))
    if not all(is_text(said) for each in found or () for said in astuple(each)):
        raise ValueError("What a document is held back for is no text.")
    return found


def verified(source: Path, accept: Callable[[str, str], None], report: Report) -> dict[str, Any]:
    """The list of an archive whose every member is there, whole, and named as it may be.

    `accept` is given every title and text, and raises for one that may not come in.
    """
    found = members(source)
    first = next(found, None)
    if first is None or first[0] != _LIST:
        raise ArchiveRefused(f"{source} is not an archive of a collection.")
    head = _list(first[1], source)
    titles = {text_name(each["id"]): each["title"] for each in head["documents"]}
    missing = dict(head["members"])
    owner = {  # a text stands before its cartridge
        cartridge_name(each["cartridge"]): text_name(each["id"]) for each in head["documents"]
    }
    for name, data in found:
        expected = missing.pop(name, None)
        if expected is None or described(data) != expected or owner.get(name) in missing:
            raise ArchiveRefused(f"{source} is damaged at {name}; export the collection again.")
        _require_content(name, data, source)
        if name in titles:
            accept(titles[name], data.decode("utf-8"))
        report(1 - len(missing) / len(head["members"]))
    if missing:
        raise ArchiveRefused(f"{source} ends too early: {sorted(missing)[0]} is not in it.")
    return head


def _require_content(name: str, data: bytes, source: Path) -> None:
    """Raise ArchiveRefused unless a member is what its name says."""
    try:
        if name.startswith("texts/"):
            data.decode("utf-8")
            return
        cartridge = from_bytes(data)
        if name != cartridge_name(cartridge.id):
            raise ArchiveRefused(f"{source}: {name} holds another cartridge.")
        cartridge.require_finite()
    except (UnicodeDecodeError, CartridgeRefused) as error:
        raise ArchiveRefused(f"{source}: {name}: {error}") from error


def _list(data: bytes, source: Path) -> dict[str, Any]:
    """`archive.json`, every field checked."""
    refused = ArchiveRefused(f"The list of {source} is damaged or of a later format.")
    try:
        head = json.loads(data)
        listed, documents = head["members"], head["documents"]
        texts = {text_name(each["id"]): each["sha256"] for each in documents}
        held = {cartridge_name(e["cartridge"]) for e in documents if e["cartridge"]}
        check_id(head["collection"], "collection name")
        for each in documents:
            check_id(each["id"])
            from_json(each.get("marks", []))
            conflicts_of(each)
        fine = (
            head["format"] == FORMAT
            and len(texts) == len(documents) > 0
            and set(listed) == texts.keys() | held
            and all(_MEMBER.fullmatch(name) for name in listed)
            and all(isinstance(each["title"], str) for each in documents)
            and all(_SHA256.fullmatch(each["sha256"]) for each in listed.values())
            and all(type(each["bytes"]) is int for each in listed.values())
            and all(listed[name]["sha256"] == sha256 for name, sha256 in texts.items())
        )
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
        DocumentRefused,
    ) as error:
        raise refused from error
    if not fine:
        raise refused
    found: dict[str, Any] = head
    return found


def members(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes in the archive's order; nothing is ever extracted to a path."""
    try:
        with tarfile.open(source, mode="r:") as tar:
            for info in tar:
                largest = _LARGEST_LIST if info.name == _LIST else _LARGEST_MEMBER
                if not info.isreg() or info.issparse() or info.size > largest:
                    raise ArchiveRefused(
                        f"{source} holds something that is no member's plain bytes."
                    )
                file = tar.extractfile(info)
                assert file is not None
                yield info.name, file.read()
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        raise ArchiveRefused(f"{source} cannot be read as an archive: {error}.") from error


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))
