"""A question, its answer, and what lies between: an answer on its way, which may be withdrawn.

Knows evidence and the engine's streams; knows no search, no store and no HTTP.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.evidence import Evidence, Mode, Source
from app.numerals import cut_numerals
from app.second_look import SecondLook
from cartridge_store.cartridge import Cartridge
from inference.engine import Completion, Sampling, Stream
from retrieval.errors import DocumentNotFound


@dataclass(frozen=True)
class Question:
    """What is asked, of which documents, and how it is to be answered.

    For comparisons: `text_tokens` cuts every text that is read, `beside` adds that many of the best
    passages as text to what the cartridges hold, `mounted` are cartridges in place of whatever would be
    found, and without `drafts` a document that has no other cartridge is read.
    """

    text: str
    collection: str = "default"
    mode: Mode = "auto"
    documents: tuple[str, ...] | None = None
    top_k: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    text_tokens: int | None = None
    beside: int = 0
    mounted: tuple[Cartridge, ...] = ()
    drafts: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer with its sources, `Completion` figures (None when nothing was asked) and times."""

    text: str
    mode: Mode
    abstained: bool
    sources: tuple[Source, ...]
    notices: tuple[str, ...]
    completion: Completion | None
    retrieve_ms: float
    load_ms: float
    total_ms: float


class Asked:
    """A question on its way: iterate for the answer's text, then read `answer`."""

    def __init__(
        self,
        question: Question,
        evidence: Sequence[Evidence],
        notices: list[str],
        stream: Stream | SecondLook | None,
        *,
        began: float,
        retrieve_ms: float,
        load_ms: float,
        not_stated: str,
    ) -> None:
        self.mode = question.mode
        self.collection = question.collection
        self._evidence = evidence
        self._notices = notices
        self._stream = stream
        self._began = began
        self._retrieve_ms = retrieve_ms
        self._load_ms = load_ms
        self._not_stated = not_stated
        self._completion: Completion | None = None
        self._withdrawn = False

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it is made from; others than at first, once a second look was taken."""
        return tuple(piece.source for piece in self._evidence)

    @property
    def documents(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(source.document_id for source in self.sources)

    @property
    def notices(self) -> tuple[str, ...]:
        """What did not go as asked."""
        return tuple(self._notices)

    def __iter__(self) -> Iterator[str]:
        if self._stream is None:
            yield self._not_stated
            return
        for piece in self._stream:
            self._require_sources()
            yield piece
        self._require_sources()
        self._completion = self._stream.completion

    def answer(self) -> Answer:
        """The whole answer; reads what was not yet read. Raises `DocumentNotFound` once withdrawn."""
        self._require_sources()
        if self._stream is not None and self._completion is None:
            for _ in self:
                pass
        text = self._completion.text if self._completion is not None else self._not_stated
        wholes = [piece.whole for piece in self._evidence]
        cut = tuple(
            f"The answer says {said}, the text {written}: the reader may have stopped too early."
            for said, written in cut_numerals(text, wholes)
        )
        return Answer(
            text=text,
            mode=self.mode,
            abstained=self._stream is None or plain(text) == plain(self._not_stated),
            sources=self.sources,
            notices=(*self.notices, *cut),
            completion=self._completion,
            retrieve_ms=self._retrieve_ms,
            load_ms=self._load_ms,
            total_ms=since(self._began),
        )

    def cancel(self) -> None:
        """Nobody reads any more."""
        if self._stream is not None:
            self._stream.cancel()

    def withdraw(self) -> None:
        """A document that it is made from was deleted: it goes no further."""
        self._withdrawn = True
        self.cancel()

    def _require_sources(self) -> None:
        if self._withdrawn:
            raise DocumentNotFound("A document was deleted while it answered; ask again.")


def plain(text: str) -> str:
    """An answer as it is compared: whether *not stated* ends with a stop is no difference."""
    return text.strip().rstrip(".").casefold()


def since(began: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - began) * 1e3
