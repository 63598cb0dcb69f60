"""Which cartridges a request means: by their own ids, by documents', or by a collection's name.

A document means its current version, which the registry knows; without one, the newest of the blobs.
This file knows the store; it knows no prompt and nothing of vLLM.
"""

from collections.abc import Callable, Sequence

from cartridge_store.catalogue import Catalogue, by_document, newest
from cartridge_store.errors import CartridgeNotFound, InvalidId, RegistryUnavailable
from cartridge_store.ids import validate_cartridge_id, validate_id
from inference.vllm.card import ReaderCard
from inference.vllm.errors import MountRefused
from inference.vllm.mounting import Composition, composed, named, require_few

Current = Callable[[str, Sequence[str]], dict[str, str]]
"""The current version of each document of a collection that has one; may raise RegistryUnavailable."""


class Resolver:
    """Compositions of what requests name; safe to share between threads."""

    def __init__(
        self, card: ReaderCard, catalogue: Catalogue, most: int, current: Current | None = None
    ) -> None:
        self._card, self._catalogue, self._most, self._current = card, catalogue, most, current

    def resolve(self, names: Sequence[str] | None, collection: object = None) -> Composition:
        """The composition of these cartridges or documents, or of a whole collection.

        Raises MountRefused, InvalidId, CartridgeRefused, and CartridgeNotFound.
        """
        if collection is not None and not isinstance(collection, str):
            raise MountRefused("'collection' must be a collection's name.")
        place = validate_id(collection, "collection") if collection else "default"
        if names is None:
            versions = self._whole(place)
            names = sorted(versions)
        else:
            require_few(names, self._most)  # before each of them costs anything
            versions = self._versions(place, [name for name in names if not _is_cartridge(name)])
        documents = [name for name in names if not _is_cartridge(name)]
        if missing := [name for name in documents if name not in versions]:
            raise CartridgeNotFound(
                f"Collection {place} has no cartridge of {', '.join(missing[:5])}; train it first."
            )
        ids = named([versions.get(name, name) for name in names], self._most)
        # Their heads are read again each time: a deleted cartridge must not be answered from.
        return composed(self._card, [self._catalogue.manifest(id) for id in ids])

    def _whole(self, collection: str) -> dict[str, str]:
        """The current version of each document of a collection."""
        stored = by_document(self._catalogue.manifests())
        found = self._versions(collection, sorted(d for place, d in stored if place == collection))
        if not found:
            raise CartridgeNotFound(f"Collection {collection} has no cartridges; train it first.")
        return found

    def _versions(self, collection: str, documents: Sequence[str]) -> dict[str, str]:
        for document in documents:
            validate_id(document, "document id")
        if not documents:
            return {}
        if self._current is not None:
            try:
                return self._current(collection, documents)
            except RegistryUnavailable:
                pass  # the blobs are the truth, and say nearly as well which is current
        stored = by_document(self._catalogue.manifests())
        return {
            document: newest(versions).cartridge_id
            for document in documents
            if (versions := stored.get((collection, document)))
        }


def _is_cartridge(name: str) -> bool:
    try:
        validate_cartridge_id(name)
    except InvalidId:
        return False
    return True
