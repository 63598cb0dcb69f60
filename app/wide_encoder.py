"""An encoder whose long lists of texts are computed with several torch threads.

Those who ask it have one thread each (`inference.threads`): enough for a question, and too few for a
document. Knows no vectors' meaning.
"""

from collections.abc import Sequence

from inference.threads import computed_apart
from retrieval.encoder import Encoder, Vectors

_MANY = 8  # texts


class WideEncoder:
    """The same vectors, by `threads` torch threads where there are many texts."""

    def __init__(self, encoder: Encoder, threads: int) -> None:
        self._encoder, self._threads = encoder, threads

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 `[len(texts), dimension]`. Raises what the encoder raises."""
        if self._threads == 1 or len(texts) < _MANY:
            return self._encoder.encode(texts)
        return computed_apart(self._threads, lambda: self._encoder.encode(texts))
