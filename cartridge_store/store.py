"""The cartridge store: publishes, finds, loads and removes cartridges over blobs and a registry.

It knows no device, no reader and no HTTP. The blobs are the truth and the registry is the index;
when the registry does not answer, the store answers from what it knows and says so.
"""

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cartridge_store.blobs import BlobStore
from cartridge_store.cartridge import Cartridge
from cartridge_store.catalogue import Catalogue, Document, by_document, newest
from cartridge_store.changes import Change, Changes
from cartridge_store.collecting import decide
from cartridge_store.disk_tier import DiskTier
from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    DocumentDeleted,
    LostRace,
    RegistryUnavailable,
    StoreError,
)
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name, validate_id
from cartridge_store.inspection import Inspection, Problem
from cartridge_store.manifest import Manifest, utc_before, utc_now
from cartridge_store.registry import Location, Registry
from cartridge_store.residency import Budget, Held, Residency
from cartridge_store.tombstones import Tombstone, Tombstones, tombstone_name
from cartridge_store.versions import Health, Versions

logger = logging.getLogger(__name__)

_LEASE_SECONDS = 600.0  # a cartridge that was just loaded is not collected


@dataclass(frozen=True)
class Description:
    """A stored cartridge without its tensors; no locations when the registry does not answer."""

    manifest: Manifest
    locations: tuple[Location, ...]


