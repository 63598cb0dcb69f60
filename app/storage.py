"""What settings say of where things are kept: Redis, cartridges, documents and their indexes, opened.

Knows no model and no job.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from app.conflicts import Conflicts
from app.settings import Settings
from cartridge_store.blobs import BlobStore, LocalBlobs
from cartridge_store.disk_tier import DiskTier
from cartridge_store.embedded import EmbeddedRedis, running_url
from cartridge_store.errors import RegistryUnavailable
from cartridge_store.object_blobs import ObjectBlobs
from cartridge_store.registry import Registry, connect
from cartridge_store.residency import Budget
from cartridge_store.store import CartridgeStore
from retrieval.documents import DocumentLibrary
from retrieval.encoder import Encoder
from retrieval.retriever import Retriever


def redis_url(settings: Settings) -> str:
    """The Redis to use: the one that is named, else the one embedded in the data folder.

    Raises RegistryUnavailable when there is neither.
    """
    url = settings.redis_url or running_url(redis_folder(settings))
    if url is None:
        raise RegistryUnavailable(
            f"No service runs on the data folder {settings.data}; start 'cartridges serve' or name "
            "a Redis with CARTRIDGES_REDIS_URL."
        )
    return url


@contextlib.contextmanager
def redis_at_hand(settings: Settings) -> Iterator[Settings]:
    """Settings that name a Redis: the named one, the running one, or one started for this block."""
    with contextlib.ExitStack() as open_:
        url = settings.redis_url or running_url(redis_folder(settings))
        if url is None:
            url = open_.enter_context(EmbeddedRedis(redis_folder(settings))).url
        yield settings.model_copy(update={"redis_url": url})


def require_redis(url: str) -> None:
    """Raise RegistryUnavailable unless the server answers: better at the start than at the end."""
    with connect(url) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            raise RegistryUnavailable(
                "Redis does not answer; check that it runs and that CARTRIDGES_REDIS_URL names it."
            ) from error


def redis_folder(settings: Settings) -> Path:
    """Where the embedded Redis keeps its file."""
    return settings.data / "redis"


def registry_prefix(settings: Settings) -> str:
    """What the registry's keys begin with; its own, since rebuilding it forgets them all."""
    return f"{settings.redis_prefix}registry:"


@contextlib.contextmanager
def open_store(settings: Settings) -> Iterator[CartridgeStore]:
    """The cartridges alone, for what needs no reader. Raises RegistryUnavailable."""
    with (
        connect(redis_url(settings)) as client,
        contextlib.closing(make_store(settings, client)) as s,
    ):
        yield s


def open_disk(settings: Settings) -> DiskTier | None:
    """Copies of what is kept far away, for the one process that answers questions."""
    if settings.blobs_url is None or not settings.disk_bytes:
        return None
    return DiskTier(settings.data / "copies" / settings.node, settings.disk_bytes)


def make_store(
    settings: Settings, client: redis.Redis, disk: DiskTier | None = None, *, pinned: bool = False
) -> CartridgeStore:
    """The cartridges, in the data folder or where the settings name an object store."""
    blobs: BlobStore
    if settings.blobs_url is None:
        blobs = LocalBlobs(settings.data / "cartridges")
    else:
        blobs = ObjectBlobs(settings.blobs_url, settings.blobs_options)
    return CartridgeStore(
        blobs,
        Registry(client, registry_prefix(settings)),
        node=settings.node,
        budget=Budget(host_bytes=settings.host_bytes, pinned=pinned),
        disk=disk,
    )


def open_library(settings: Settings) -> DocumentLibrary:
    """The documents on disk."""
    return DocumentLibrary(settings.data / "documents", max_bytes=settings.max_upload_bytes)


def open_conflicts(settings: Settings) -> Conflicts:
    """What is known of documents that turn others' answers."""
    return Conflicts(settings.data / "conflicts")


def open_retriever(settings: Settings, encoder: Encoder, library: DocumentLibrary) -> Retriever:
    """The search over the library."""
    hidden = open_conflicts(settings).holds
    return Retriever(library, encoder, settings.data / "indexes", hidden)
