"""The check-up behind `doctor`: what is examined and, when asked for, made again from the disk."""

from collections.abc import Iterator
from dataclasses import dataclass

import redis

from app.parts import Parts
from app.settings import Settings
from app.storage import (
    open_library,
    open_retriever,
    open_store,
    redis_at_hand,
    redis_url,
    require_redis,
)
from cartridge_store.errors import StoreError
from inference.reader import ReaderError
from retrieval.errors import RetrievalError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what was found, as a sentence."""

    name: str
    ok: bool
    detail: str


def examine(
    settings: Settings, parts: Parts | None = None, *, rebuild: bool = False
) -> list[Finding]:
    """Look at everything. Does not raise for what it finds; leaves a running service alone."""
    parts = parts or Parts()
    return [
        _reader(settings, parts),
        *_redis_and_cartridges(settings, rebuild),
        *_indexes(settings, parts, rebuild),
    ]


def _reader(settings: Settings, parts: Parts) -> Finding:
    try:
        reader = parts.reader(settings)
    except ReaderError as error:
        return Finding("reader", False, str(error))
    return Finding("reader", True, f"{reader.name} ({reader.fingerprint[:12]}) loads.")


def _redis_and_cartridges(settings: Settings, rebuild: bool) -> Iterator[Finding]:
    try:
        with redis_at_hand(settings) as named, open_store(named) as store:
            require_redis(redis_url(named))
            yield Finding("redis", True, "It answers.")
            count, problems = store.inspect()
            whole = f"{count} are whole."
            broken = " ".join(f"{problem.name}: {problem.reason}" for problem in problems)
            yield Finding("cartridges", not problems, broken or whole)
            if rebuild:
                count = store.rebuild()
                said = f"Rebuilt: {count} documents have a cartridge; a service trains others at its start."
                yield Finding("registry", True, said)
    except (StoreError, redis.RedisError) as error:
        yield Finding("redis", False, str(error))


def _indexes(settings: Settings, parts: Parts, rebuild: bool) -> Iterator[Finding]:
    library = open_library(settings)
    retriever = open_retriever(settings, parts.encoder(), library)
    for collection in library.collections():
        name = f"index of {collection}"
        try:
            ids = library.ids(collection)
            if rebuild:
                # What is whole stays: a running service goes on searching it.
                added, removed = retriever.reconcile(collection)
                detail = f"{added} added, {removed} removed: {len(ids)} documents."
                yield Finding(name, True, detail)
                continue
            there = (library.find(collection, id) for id in ids)
            missing = [each.id for each in there if each is not None and retriever.lacks(each)]
            detail = f"{len(ids)} documents are searchable."
            if missing:
                detail = (
                    f"{len(missing)} of {len(ids)} documents are not searchable; use --rebuild."
                )
            yield Finding(name, not missing, detail)
        except RetrievalError as error:
            yield Finding(name, False, str(error))
