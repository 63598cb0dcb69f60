"""The registry: which version of a document is current, and where versions are, kept in Redis.

It knows no blobs and no tensors. Everything in it may be lost: the blobs with their manifests are
the truth. Every change of more than one key is one Lua script; scripts name keys that they
compute, so the server is a single Redis, not a cluster.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import redis

from cartridge_store import registry_scripts as scripts
from cartridge_store.changes import Change, Changes
from cartridge_store.errors import BeingPublished, InvalidId, LostRace, RegistryUnavailable
from cartridge_store.ids import validate_cartridge_id, validate_id
from cartridge_store.manifest import Manifest
from cartridge_store.patience import Patience

Tier = Literal["device", "host", "disk", "object"]

_STALE_SECONDS = 300.0  # without a heartbeat
_PREFIX = re.compile(r"[a-z0-9:_-]{1,64}")


@dataclass(frozen=True)
class Location:
    """One place where a cartridge is, and when (Unix seconds) its node last said so."""

    node: str
    tier: Tier
    seen_at: float


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` that gives up within seconds, and for some seconds
    then at once.

    Nothing is sent yet. Raises RegistryUnavailable for any other URL.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=5.0,
            socket_connect_timeout=2.0,
            retry=Patience(),
        )
    except ValueError as error:
        # The URL may hold a password, so the message does not repeat it.
        raise RegistryUnavailable(
            "The Redis URL is not one; it must begin with redis://, rediss:// or unix://."
        ) from error


class Registry:
    """What Redis knows of cartridges, under keys that begin with `prefix`.

    Every method raises RegistryUnavailable when Redis cannot answer, and InvalidId for names that
    are none. `client` decodes responses, as `connect` makes it.
    """

    def __init__(self, client: redis.Redis, prefix: str = "cq:") -> None:
        if not _PREFIX.fullmatch(prefix):
            raise InvalidId(
                "The Redis prefix must be 1 to 64 lower-case letters, digits, ':', '_' or '-'."
            )
        self._client = client
        self._prefix = prefix
        self._claim = client.register_script(scripts.CLAIM)
        self._promote = client.register_script(scripts.PROMOTE)
        self._restore = client.register_script(scripts.RESTORE)
        self._retire = client.register_script(scripts.RETIRE)
        self._forget_version = client.register_script(scripts.FORGET_VERSION)
        self._lease = client.register_script(scripts.LEASE)
        self._forget_all = client.register_script(scripts.FORGET_ALL)

    def current(self, collection: str, document_ids: Sequence[str]) -> dict[str, str]:
        """The current version of each document that has one, in one round trip."""
        validate_id(collection, "collection")
        for document_id in document_ids:
            validate_id(document_id, "document id")
        if not document_ids:
            return {}
        with _explained():
            versions = cast(
                list[str | None],
                self._client.hmget(self._current_key(collection), list(document_ids)),
            )
        pairs = zip(document_ids, versions, strict=True)
        return {document_id: version for document_id, version in pairs if version is not None}

    def versions(self, collection: str, document_id: str) -> set[str]:
        """All versions of a document that were promoted."""
        with _explained():
            return cast(
                set[str],
                self._client.smembers(self._document_keys(collection, document_id)[1]),
            )

    def claim(self, manifest: Manifest, expected: str | None, seconds: float) -> None:
        """Be the one who may store this version to replace `expected`, until it is promoted or `seconds`
        are over. Claiming again is no change.

        Raises LostRace when another version is current, BeingPublished while another has the claim.
        """
        if expected is not None:
            validate_cartridge_id(expected)
        with _explained():
            outcome, other, registered = self._claim(
                keys=self._document_keys(manifest.collection, manifest.document_id),
                args=[
                    manifest.document_id,
                    manifest.cartridge_id,
                    expected or "",
                    max(1, round(seconds * 1000)),
                ],
            )
        if outcome == 2:
            raise BeingPublished(
                f"Version {other} of document {manifest.document_id} is being published; try again."
            )
        if not outcome:
            raise _lost(manifest, other, expected, registered=bool(registered))

    def is_claimed(self, collection: str, document_id: str) -> bool:
        """Whether a version of the document is on its way into the store."""
        with _explained():
            return bool(self._client.exists(self._document_keys(collection, document_id)[3]))

    def promote(self, manifest: Manifest, expected: str | None) -> None:
        """Make this version current if `expected` is, where None means that none is.

        Raises LostRace when another version is. Promoting the current version is no change.
        """
        if expected is not None:
            validate_cartridge_id(expected)
        with _explained():
            won, current, registered = self._promote(
                keys=self._document_keys(manifest.collection, manifest.document_id),
                args=[
                    manifest.document_id,
                    manifest.cartridge_id,
                    expected or "",
                    f"{manifest.collection}/{manifest.document_id}",
                    *_document_fields(manifest),
                ],
            )
        if not won:
            raise _lost(manifest, current, expected, registered=bool(registered))

    def restore(self, current: Manifest, versions: Iterable[str]) -> None:
        """Set what is known of one document, whatever was known before."""
        ids = [validate_cartridge_id(version) for version in versions]
        with _explained():
            self._restore(
                keys=self._document_keys(current.collection, current.document_id),
                args=[
                    current.document_id,
                    current.cartridge_id,
                    f"{current.collection}/{current.document_id}",
                    len(ids),
                    *ids,
                    *_document_fields(current),
                ],
            )

    def retire(self, collection: str, document_id: str, *, expected: str | None = None) -> set[str]:
        """Forget a document, its versions, their locations and heat; returns the versions.

        With `expected`, nothing happens unless that version is current.
        """
        with _explained():
            versions = self._retire(
                keys=[*self._document_keys(collection, document_id), self._prefix + "heat"],
                args=[
                    document_id,
                    self._prefix + "locations:",
                    expected or "",
                    f"{collection}/{document_id}",
                ],
            )
        return set(versions)

    def beat(
        self,
        node: str,
        held: Iterable[tuple[Tier, str]],
        seconds: float,
        uses: Mapping[str, int] | None = None,
    ) -> None:
        """A node's heartbeat: what it holds in which tier, kept from being collected for `seconds`.

        `uses` of cartridges since the last beat are added to their heat. One transaction.
        """
        places = [(_location_field(node, tier), validate_cartridge_id(name)) for tier, name in held]
        members = sorted({f"{name}/{node}" for _, name in places})
        now = time.time()
        with _explained(), self._client.pipeline() as pipeline:
            for field, name in places:
                pipeline.hset(self._locations_key(name), field, repr(now))
            for name, count in (uses or {}).items():
                pipeline.zincrby(self._prefix + "heat", count, validate_cartridge_id(name))
            if members:
                self._lease(
                    keys=[self._prefix + "leases"],
                    args=[now, now + seconds, *members],
                    client=pipeline,
                )
            pipeline.execute()

    def forget_location(self, node: str, tier: Tier, cartridge_id: str) -> None:
        """Say that the cartridge is there no longer."""
        key, field = self._locations_key(cartridge_id), _location_field(node, tier)
        with _explained():
            self._client.hdel(key, field)

    def locations(self, cartridge_ids: Sequence[str]) -> dict[str, tuple[Location, ...]]:
        """Where each cartridge is, in one round trip; an empty tuple when nowhere.

        A node that has not said so for five minutes is taken to be gone.
        """
        keys = [self._locations_key(cartridge_id) for cartridge_id in cartridge_ids]
        with _explained(), self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            answers = pipeline.execute()
        pairs = zip(cartridge_ids, answers, strict=True)
        return {cartridge_id: _locations(answer) for cartridge_id, answer in pairs}

    def heat(self, cartridge_ids: Sequence[str]) -> dict[str, float]:
        """How often each cartridge was used, in one round trip."""
        if not cartridge_ids:
            return {}
        ids = [validate_cartridge_id(cartridge_id) for cartridge_id in cartridge_ids]
        with _explained():
            counts = self._client.zmscore(self._prefix + "heat", list(ids))
        return {name: count or 0.0 for name, count in zip(ids, counts, strict=True)}

    def lease(self, node: str, cartridge_ids: Sequence[str], seconds: float) -> None:
        """Keep these from being collected until `seconds` from now, for one node."""
        ids = [validate_cartridge_id(cartridge_id) for cartridge_id in cartridge_ids]
        members = [f"{name}/{validate_id(node, 'node name')}" for name in ids]
        now = time.time()
        with _explained():
            self._lease(keys=[self._prefix + "leases"], args=[now, now + seconds, *members])

    def leased(self) -> set[str]:
        """The cartridges that some node's lease keeps now, in one round trip."""
        with _explained():
            held = self._client.zrangebyscore(self._prefix + "leases", time.time(), "+inf")
        return {str(member).split("/")[0] for member in cast(list[str], held)}

    def forget_version(self, manifest: Manifest) -> None:
        """Forget one version of a document that is not its current one, with locations and heat."""
        collection, document_id = manifest.collection, manifest.document_id
        name = manifest.cartridge_id
        with _explained():
            self._forget_version(
                keys=[
                    *self._document_keys(collection, document_id),
                    self._prefix + "heat",
                    self._locations_key(name),
                ],
                args=[document_id, name, f"{collection}/{document_id}"],
            )

    def follow(self, changed: Callable[[Change], None], missed: Callable[[], None]) -> Changes:
        """Hear of every change of a current version until that is closed; see `Changes`."""
        return Changes(self._client, self._prefix + "changes", changed, missed)

    def forget_all(self) -> None:
        """Remove every key of this registry and no other."""
        with _explained():
            self._forget_all(args=[self._prefix + "*"])

    def _current_key(self, collection: str) -> str:
        return f"{self._prefix}current:{validate_id(collection, 'collection')}"

    def _document_keys(self, collection: str, document_id: str) -> list[str]:
        document = f"{collection}/{validate_id(document_id, 'document id')}"
        return [
            self._current_key(collection),
            f"{self._prefix}versions:{document}",
            f"{self._prefix}document:{document}",
            f"{self._prefix}claim:{document}",
            f"{self._prefix}changes",
        ]

    def _locations_key(self, cartridge_id: str) -> str:
        return f"{self._prefix}locations:{validate_cartridge_id(cartridge_id)}"


