"""Cartridges that a report makes for its own arms: compacted ones, and one for the whole collection.

They are kept in the report's folder and never served. Knows the library, a reader and a recipe; knows no
question and no store but the manifests that it is given.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from app.study_shelf import StudyShelf
from cartridge_store.cartridge import Cartridge
from cartridge_store.format import from_bytes, to_bytes
from cartridge_store.manifest import Manifest, PositionRule
from evaluation.report.costs import TrainingCost
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary
from retrieval.durable import make_folder, replace_file
from retrieval.errors import DocumentCorrupt, DocumentNotFound
from training.collection import as_begun
from training.draft import draft_slots
from training.examples import seconds_before
from training.monolithic import distil_whole
from training.settings import TrainingRefused, TrainingSettings

_HELD = 32  # in memory


class DocumentsChanged(Exception):
    """What was being made is of documents of which one is gone; another run is of those that are left."""


class MadeCartridges:
    """Made when they are first asked for, then read from the folder."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        reader: Reader,
        settings: TrainingSettings,
        folder: Path,
        collection: str,
        manifests: Mapping[str, Manifest],
        shelf: StudyShelf,
        report: Callable[[str, float], None],
    ) -> None:
        """`manifests` are those of the collection's served cartridges, by document; `report` may raise."""
        self._library = library
        self._reader = reader
        self._settings = settings
        self._folder = folder
        self._collection = collection
        self._manifests = manifests
        self._shelf = shelf
        self._report = report
        self._held: dict[str, Cartridge] = {}

    @staticmethod
    def position_rule(settings: TrainingSettings) -> PositionRule:
        """Where questions stand behind what is made."""
        return PositionRule("fixed", settings.question_offset)

    def compacted(self, document_id: str) -> Cartridge | None:
        """A document's slots by compaction alone, as many as its served cartridge has.

        None where that is not known, or where nothing can be made of the text.
        """
        manifest = self._manifests.get(document_id)
        if manifest is None:
            return None

        def made(began: float) -> Cartridge:
            document = self._library.get(self._collection, document_id)
            tokens = self._reader.count(document.text)
            slots = min(manifest.slots, tokens)
            keys, values = draft_slots(self._reader, document.text, slots, self._settings)
            return self._cartridge(
                keys, values, document_id, document.sha256, tokens, "compaction", began
            )

        return self._kept(f"compaction-{document_id}", made)

    def whole(self) -> Cartridge | None:
        """One cartridge for all documents that have one, with their slots and steps together.

        None where its slots would not stay below the question's place.
        """
        slots = sum(manifest.slots for manifest in self._manifests.values())
        workdir = self._folder / "monolithic"

        def made(began: float) -> Cartridge:
            documents = [self._library.get(self._collection, id) for id in sorted(self._manifests)]
            if not documents or slots >= self._settings.question_offset:
                raise TrainingRefused(
                    f"One cartridge of {slots} slots does not fit between the sink and the question's "
                    f"place, {self._settings.question_offset}."
                )
            resumed = workdir.exists()
            # As those begin that it is held against.
            settings = as_begun(self._reader, self._settings)
            try:
                keys, values = distil_whole(
                    self._reader,
                    {each.id: each.text for each in documents},
                    {id: manifest.slots for id, manifest in self._manifests.items()},
                    settings,
                    workdir=workdir,
                    kept=lambda id: self._shelf.folder(self._collection, id),
                    report=self._report,
                )
            except FileNotFoundError as error:
                raise DocumentsChanged(
                    "A document was deleted while the report was made; it begins anew without it."
                ) from error
            tokens = sum(self._reader.count(each.text) for each in documents)
            before = sum(map(seconds_before, workdir.glob("*.parquet")))
            return self._cartridge(
                keys,
                values,
                "monolithic",
                _digest(documents),
                tokens,
                settings.initialiser,
                None if resumed else began - before,  # nobody knows how long what was stopped took
            )

        return self._kept("monolithic", made)

    def costs(self, arms: Iterable[str]) -> dict[str, TrainingCost]:
        """What the arms' cartridges took to make, as far as they are made and it was timed."""
        found = {}
        for arm in arms:
            kept = sorted(self._folder.glob(f"{arm}*.safetensors"))
            cost = training_cost(from_bytes(path.read_bytes()).manifest for path in kept)
            if cost is not None:
                found[arm] = cost
        return found

    def _kept(self, name: str, make: Callable[[float], Cartridge]) -> Cartridge | None:
        if name in self._held:
            return self._held[name]
        path, refused = (
            self._folder / f"{name}{suffix}" for suffix in (".safetensors", ".refused")
        )
        if refused.is_file():
            return None
        if path.is_file():
            cartridge = from_bytes(bytearray(path.read_bytes()))
        else:
            make_folder(self._folder)
            try:
                cartridge = make(time.monotonic())
            except (TrainingRefused, DocumentNotFound, DocumentCorrupt) as error:
                replace_file(refused, str(error).encode())
                return None
            replace_file(path, to_bytes(cartridge))
        while len(self._held) >= _HELD:
            self._held.pop(next(iter(self._held)))
        self._held[name] = cartridge
        return cartridge

    def refusals(self) -> dict[str, str]:
        """Why something was not made, by its name."""
        found = sorted(self._folder.glob("*.refused"))
        return {path.stem: path.read_text("utf-8") for path in found}

    def _cartridge(
        self,
        keys: Tensor,
        values: Tensor,
        id: str,
        sha256: str,
        tokens: int,
        initialiser: str,
        began: float | None,
    ) -> Cartridge:
        reader, settings = self._reader, self._settings
        return Cartridge.create(
            keys.to(reader.dtype),
            values.to(reader.dtype),
            collection=self._collection,
            document_id=id,
            document_sha256=sha256,
            document_tokens=tokens,
            reader_fingerprint=reader.fingerprint,
            tokenizer_fingerprint=reader.tokenizer_fingerprint,
            position_rule=self.position_rule(settings),
            initialiser=initialiser,
            recipe=settings.to_dict(),
            figures={} if began is None else {"train_seconds": round(time.monotonic() - began, 1)},
        )


def training_cost(manifests: Iterable[Manifest]) -> TrainingCost | None:
    """What cartridges took to make together; None where there are none, or one was not timed.

    Where one's training was not timed, such as of an imported one, the sum would be too small.
    """
    every = list(manifests)
    seconds = [each.figures.get("train_seconds") for each in every]
    known = [float(each) for each in seconds if isinstance(each, int | float)]
    if not every or len(known) < len(every):
        return None
    tokens = sum(each.document_tokens for each in every)
    return TrainingCost(seconds=sum(known), tokens=tokens, documents=len(every))


def _digest(documents: list[Document]) -> str:
    return hashlib.sha256(json.dumps([each.sha256 for each in documents]).encode()).hexdigest()