class CartridgeStore:
    """Cartridges by id, and the current one of each document; safe to share between threads.

    `budget` bounds what is kept in memory, `disk` holds copies of blobs that are far away; a publisher
    that died blocks others of its document for `claim_seconds`.
    """

    def __init__(
        self,
        blobs: BlobStore,
        registry: Registry,
        node: str = "local",
        budget: Budget | None = None,
        disk: DiskTier | None = None,
        claim_seconds: float = 60.0,
    ) -> None:
        self._blobs = blobs
        self._registry = registry
        self._claim_seconds = claim_seconds
        self._node = validate_id(node, "node name")
        self._catalogue = Catalogue(blobs)
        self._tombstones = Tombstones(blobs)
        self._inspection = Inspection(blobs, self._tombstones)
        self._residency = Residency(blobs, budget or Budget(), disk, self._moved)
        self._lock = threading.Lock()
        self._uses: Counter[str] = Counter()  # loads since the last heartbeat
        self._health = Health()
        self._versions = Versions(registry, self._catalogue, self._health, self._release)
        self._let_go: list[Callable[[str], None]] = []
        self._gone: list[Callable[[str, str], None]] = []
        self._deaf: list[Callable[[], None]] = []

    @property
    def degraded(self) -> bool:
        """Whether the registry failed to answer the last time it was asked."""
        return self._health.degraded

    def publish(self, cartridge: Cartridge) -> str:
        """Store the cartridge and make it its document's current version; returns its id.

        It replaces `manifest.parent` (None: no version) and nothing else; publishing the current
        version again is no change. Old versions stay as blobs. Raises LostRace when another
        version came first, BeingPublished while another is on its way, DocumentDeleted when it was
        made before its document was deleted, StorageFull, and RegistryUnavailable; publishing again
        completes what was interrupted.
        """
        manifest = cartridge.manifest
        if self._tombstones.bury(manifest):
            raise _deleted(manifest)
        name, data = blob_name(manifest.cartridge_id), to_bytes(cartridge)
        try:
            # First the claim: of two blobs that would replace the same version, nobody could tell
            # which one had won if Redis were lost.
            self._registry.claim(manifest, manifest.parent, self._claim_seconds)
            self._blobs.put(name, data)
            self._registry.promote(manifest, expected=manifest.parent)
            if self._tombstones.bury(manifest):
                # Deleted while it was on its way: the deletion had no version to remove yet. Only this
                # one goes: what was sent since the deletion lives.
                self.withdraw(manifest)
                raise _deleted(manifest)
        except LostRace as lost:
            # A version that never was current must not come back with a rebuild.
            if not lost.registered:
                self._blobs.delete(name)
            raise
        except RegistryUnavailable:
            self._health.degraded = True
            raise
        self._health.degraded = False
        self._versions.made((manifest.collection, manifest.document_id), manifest.cartridge_id)
        return manifest.cartridge_id

    def load(self, cartridge_id: str) -> Cartridge:
        """The verified cartridge, from memory or with one read however many ask at once.

        Raises CartridgeNotFound, and CartridgeRefused when its bytes are not what was published.
        """
        cartridge = self._residency.load(cartridge_id)
        with self._lock:
            self._uses[cartridge_id] += 1
        return cartridge

    @property
    def reads(self) -> Mapping[str, int]:
        """Loads so far by where the cartridge was found: host, disk or blobs."""
        return self._residency.reads

    def prefetch(self, cartridge_ids: Iterable[str]) -> None:
        """Begin to load these beside whatever else is done; `load` then waits for less."""
        self._residency.prefetch(cartridge_ids)

    def beat(self) -> None:
        """Say again what this node holds and keep it from being collected; what blobs are gone is let go,
        and so is what was replaced and is used no more.

        To be called more often than leases end. While the registry does not answer it is told nothing,
        and uses are counted on.
        """
        held = self._residency.held()
        with self._lock:
            uses, self._uses = self._uses, Counter()
        replaced = self._let_replaced_go({name for _, name in held if name not in uses})
        held = [(tier, name) for tier, name in held if name not in replaced]
        try:
            stored = set(self._blobs.names()) if held or uses else set()
        except StoreError as error:
            logger.warning("%s", error)
            stored = {blob_name(name) for name in (*(name for _, name in held), *uses)}
        # What is gone would have its heat for ever.
        uses = Counter({name: n for name, n in uses.items() if blob_name(name) in stored})
        for _, cartridge_id in held:
            if blob_name(cartridge_id) not in stored:
                self._residency.drop(cartridge_id)
        here = [(tier, name) for tier, name in held if blob_name(name) in stored]
        try:
            self._registry.beat(self._node, here, _LEASE_SECONDS, uses)
        except RegistryUnavailable:
            self._health.degraded = True
            with self._lock:
                self._uses += uses  # for the next time

    def _let_replaced_go(self, cartridge_ids: Iterable[str]) -> set[str]:
        """Let go of those that another version has replaced, and say which: before this process began, or
        while one who had found it still brought it here. Leased on, nobody could ever collect it.
        """
        replaced: set[str] = set()
        documents: dict[str, dict[str, str]] = {}
        for cartridge_id, document in self._catalogue.documents(cartridge_ids).items():
            documents.setdefault(document[0], {})[cartridge_id] = document[1]
        for collection, ids in documents.items():
            try:
                current = self._registry.current(collection, sorted(set(ids.values())))
            except RegistryUnavailable:
                self._health.degraded = True
                break
            # A registry that has lost its versions says of none that it was replaced.
            replaced |= {id for id, name in ids.items() if current.get(name, id) != id}
        for cartridge_id in replaced:
            self._release(cartridge_id)
        return replaced

    def follow(
        self,
        let_go: Callable[[str], None] | None = None,
        gone: Callable[[str, str], None] | None = None,
        missed: Callable[[], None] | None = None,
    ) -> Changes:
        """Let go of versions as soon as they are replaced or removed anywhere, until that is closed.

        `let_go` is told their ids, whoever replaced them and whether or not they were here; `gone` is told
        collection and id of a document that has no version any more, or had none when it was removed.
        `missed` is called when something may have been said that nobody could hear: versions are looked up
        again then, documents are not.
        """
        if let_go is not None:
            self._let_go.append(let_go)
        if gone is not None:
            self._gone.append(gone)
        if missed is not None:
            self._deaf.append(missed)
        return self._registry.follow(self._changed, self._missed)

    def probe(self) -> None:
        """Ask the blobs for anything. Raises StoreError when they do not answer."""
        self._blobs.exists("probe")

    def close(self) -> None:
        """Fetch nothing ahead any more."""
        self._residency.close()

    def current(self, collection: str, document_ids: Sequence[str]) -> dict[str, str]:
        """The current version of each document that has one.

        Without the registry: as last seen by this process, else as the blobs' manifests say.
        """
        return self._versions.current(collection, document_ids)

    def stored(self) -> Mapping[tuple[str, str], Sequence[Manifest]]:
        """The stored versions of each document, by collection and id; lists every blob."""
        return by_document(self._catalogue.manifests())

    def remove_document(
        self,
        collection: str,
        document_id: str,
        stored: Mapping[tuple[str, str], Sequence[Manifest]] | None = None,
    ) -> list[str]:
        """Forget a document and delete the blobs of all its versions; returns their ids.

        A tombstone stays where there was a version, one on its way or a damaged tombstone: the deletion is
        final. Raises
        RegistryUnavailable before anything is removed. When it is interrupted, removing again
        completes, and so do `rebuild` and `collect`. Who removes many gives what is `stored`: what came
        since is in the registry.
        """
        known = (self.stored() if stored is None else stored).get((collection, document_id), [])
        versions = {manifest.cartridge_id for manifest in known}
        on_its_way = self._registry.is_claimed(collection, document_id)
        versions_known = versions | self._registry.versions(collection, document_id)
        if on_its_way or versions_known or self._tombstones.is_damaged(collection, document_id):
            self._tombstones.put(Tombstone(collection, document_id, utc_now()))
        # The registry before the blobs: from here on nobody is sent to one that is about to go.
        versions |= self._registry.retire(collection, document_id)
        self._versions.made((collection, document_id), None)
        for version in versions:
            self._drop(version)
        return sorted(versions)

    def withdraw(self, manifest: Manifest) -> bool:
        """Take a version back: what it had replaced is current again; returns whether it was current.

        A version that has replaced it stays. It is deleted in any case, at once: whoever was about to load
        it finds nothing. Raises RegistryUnavailable, and StoreUnavailable before anything is removed.
        """
        document, id = (manifest.collection, manifest.document_id), manifest.cartridge_id
        before = None
        if manifest.parent is not None:
            with contextlib.suppress(CartridgeNotFound, CartridgeRefused):
                before = self._catalogue.manifest(manifest.parent)
        # The blob before the registry: a crash between leaves a current version that is not there, which
        # `collect` makes good, and not one that it would find and finish.
        self._drop(id)
        try:
            if before is not None:
                self._registry.promote(before, expected=id)
            elif not self._registry.retire(*document, expected=id):
                return False
        except LostRace:
            return False
        finally:
            self._registry.forget_version(manifest)
        self._versions.made(document, manifest.parent if before is not None else None)
        return True

    def collect(self, grace_seconds: float) -> list[str]:
        """Delete the blobs that nobody needs any more; returns their cartridges' ids.

        That is what was made before its document was deleted, what was replaced at least
        `grace_seconds` ago, and what lost a race; never what a lease keeps, and nothing of a document
        of which the registry knows no version. A version that was stored that long ago to become
        current, and never promoted because its publisher died, is promoted now; and so is the newest where
        the current one's blob is not there. Raises RegistryUnavailable.
        """
        leased = self._registry.leased()
        old = utc_before(grace_seconds)
        collected = []
        # One listing, and not a look for each document: nearly none was deleted.
        names = set(self._blobs.names())
        for (collection, document_id), versions in by_document(self._catalogue.manifests()).items():
            current = self._registry.current(collection, [document_id]).get(document_id)
            try:
                buried = tombstone_name(collection, document_id) in names
                tombstone = self._tombstones.find(collection, document_id) if buried else None
            except CartridgeRefused as error:
                logger.warning("%s", error)
                continue
            if tombstone is not None:
                versions = self._catalogue.again(versions)
            is_stored = any(version.cartridge_id == current for version in versions)
            # One that was published since the versions were listed has a blob.
            is_lost = (
                current is not None and not is_stored and not self._blobs.exists(blob_name(current))
            )
            decision = decide(versions, None if is_lost else current, tombstone, leased, old)
            # It may have been deleted since it was listed.
            if decision.finish is not None and not self._inspection.may_be_buried(decision.finish):
                with contextlib.suppress(LostRace):
                    self._registry.promote(decision.finish, expected=current)
            if decision.retire:
                self._registry.retire(collection, document_id, expected=current)
            for version in decision.drop:
                self._drop(version.cartridge_id)
                self._registry.forget_version(version)
                collected.append(version.cartridge_id)
        return sorted(collected)

    def manifest(self, cartridge_id: str) -> Manifest:
        """The manifest, the tensors unread; raises as `load` does."""
        return self._catalogue.manifest(cartridge_id)

    def describe(self, cartridge_id: str) -> Description:
        """The manifest and the known locations, the tensors unread; raises as `load` does."""
        manifest = self._catalogue.manifest(cartridge_id)
        try:
            locations = self._registry.locations([cartridge_id])[cartridge_id]
        except RegistryUnavailable:
            self._health.degraded = True
            locations = ()
        return Description(manifest, locations)

    def verify(self) -> list[Problem]:
        """Read every blob whole and return those that are not valid cartridges."""
        return self.inspect()[1]

    def inspect(self) -> tuple[int, list[Problem]]:
        """Read every blob whole: how many are valid cartridges, and those that are not."""
        return self._inspection.all()

    def documents(self) -> set[Document]:
        """(collection, document id) of everything that has a cartridge stored, current or not."""
        return set(by_document(self._catalogue.manifests()))

    def rebuild(self, going_on: Callable[[], object] = lambda: None) -> int:
        """Restore the registry from the valid blobs; returns the number of documents.

        A version replaced by another is never current; among the rest of a document's versions
        the latest created is. Blobs that `verify` reports are left out, and so is what was made
        before its document was deleted. Raises RegistryUnavailable, and StoreUnavailable where a blob
        cannot be read now: the registry is as it was then. `going_on` is called for every blob; what it
        raises is passed on.
        """
        documents = by_document(self._inspection.living(going_on))
        self._registry.forget_all()
        for versions in documents.values():
            self._registry.restore(newest(versions), [version.cartridge_id for version in versions])
        self._versions.forget()
        self._health.degraded = False
        return len(documents)

    def _drop(self, cartridge_id: str) -> None:
        self._blobs.delete(blob_name(cartridge_id))
        self._release(cartridge_id)

    def _release(self, cartridge_id: str) -> None:
        """Keep it nowhere in this process; the blob stays."""
        dropped = self._residency.drop(cartridge_id)
        for let_go in self._let_go:
            let_go(cartridge_id)
        with self._health.noticing():
            for tier, name in dropped:
                self._registry.forget_location(self._node, tier, name)

    def _changed(self, change: Change) -> None:
        self._versions.announced((change.collection, change.document_id), change.current)
        for version in change.stale:
            if version != change.current:
                self._release(version)
        if change.current is None:
            for gone in self._gone:
                gone(change.collection, change.document_id)

    def _missed(self) -> None:
        self._versions.look_again()  # and let go of what has changed
        for missed in self._deaf:
            missed()

    def _moved(self, loaded: str, came: list[Held], left: list[Held]) -> None:
        # Locations are hints: a cartridge that is here is served, whoever knows of it.
        with self._health.noticing():
            self._registry.beat(self._node, came, _LEASE_SECONDS)
            if all(
                name != loaded for _, name in came
            ):  # it did not stay, and is in use all the same
                self._registry.lease(self._node, [loaded], _LEASE_SECONDS)
            for tier, cartridge_id in left:
                self._registry.forget_location(self._node, tier, cartridge_id)


def _deleted(manifest: Manifest) -> DocumentDeleted:
    return DocumentDeleted(
        f"Document {manifest.document_id} was deleted after this cartridge was made; send the "
        "document again to train it anew."
    )
