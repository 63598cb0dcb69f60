"""Residency: verified cartridges brought from blobs through the disk tier into memory, once each.

However many ask for a cartridge at the same time, one reads it; what retrieval has found can be fetched
ahead. It knows which tier holds what and tells `moved`; it knows no registry.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from cartridge_store.blobs import BlobStore, Data
from cartridge_store.cartridge import Cartridge
from cartridge_store.disk_tier import DiskTier
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, InvalidId, StoreError
from cartridge_store.format import from_bytes
from cartridge_store.ids import blob_name, cartridge_id_of
from cartridge_store.single_flight import SingleFlight
from cartridge_store.tier import Tier

logger = logging.getLogger(__name__)

LocalTier = Literal["host", "disk"]
Held = tuple[LocalTier, str]
"""A tier of this process, and the id of a cartridge in it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a process may hold, and how many cartridges it fetches ahead side by side.

    With `pinned`, cartridges are kept in page-locked memory, from where a GPU copies without waiting.
    """

    host_bytes: int = 2**30
    ahead: int = 4
    pinned: bool = False


class Residency:
    """The cartridges of some blobs that are at hand; safe to share between threads."""

    def __init__(
        self,
        blobs: BlobStore,
        budget: Budget,
        disk: DiskTier | None = None,
        moved: Callable[[str, list[Held], list[Held]], None] = lambda loaded, came, left: None,
    ) -> None:
        """`moved` is told what was loaded, and what came to a tier and left one for it."""
        self._blobs, self._disk, self._moved = blobs, disk, moved
        self._pinned = budget.pinned
        self._host: Tier[Cartridge] = Tier(budget.host_bytes, lambda cartridge: cartridge.nbytes)
        self._loads: SingleFlight[Cartridge] = SingleFlight()
        self.reads: Counter[str] = Counter()  # loads by where the cartridge was found
        # Where those were found that nobody has asked for yet: a load of what was fetched ahead is no hit.
        self._fetched: dict[str, str] = {}
        self._ahead = ThreadPoolExecutor(budget.ahead, thread_name_prefix="cartridge-prefetch")

    def load(self, cartridge_id: str) -> Cartridge:
        """The verified cartridge, from memory or with one read however many ask at once.

        Raises CartridgeNotFound, CartridgeRefused and what the blobs raise.
        """
        held = self._host.get(cartridge_id)
        if held is None:
            held = self._bring(cartridge_id)
        self.reads[self._fetched.pop(cartridge_id, "host")] += 1
        return held

    def at_hand(self, cartridge_id: str) -> bool:
        """Whether a load would find it in memory now."""
        return cartridge_id in self._host

    def prefetch(self, cartridge_ids: Iterable[str]) -> None:
        """Begin to load these; whoever asks for one meanwhile waits for the same read."""
        for cartridge_id in cartridge_ids:
            self._ahead.submit(self._try, cartridge_id)

    def held(self) -> list[Held]:
        """Everything at hand now."""
        held: list[Held] = [("host", cartridge_id) for cartridge_id in self._host.names()]
        if self._disk is not None:
            for name in self._disk.names():
                try:
                    held.append(("disk", cartridge_id_of(name)))
                except InvalidId:
                    self._disk.drop(name)  # of another program
        return held

    def drop(self, cartridge_id: str) -> list[Held]:
        """Let go of a cartridge in every tier and say where it was; the blob is not touched."""
        dropped: list[Held] = []
        self._fetched.pop(cartridge_id, None)
        if self._host.drop(cartridge_id):
            dropped.append(("host", cartridge_id))
        if self._disk is not None and self._disk.drop(blob_name(cartridge_id)):
            dropped.append(("disk", cartridge_id))
        return dropped

    def close(self) -> None:
        """Fetch nothing ahead any more."""
        self._ahead.shutdown(cancel_futures=True)

    def _bring(self, cartridge_id: str) -> Cartridge:
        return self._loads.run(cartridge_id, lambda: self._fetch(cartridge_id))

    def _try(self, cartridge_id: str) -> None:
        try:
            if cartridge_id not in self._host:
                self._bring(cartridge_id)
        except StoreError as error:
            logger.debug("Not fetched ahead: %s", error)  # `load` says so to whoever needs it

    def _fetch(self, cartridge_id: str) -> Cartridge:
        # Whoever came between the first look and this flight may find it already landed.
        if (held := self._host.get(cartridge_id)) is not None:
            return held
        came: list[Held] = []
        left: list[Held] = []
        cartridge = self._from_disk(cartridge_id)
        found = "blobs" if cartridge is None else "disk"
        if cartridge is None:
            cartridge = self._from_blobs(cartridge_id, came, left)
        if self._pinned:
            try:
                cartridge = cartridge.pinned()
            except RuntimeError as error:  # no more memory may be locked: it is served all the same
                logger.warning("Cartridge %s is not page-locked: %s", cartridge_id, error)
        self._fetched[cartridge_id] = found  # before anybody can find it
        gone = self._host.put(cartridge_id, cartridge)
        for name in gone:
            if name != cartridge_id:
                self._fetched.pop(name, None)
        # A document removed while its cartridge was on the way must not stay here.
        if not self._may_exist(cartridge_id):
            self.drop(cartridge_id)
            raise CartridgeNotFound(f"Cartridge {cartridge_id} was removed; ask for another one.")
        if cartridge_id not in gone:
            came.append(("host", cartridge_id))
        left += [("host", name) for name in gone if name != cartridge_id]
        self._moved(cartridge_id, came, left)
        return cartridge

    def _may_exist(self, cartridge_id: str) -> bool:
        try:
            return self._blobs.exists(blob_name(cartridge_id))
        except StoreError as error:
            logger.warning("%s", error)
            return True  # out of reach: what is at hand and verified is served

    def _from_disk(self, cartridge_id: str) -> Cartridge | None:
        name = blob_name(cartridge_id)
        if self._disk is None or (data := self._disk.get(name)) is None:
            return None
        try:
            return verified(data, cartridge_id)
        except CartridgeRefused as error:
            logger.warning("The local copy %s is read again: %s", name, error)
            self._disk.drop(name)
            return None

    def _from_blobs(self, cartridge_id: str, came: list[Held], left: list[Held]) -> Cartridge:
        name = blob_name(cartridge_id)
        data = self._blobs.get(name)
        cartridge = verified(data, cartridge_id)  # first: a damaged blob is not worth a copy
        if self._disk is not None:
            gone = self._disk.put(name, data)
            if name not in gone:
                came.append(("disk", cartridge_id))
            left += [("disk", cartridge_id_of(other)) for other in gone if other != name]
        return cartridge


def verified(data: Data, cartridge_id: str) -> Cartridge:
    """The cartridge of a blob's bytes; raises CartridgeRefused unless it is this one."""
    cartridge = from_bytes(data)
    if cartridge.id != cartridge_id:
        raise CartridgeRefused(
            f"The blob {blob_name(cartridge_id)} holds cartridge {cartridge.id}; rename or remove it."
        )
    return cartridge
