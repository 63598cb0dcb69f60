"""Certainty: how probable an answer must be, behind a collection's cartridges, not to be doubted.

What is known is how probable the reader's right answers were in the cartridges' held-out checks; of
answers like these no more than a chosen share may be doubted (split conformal prediction). One check has
too few for that, so a collection's cartridges say it together. This file knows manifests and numbers; it
knows no question and no text.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.conformal import threshold
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
_SECONDS = 30.0  # what was read holds so long


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


class _Collection:
    """What was read of one collection, and when; `lock` is held by whoever reads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read_at: float | None = None
        self.known: Mapping[str, _Checked] = {}


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
        self._doubt, self._clock = doubt, clock
        self._lock = threading.Lock()
        self._collections: dict[str, _Collection] = {}

    def least(self, collection: str, mounted: Sequence[Cartridge]) -> float | None:
        """The probability that an answer from `mounted` has to have.

        Of answers that state something and are right, given those of the checks, the chance to be
        doubted is at most the chosen share. None where no mounted cartridge has a check that says so (a
        draft has none), and where too little is known.
        """
        own = {each.id: _Checked.of(each.manifest) for each in mounted}
        if not self._doubt or not any(each.alone for each in own.values()):
            return None
        found: Iterable[_Checked] = (dict(self._sample(collection)) | own).values()
        alone = len(mounted) == 1
        values = (p for each in found for p in (each.alone if alone else each.beside))
        return threshold(values, self._doubt) or None

    def _sample(self, collection: str) -> Mapping[str, _Checked]:
        """Checks of some of the collection's cartridges, by id.

        The first to ask waits for them, and so do those who come meanwhile; later one reads again, and the
        others go by what was. What cannot be read now is not waited for: no answer depends on it.
        """
        with self._lock:
            of = self._collections.setdefault(collection, _Collection())
        if not of.lock.acquire(blocking=of.read_at is None):
            return of.known
        try:
            if of.read_at is None or self._clock() - of.read_at >= _SECONDS:
                try:
                    of.known = self._read(collection, of.known)
                except StoreError as error:
                    logger.warning("Checks of %s are not known anew: %s", collection, error)
                of.read_at = self._clock()
            return of.known
        finally:
            of.lock.release()

    def _read(self, collection: str, known: Mapping[str, _Checked]) -> Mapping[str, _Checked]:
        if self._store.degraded:
            return known
        ids = spread(self._library.ids(collection), _LOOKED_UP)
        current = spread([*self._store.current(collection, ids).values()], _CARTRIDGES)
        # Other figures under an id that is known are not looked for: its content is the same.
        new = [id for id in current if id not in known]
        if len(new) < 2:
            read = [self._checked(id) for id in new]
        else:
            with ThreadPoolExecutor(_AT_ONCE, "checks") as threads:
                read = [*threads.map(self._checked, new)]
        found = {**known, **dict(zip(new, read, strict=True))}
        return {id: found[id] for id in current}

    def _checked(self, id: str) -> _Checked:
        try:
            manifest = self._store.manifest(id)
        except (CartridgeNotFound, CartridgeRefused):
            return _Checked()  # whoever mounts it will hear of it
        foreign = (manifest.reader_fingerprint, manifest.tokenizer_fingerprint) != (
            self._reader.fingerprint,
            self._reader.tokenizer_fingerprint,
        )
        return _Checked() if foreign else _Checked.of(manifest)


def _probabilities(figures: Mapping[str, Any], name: str) -> tuple[float, ...]:
    # Of a cartridge that was trained elsewhere it may be anything.
    found = figures.get(name)
    listed = spread(found, _MOST) if isinstance(found, list) else []
    return tuple(p for p in listed if type(p) in (int, float) and 0 <= p <= 1)
