"""The arms of a report: ways of answering a question through the very path that serves.

Knows how each arm asks; knows no score and no file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.asked import Question
from app.report_cartridges import MadeCartridges
from cartridge_store.cartridge import Cartridge
from inference.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as an arm gets it; `gold` are the documents that answer it, where that is known.

    `slots` are those of the first gold document's cartridge, None where it has none; `made` are the
    cartridges of the report's own.
    """

    text: str
    collection: str
    gold: tuple[str, ...]
    slots: int | None
    sampling: Sampling
    made: MadeCartridges


Form = Callable[[Asked], Question | None]


def _of(
    mode: Literal["auto", "cartridge", "rag", "icl", "none"],
    *,
    top_k: int | None = None,
    oracle: bool = False,
    beside: int = 0,
) -> Form:
    def form(asked: Asked) -> Question | None:
        if oracle and not asked.gold:
            return None
        return Question(
            text=asked.text,
            collection=asked.collection,
            mode=mode,
            documents=asked.gold if oracle else None,
            top_k=top_k,
            sampling=asked.sampling,
            beside=beside,
            drafts=False,
        )

    return form


def _truncated(asked: Asked) -> Question | None:
    if not asked.gold or asked.slots is None:
        return None
    return Question(
        text=asked.text,
        collection=asked.collection,
        mode="icl",
        documents=asked.gold,
        sampling=asked.sampling,
        text_tokens=asked.slots,
    )


def _compacted(asked: Asked) -> Question | None:
    return _mounting(asked, [asked.made.compacted(id) for id in asked.gold])


def _monolithic(asked: Asked) -> Question | None:
    return _mounting(asked, [asked.made.whole()])


def _mounting(asked: Asked, made: Sequence[Cartridge | None]) -> Question | None:
    mounted = tuple(cartridge for cartridge in made if cartridge is not None)
    if not mounted or len(mounted) < len(made):
        return None
    return Question(
        text=asked.text,
        collection=asked.collection,
        mode="cartridge",
        sampling=asked.sampling,
        mounted=mounted,
    )


ARMS: Mapping[str, tuple[str, Form]] = {
    "no_context": ("The reader alone", _of("none")),
    "icl": ("The right document whole, in context", _of("icl", oracle=True)),
    "truncated_icl": ("As many of its tokens as its cartridge has slots", _truncated),
    "rag_1": ("The best passage as text", _of("rag", top_k=1)),
    "rag_3": ("The three best passages as text", _of("rag", top_k=3)),
    "rag_5": ("The five best passages as text", _of("rag", top_k=5)),
    "rag_10": ("The ten best passages as text", _of("rag", top_k=10)),
    "rag_oracle": ("The best passages of the right document", _of("rag", top_k=4, oracle=True)),
    "oracle_cartridge": ("The right document's cartridge", _of("cartridge", oracle=True)),
    "cartridges_1": ("The cartridge of the document found first", _of("cartridge", top_k=1)),
    "cartridges_3": ("The cartridges of three documents", _of("cartridge", top_k=3)),
    "cartridges_5": ("The cartridges of five documents", _of("cartridge", top_k=5)),
    "cartridge_and_passage": (
        "The cartridge of the document found first, and the best passage as text",
        _of("cartridge", top_k=1, beside=1),
    ),
    "cartridge_then_passage": (
        "The cartridge of the document found first; the best passage as text where it is doubted",
        _of("auto", top_k=1),
    ),
    "compaction": ("The right document's slots by compaction, untrained", _compacted),
    "monolithic": ("One cartridge for the whole collection, as many slots together", _monolithic),
}
"""Names of arms, what each reads, and its question; None where an arm cannot ask it."""

OWN_CARTRIDGES = frozenset({"compaction", "monolithic"})
"""Arms whose cartridges are in no store."""
