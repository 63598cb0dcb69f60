"""API keys: made once, kept as hashes in the data folder, looked up in constant time.

A key is `cq_<id>_<secret>`; the id is public and names it in lists and in the audit log. The file is read
again when it has changed, so that a revoked key ends with the next request. Knows no route and no HTTP.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from retrieval.documents import check_id
from retrieval.durable import locked, make_folder, replace_file

Scope = Literal["read", "write", "admin"]
_RANK: dict[Scope, int] = {"read": 0, "write": 1, "admin": 2}
_KEY = re.compile(r"cq_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64


class KeyRefused(ValueError):
    """A key cannot be made or found; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a request may do. `collections` None: all of them; `key_id` None: nobody needs a key here."""

    key_id: str | None
    scope: Scope
    collections: frozenset[str] | None

    def may(self, scope: Scope) -> bool:
        """Whether it may do what needs this scope; admin includes write, write includes read."""
        return _RANK[self.scope] >= _RANK[scope]

    def sees(self, collection: str) -> bool:
        """Whether it may know of this collection."""
        return self.collections is None or collection in self.collections


ANYBODY = Access(None, "admin", None)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is kept. `collections` empty: all of them."""

    id: str
    name: str
    sha256: str
    scope: Scope
    collections: tuple[str, ...]
    created_at: str

    @property
    def access(self) -> Access:
        """What its bearer may do."""
        return Access(self.id, self.scope, frozenset(self.collections) or None)


class KeyRing:
    """The keys of one data folder, and hashes of full keys that the settings name beside them."""

    def __init__(self, folder: Path, hashes: Sequence[str] = ()) -> None:
        self._path = folder / "access" / "keys.json"
        self._hashes = tuple(hashes)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._were = False  # keys, at any time since this process began
        self._records: dict[str, KeyRecord] = {}

    @property
    def needed(self) -> bool:
        """Whether requests need a key: there is one, or there was one.

        The folder tells: a file of keys that was deleted does not open the door.
        """
        self._were = self._were or bool(self._hashes) or self._path.parent.exists()
        return self._were

    def access(self, key: str) -> Access | None:
        """What the bearer of `key` may do; None for one that is not accepted.

        Takes the same time for every key that is not.
        """
        given = key_hash(key)
        # All are compared, so that the time does not tell which one it was.
        named = [known for known in self._hashes if hmac.compare_digest(given, known)]
        match = _KEY.fullmatch(key)
        record = self._read().get(match[1]) if match else None
        mine = hmac.compare_digest(given, record.sha256 if record else _NOBODY)
        if record is not None and mine:
            return record.access
        # Each is somebody of its own: limits and idempotency keys are counted by the id.
        return Access(f"settings-{named[0][:8]}", "admin", None) if named else None

    def create(
        self, name: str, scope: Scope = "read", collections: Collection[str] = ()
    ) -> tuple[KeyRecord, str]:
        """A new key: its record, and the key itself, which is kept nowhere. Raises KeyRefused."""
        if scope not in get_args(Scope):
            raise KeyRefused(f"The scope must be one of {', '.join(get_args(Scope))}.")
        if not 0 < len(name.strip()) <= 100 or not name.isprintable():
            raise KeyRefused("Name the key in 1 to 100 characters, after who is going to use it.")
        for collection in collections:
            check_id(collection, "collection name")
        key_id = secrets.token_hex(6)
        key = f"cq_{key_id}_{secrets.token_urlsafe(32)}"
        record = KeyRecord(
            key_id,
            name.strip(),
            key_hash(key),
            scope,
            tuple(sorted(set(collections))),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._change(lambda records: records | {key_id: record})
        return record, key

    def revoke(self, key_id: str) -> KeyRecord:
        """Forget a key. Raises KeyRefused when there is none with this id."""
        record = self._read().get(key_id)
        if record is None:
            raise KeyRefused(f"There is no key {key_id[:40]}; 'cartridges keys list' names them.")
        self._change(lambda records: {i: r for i, r in records.items() if i != key_id})
        return record

    def records(self) -> list[KeyRecord]:
        """All keys of the folder, oldest first."""
        return sorted(self._read().values(), key=lambda record: (record.created_at, record.id))

    def _change(self, change: Callable[[dict[str, KeyRecord]], dict[str, KeyRecord]]) -> None:
        make_folder(self._path.parent)
        self._path.parent.chmod(0o700)
        with locked(self._path.with_suffix(".lock")):
            records = change(self._read())
            listed = [asdict(record) for record in records.values()]
            replace_file(self._path, json.dumps({"keys": listed}, indent=1).encode())

    def _read(self) -> dict[str, KeyRecord]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return {}
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        with self._lock:
            if seen != self._seen:
                self._records = _records(self._path.read_bytes())
                self._seen = seen
            return self._records


def _records(data: bytes) -> dict[str, KeyRecord]:
    try:
        fields = json.loads(data)["keys"]
        records = [
            KeyRecord(**each | {"collections": tuple(each["collections"])}) for each in fields
        ]
    except (ValueError, TypeError, KeyError) as error:
        # Nobody gets in by a file that cannot be read.
        raise KeyRefused(
            "keys.json is damaged; restore it, or remove it and make new keys: nobody gets in meanwhile."
        ) from error
    return {record.id: record for record in records}


def key_hash(key: str) -> str:
    """SHA-256 of a key in hex, as the settings and the file hold it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
