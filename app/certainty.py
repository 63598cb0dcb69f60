"""Certainty: how probable an answer must be, behind a collection's cartridges, not to be doubted.

What is known is how probable the reader's right answers were in the cartridges' held-out checks; of
answers like these no more than a chosen share may be doubted (split conformal prediction). One check has
too few for that, so a collection's cartridges say it together. This file knows manifests and numbers; it
knows no question and no text.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.conformal import threshold
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import StoreError
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from retrieval.documents import DocumentLibrary
from retrieval.sampling import spread
from training.pipeline import SURE, SURE_BESIDE

_DOCUMENTS = 64
"""Documents, at most, whose cartridges are asked; of more, those whose ids are spread evenly."""
_MOST = 200  # numbers that are looked at of a cartridge's
_SECONDS = 30.0  # what was read holds so long


@dataclass(frozen=True, slots=True)
class _Checked:
    """Probabilities of right answers in a cartridge's check: mounted alone, and beside others as well."""

    alone: tuple[float, ...]
    beside: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> "_Checked":
        return cls(
            alone=_probabilities(manifest.figures, SURE),
            beside=_probabilities(manifest.figures, SURE_BESIDE),
        )


class Certainty:
    """Thresholds for each collection. Safe to share between threads."""

    def __init__(
        self,
        store: CartridgeStore,
        library: DocumentLibrary,
        doubt: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of right answers the share `doubt` at most is to be doubted. Zero is never."""
        self._store, self._library, self._doubt, self._clock = store, library, doubt, clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Mapping[str, _Checked]]] = {}

    def least(self, collection: str, mounted: Sequence[Cartridge]) -> float | None:
        """The probability that an answer from `mounted` has to have.

        Of answers that state something and are right, given those of the checks, the chance to be
        doubted is at most the chosen share. None where nothing is mounted and where too little is known.
        """
        if not mounted or not self._doubt:
            return None
        known = dict(self._sample(collection))
        known |= {each.id: _Checked.of(each.manifest) for each in mounted}
        found: Iterable[_Checked] = known.values()
        if len(mounted) == 1:
            return threshold((p for each in found for p in each.alone), self._doubt)
        return threshold((p for each in found for p in each.beside), self._doubt)

    def _sample(self, collection: str) -> Mapping[str, _Checked]:
        """Checks of some of the collection's cartridges, by id."""
        with self._lock:
            read_at, known = self._known.get(collection, (-_SECONDS, {}))
            if self._clock() - read_at < _SECONDS:
                return known
            # Read by one; the others go by what was.
            self._known[collection] = self._clock(), known
        some = spread(self._library.ids(collection), _DOCUMENTS)
        found: dict[str, _Checked] = {}
        for cartridge_id in self._store.current(collection, some).values():
            try:
                # An id is its content's: what it says of itself stays true.
                found[cartridge_id] = known.get(cartridge_id) or _Checked.of(
                    self._store.manifest(cartridge_id)
                )
            except StoreError:
                continue  # whoever mounts it will hear of it
        with self._lock:
            self._known[collection] = self._clock(), found
        return found


def _probabilities(figures: Mapping[str, Any], name: str) -> tuple[float, ...]:
    # Of a cartridge that was trained elsewhere it may be anything.
    found = figures.get(name)
    listed = found[:_MOST] if isinstance(found, list) else []
    return tuple(p for p in listed if isinstance(p, int | float) and 0 <= p <= 1)
