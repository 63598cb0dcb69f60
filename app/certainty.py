"""Certainty: how probable an answer must be, behind a collection's cartridges, not to be doubted.

What is known is how probable the reader's right answers were in the cartridges' held-out checks; of
answers like these no more than a chosen share may be doubted (split conformal prediction). One check has
too few for that, so a collection's cartridges say it together. This file knows manifests and numbers; it
knows no question and no text.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.conformal import threshold
from app.kept import Kept
from app.reconcile import is_of
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, StoreError
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import DocumentLibrary
from retrieval.sampling import spread
from training.pipeline import SURE, SURE_BESIDE

logger = logging.getLogger(__name__)

_LOOKED_UP = 1_000
"""Documents, at most, of which it is asked whether they have a cartridge."""
_CARTRIDGES = 64
"""Of those, the most whose checks are read; of more, some that are spread evenly."""
_MOST = 200  # numbers that are looked at of a cartridge's
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Checked:
    """Probabilities of right answers in a cartridge's check: mounted alone, and beside others."""

    alone: tuple[float, ...] = ()
    beside: tuple[float, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> "_Checked":
        alone = _probabilities(manifest.figures, SURE)
        # One that was never checked beside others counts by what it was alone.
        return cls(alone, _probabilities(manifest.figures, SURE_BESIDE) or alone)


class Certainty:
    """Thresholds for each collection. Safe to share between threads."""

    def __init__(
        self,
        store: CartridgeStore,
        library: DocumentLibrary,
        reader: Reader,
        doubt: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of right answers the share `doubt` at most is to be doubted. Zero is never."""
        self._store, self._library, self._reader = store, library, reader
        self._doubt = doubt
        self._checks = Kept(self._sample, clock)

    def least(self, collection: str, mounted: Sequence[Cartridge]) -> float | None:
        """The probability that an answer from `mounted` has to have.

        Of answers that state something and are right, given those of the checks, the chance to be
        doubted is at most the chosen share. None where no mounted cartridge has a check that says so (a
        draft has none), and where too little is known.
        """
        own = {each.id: _Checked.of(each.manifest) for each in mounted}
        if not self._doubt or not any(each.alone for each in own.values()):
            return None
        found: Iterable[_Checked] = (dict(self._checks.of(collection)) | own).values()
        alone = len(mounted) == 1
        values = (p for each in found for p in (each.alone if alone else each.beside))
        return threshold(values, self._doubt) or None

    def _sample(
        self, collection: str, known: Mapping[str, _Checked] | None
    ) -> Mapping[str, _Checked]:
        """Checks of some of the collection's cartridges, by id.

        What cannot be read now is not waited for: no answer depends on it.
        """
        known = known or {}
        try:
            return known if self._store.degraded else self._read(collection, known)
        except StoreError as error:
            logger.warning("Checks of %s are not known anew: %s", collection, error)
            return known

    def _read(self, collection: str, known: Mapping[str, _Checked]) -> Mapping[str, _Checked]:
        ids = spread(self._library.ids(collection), _LOOKED_UP)
        current = spread([*self._store.current(collection, ids).values()], _CARTRIDGES)
        # Other figures under an id that is known are not looked for: its content is the same.
        new = [id for id in current if id not in known]
        with ThreadPoolExecutor(_AT_ONCE, "checks") as threads:
            found = {**known, **dict(zip(new, threads.map(self._checked, new), strict=True))}
        return {id: found[id] for id in current}

    def _checked(self, id: str) -> _Checked:
        try:
            manifest = self._store.manifest(id)
        except (CartridgeNotFound, CartridgeRefused):
            return _Checked()  # whoever mounts it will hear of it
        return _Checked.of(manifest) if is_of(manifest, self._reader) else _Checked()


def _probabilities(figures: Mapping[str, Any], name: str) -> tuple[float, ...]:
    # Of a cartridge that was trained elsewhere it may be anything.
    found = figures.get(name)
    listed = spread(found, _MOST) if isinstance(found, list) else []
    return tuple(p for p in listed if type(p) in (int, float) and 0 <= p <= 1)
