"""What can go wrong in the store, one class per thing a caller can do about it.

The classes know no HTTP status; every message is one sentence for the person who reads it.
"""
# The names are the domain's words for what happened, so they carry no "Error" suffix.


class StoreError(Exception):
    """Anything the store refuses or cannot do."""


class InvalidId(StoreError):
    """A name from outside is not one the store accepts."""


class CartridgeRefused(StoreError):
    """Bytes or tensors that are not a valid cartridge, or not one for this reader.

    `reason` is one sentence that says what is wrong and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DocumentDeleted(CartridgeRefused):
    """The version was made before its document was deleted: it is not wanted any more."""


class CartridgeNotFound(StoreError):
    """No blob has this name."""


class LostRace(StoreError):
    """Another version was promoted first.

    `current` is the version that won (None when the document has none), and `registered` says
    whether the losing version is already known as one of the document's versions.
    """

    def __init__(self, message: str, *, current: str | None, registered: bool) -> None:
        super().__init__(message)
        self.current = current
        self.registered = registered


class BeingPublished(StoreError):
    """Another version of the document is on its way into the store; trying again soon helps."""


class RegistryUnavailable(StoreError):
    """Redis did not answer, or answered that it cannot."""


class StoreUnavailable(StoreError):
    """The blobs are out of reach, or their folder cannot be used; trying again later may help."""


class FolderBusy(StoreError):
    """Another process owns this data folder."""


class StorageFull(StoreError):
    """There is no room left where the blobs are written; nothing was left half-written."""
