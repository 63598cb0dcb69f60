"""How well what was found fits a question: meaning and words, and how rare these are."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder
from retrieval.errors import QuestionRefused
from retrieval.relevance import Rarity, relevance, words_of
from retrieval.retriever import Retriever
from retrieval.table import Hit

PASSAGES = (
    "The boiler was serviced by Franz Huber.",
    "The choir was founded by Mira Tolen.",
    "The mill was built of oak.",
)


def hit(text: str, score: float) -> Hit:
    return Hit("a", 0, text, 0, len(text), score)


def test_words_are_known_without_case_and_endings() -> None:
    assert words_of("Serviced SERVICES, the boiler's") == {"servic", "the", "boiler", "s"}
    assert words_of("Straße") == words_of("STRASSE")


def test_rare_words_count_and_those_of_every_passage_hardly() -> None:
    rarity = Rarity(PASSAGES)
    assert rarity.of("boiler") == pytest.approx(math.log(4 / 1.5))
    assert rarity.of("unheard") == pytest.approx(math.log(4 / 0.5))
    assert rarity.of("the") == pytest.approx(math.log(4 / 3.5))
    assert Rarity([]).of("the") == pytest.approx(math.log(2))


def test_the_best_score_and_the_fullest_passage_count() -> None:
    rarity = Rarity(PASSAGES)
    near, full = hit("Nothing of that.", 0.6), hit(PASSAGES[0], 0.2)
    asked = "Who serviced the boiler?"
    whole = sum(rarity.of(word) for word in words_of(asked))
    held = whole - rarity.of("who")
    assert relevance(asked, [near, full], rarity) == pytest.approx(0.6 + held / whole)
    assert relevance("Boiler", [full], rarity) == pytest.approx(1.2)
    assert relevance("?", [near], rarity) == pytest.approx(0.6)
    assert relevance(asked, [], rarity) == 0.0


@given(
    st.text(max_size=40), st.lists(st.text(max_size=40), min_size=1, max_size=5), st.floats(-1, 1)
)
def test_words_add_a_share(question: str, texts: list[str], score: float) -> None:
    found = relevance(question, [hit(text, score) for text in texts], Rarity(texts))
    assert score <= found <= score + 1 + 1e-9


def test_a_collections_own_words_decide(tmp_path: Path) -> None:
    library = DocumentLibrary(tmp_path / "library")
    retriever = Retriever(library, LexicalEncoder(), tmp_path / "indexes")
    for name, text in zip("abc", PASSAGES, strict=True):
        document, _ = library.put("default", name, name, text)
        retriever.index_document(document)

    def fits(question: str) -> float:
        return retriever.find("default", question, 1).relevance()

    about, foreign = fits("Who serviced the boiler?"), fits("Which comet passed Jupiter in March?")
    assert about > foreign + 0.5
    # More passages, other rarities: counted anew.
    for number in range(4):
        document, _ = library.put("default", f"d{number}", None, f"Comet {number} passed Jupiter.")
        retriever.index_document(document)
    assert fits("Which comet passed Jupiter in March?") > foreign + 0.5
    assert retriever.find("empty", "Who?", 1).relevance() == 0.0
    with pytest.raises(QuestionRefused):
        retriever.find("default", " ", 1)