def _lost(manifest: Manifest, current: str, expected: str | None, *, registered: bool) -> LostRace:
    return LostRace(
        f"Document {manifest.document_id} is at version {current or 'none'}, not "
        f"{expected or 'none'}; train again from the current version.",
        current=current or None,
        registered=registered,
    )


def _document_fields(manifest: Manifest) -> list[Any]:
    return [
        "cartridge_id",
        manifest.cartridge_id,
        "document_sha256",
        manifest.document_sha256,
        "document_tokens",
        manifest.document_tokens,
        "slots",
        manifest.slots,
        "created_at",
        manifest.created_at,
    ]


def _location_field(node: str, tier: Tier) -> str:
    if tier not in get_args(Tier):
        raise InvalidId(f"{tier!r} is not a tier; use one of {get_args(Tier)}.")
    return f"{validate_id(node, 'node name')}/{tier}"


def _locations(answer: dict[str, str]) -> tuple[Location, ...]:
    places = ([*field.split("/"), seen_at] for field, seen_at in sorted(answer.items()))
    found = (Location(node, cast(Tier, tier), float(seen_at)) for node, tier, seen_at in places)
    oldest = time.time() - _STALE_SECONDS
    return tuple(location for location in found if location.seen_at >= oldest)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise RegistryUnavailable(
            f"Redis does not answer as it should ({error}); check that it runs and that its disk "
            "has room, then try again."
        ) from error
